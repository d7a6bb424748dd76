import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { useSettings } from '../../app/settings'
import type { components } from '../../api/openapi'
import { count, duration } from '../../parts/format'
import { Meter } from '../../parts/Meter'
import { pathOf } from '../../parts/paths'
import { SafeText } from '../../parts/SafeText'
import { Said } from '../../parts/Said'
import { Mark, StateBadge } from '../../parts/StateBadge'
import { words } from '../../parts/states'
import { Time } from '../../parts/Time'
import { over, runParts, spent } from '../runs/run'
import { messages } from './messages'

type Schemas = components['schemas']

export function TroubleList({ trouble }: { trouble: Schemas['Trouble'][] }) {
  const t = useMessages(messages)
  if (trouble.length === 0) {
    return (
      <p className="calm">
        <span className="tone-ok">
          <Mark tone="ok" shape="dot" />
        </span>{' '}
        {t.troubleNone}
      </p>
    )
  }
  return (
    <section className="trouble" aria-label={t.trouble}>
      <ul>
        {trouble.map((each, at) => {
          const path = each.link ? pathOf(each.link) : undefined
          const bad = each.level !== 'warn'
          return (
            <li key={at} className={bad ? 'trouble-error' : 'trouble-warn'}>
              <span className={bad ? 'tone-bad' : 'tone-warn'}>
                <Mark tone={bad ? 'bad' : 'warn'} shape={bad ? 'cross' : 'triangle'} />
              </span>
              <span>
                <Said text={each.text} saying={each} max={300} />{' '}
                {path && each.link ? (
                  <Link to={path}>
                    <SafeText text={each.link} max={60} mono still />
                  </Link>
                ) : null}
              </span>
            </li>
          )
        })}
      </ul>
    </section>
  )
}

export function Runs({ runs }: { runs: Schemas['RunSeen'][] }) {
  const t = useMessages(messages)
  const w = useMessages(words)
  return (
    <section className="part">
      <h2>{t.runs}</h2>
      {runs.length === 0 ? <p className="none dim">{t.runsNone}</p> : null}
      <ul className="entries">
        {runs.map((run) => {
          const lost = spent(run.counts)
          return (
            <li key={run.name}>
              <div className="entry-head">
                <Link to={`/runs/${run.name}`} className="mono">
                  {run.name}
                </Link>
                <code>{run.action}</code>
                <StateBadge state={run.phase} />
                <span className="end dim">
                  {run.startedAt ? <Time at={run.startedAt} /> : null}
                </span>
              </div>
              <Meter label={run.name} parts={runParts(run.counts, w)} total={run.targets} />
              <p className="dim">
                {t.doneOf(count(over(run.counts)), count(run.targets))}
                {lost > 0 ? <span className="tone-bad"> · {t.failures(lost)}</span> : null}
                {run.batches > 1 ? ` · ${t.batchOf(run.batch, run.batches)}` : ''}
                {run.message ? (
                  <>
                    {' · '}
                    <SafeText text={run.message} max={160} still />
                  </>
                ) : null}
              </p>
            </li>
          )
        })}
      </ul>
    </section>
  )
}

export function Rollouts({ rollouts }: { rollouts: Schemas['RolloutSeen'][] }) {
  const t = useMessages(messages)
  return (
    <section className="part">
      <h2>{t.rollouts}</h2>
      {rollouts.length === 0 ? <p className="none dim">{t.rolloutsNone}</p> : null}
      <ul className="entries">
        {rollouts.map((rollout) => (
          <li key={`${rollout.kind}@${rollout.version}`}>
            <div className="entry-head">
              <Link to={`/workers/${encodeURIComponent(rollout.kind)}`} className="mono">
                {rollout.kind}@{rollout.version}
              </Link>
              <StateBadge state={rollout.phase === 'RolledBack' ? 'rolled-back' : rollout.phase} />
              {rollout.share ? <b>{rollout.share}</b> : null}
              <span className="end dim">
                {rollout.failures > 0 ? <span className="tone-bad">{t.failures(rollout.failures)} </span> : null}
                {rollout.held > 0 ? t.held(rollout.held) : null}
              </span>
            </div>
            <p className="dim">
              <SafeText text={rollout.message} max={240} />
            </p>
          </li>
        ))}
      </ul>
    </section>
  )
}

export function Slow({ slow, total, at }: { slow: Schemas['SlowTask'][]; total: number; at: string }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  return (
    <section className="part">
      <h2>
        {t.slow}
        {total > slow.length ? <span className="dim">{t.slowMore(count(total))}</span> : null}
      </h2>
      {slow.length === 0 ? <p className="none dim">{t.slowNone}</p> : null}
      <ul className="entries slow">
        {slow.map((task) => (
          <li key={task.task}>
            <div className="entry-head">
              <Link to={`/tasks/${task.task}`} className="mono">
                {task.task}
              </Link>
              <StateBadge state={task.state} />
              <code>{task.action}</code>
              <Link to={`/targets/${encodeURIComponent(task.target)}`}>
                <SafeText text={task.target} max={48} mono still />
              </Link>
              <span className="end">
                <b>{duration(Date.parse(at) - Date.parse(task.since), language)}</b>{' '}
                <span className="dim">{t.expected(duration(task.expectedMs, language))}</span>
              </span>
            </div>
            <p className="dim">
              <Said text={task.why} saying={task} max={240} />
            </p>
          </li>
        ))}
      </ul>
    </section>
  )
}
