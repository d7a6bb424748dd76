import { useQueries } from '@tanstack/react-query'
import { Link } from 'react-router'
import { useMessages } from '../../../app/messages'
import { useSettings } from '../../../app/settings'
import { api, body } from '../../../api/client'
import { asProblem } from '../../../api/problem'
import { CommandHint } from '../../../parts/CommandHint'
import { duration } from '../../../parts/format'
import { Said } from '../../../parts/Said'
import { sengu } from '../../../parts/shell-words'
import { Loading, Problem } from '../../../parts/Standing'
import { StateBadge } from '../../../parts/StateBadge'
import { Time } from '../../../parts/Time'
import { address } from '../../../api/client'
import type { Task } from '../../tasks/task'
import { standingOf } from '../../tasks/task'
import type { Target } from '../target'
import { type Limit, limitsOf } from './limits'
import { messages } from './messages'
import { useKindLimits } from './useKind'
import { OPEN_MAX, useOpenTasks } from './useOpenTasks'

/** Tasks at the head of the lane of which the reason is asked for: each is a question to the server. */
const REASONS_MAX = 5
const SHOWN_MAX = 20
const REFRESH_MS = 2_000

/** Who holds the target, what waits for it and why, and how much it bears. */
export function Lane({ target }: { target: Target }) {
  const t = useMessages(messages)
  const open = useOpenTasks(target.name)
  const tasks = open.data?.tasks ?? []
  const holder = tasks.find((task) => task.effect !== 'read' && (task.state === 'started' || task.state === 'sent'))
  return (
    <section className="part">
      <div className="part-head">
        <h2>
          {t.lane} <span className="dim">{tasks.length > 0 ? tasks.length : null}</span>
        </h2>
        <CommandHint
          command={sengu('tasks', '--open', '--target', target.name)}
          call={{ path: address('/v1/tasks', { target: target.name, state: 'open', limit: OPEN_MAX }) }}
        />
      </div>
      {open.error ? <Problem problem={asProblem(open.error)} /> : null}
      {open.isPending ? <Loading /> : null}
      {open.data && tasks.length === 0 ? <p className="none">{t.laneFree}</p> : null}
      {tasks.length > 0 ? <Waiting tasks={tasks.slice(0, SHOWN_MAX)} holder={holder?.id} /> : null}
      {tasks.length > SHOWN_MAX ? (
        <p className="small-print dim">
          {t.laneMore(SHOWN_MAX)} <Link to={`/tasks?target=${encodeURIComponent(target.name)}&state=open`}>{t.allTasks}</Link>
        </p>
      ) : null}
      <Limits target={target} />
      <p className="small-print dim">{t.laneHow}</p>
    </section>
  )
}

function Waiting({ tasks, holder }: { tasks: Task[]; holder: string | undefined }) {
  const t = useMessages(messages)
  const asked = tasks.slice(0, REASONS_MAX)
  const reasons = useQueries({
    queries: asked.map((task) => ({
      queryKey: ['why', 'task', task.id, true],
      queryFn: ({ signal }: { signal: AbortSignal }) => body(api.GET('/v1/why/{object}/{name}', { params: { path: { object: 'task', name: task.id } }, signal })),
      refetchInterval: REFRESH_MS,
      retry: false,
    })),
  })
  return (
    <ol className="lane">
      {tasks.map((task, at) => {
        const why = reasons[at]?.data
        return (
          <li key={task.id}>
            <StateBadge state={standingOf(task)} />
            <Link to={`/tasks/${task.id}`} className="mono">
              {task.id}
            </Link>
            <code>{task.action}</code>
            {task.id === holder ? <b>{t.holds}</b> : null}
            <span className="dim">
              {task.run ? (
                <Link to={`/runs/${task.run}`} className="mono">
                  {task.run}
                </Link>
              ) : (
                task.origin
              )}
              {' · '}
              <Time at={task.createdAt} />
            </span>
            {why ? (
              <p className="lane-why dim">
                <Said text={why.sentence} saying={why} max={400} />
                {why.holder != null && why.holder !== task.id ? (
                  <>
                    {' '}
                    <Link to={`/tasks/${encodeURIComponent(why.holder)}`} className="mono">
                      {why.holder}
                    </Link>
                  </>
                ) : null}
              </p>
            ) : null}
          </li>
        )
      })}
    </ol>
  )
}

function Limits({ target }: { target: Target }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  const kind = useKindLimits(target.spec.kind)
  if (!kind) return null
  const { sessions, rate } = limitsOf(kind, target)
  return (
    <dl className="facts">
      <dt>{t.sessions}</dt>
      <dd>
        <LimitText limit={sessions} />
      </dd>
      <dt>{t.rate}</dt>
      <dd>
        <LimitText limit={rate} />
      </dd>
      {kind.cooldownMs ? (
        <>
          <dt>{t.rest}</dt>
          <dd>{duration(kind.cooldownMs, language)}</dd>
        </>
      ) : null}
    </dl>
  )
}

function LimitText({ limit }: { limit: Limit }) {
  const t = useMessages(messages)
  if (!limit.value) return <span className="dim">{t.noLimit}</span>
  return (
    <>
      {limit.value} <span className="dim">{limit.narrowed ? t.ofTarget(limit.kind ? String(limit.kind) : t.noLimit) : t.ofKind}</span>
    </>
  )
}
