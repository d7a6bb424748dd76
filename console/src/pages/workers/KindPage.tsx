import { useState } from 'react'
import { Link, useParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { asProblem } from '../../api/problem'
import { Acts, ActButton } from '../../parts/Act'
import { AuditOf } from '../../parts/AuditOf'
import { CommandHint } from '../../parts/CommandHint'
import { bytes, count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Loading, Unavailable } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { messages } from './messages'
import { PromoteDialog } from './PromoteDialog'
import { canRollBack, cellWords, type Release, standingOf, type Worker } from './release'
import { RollbackDialog } from './RollbackDialog'
import { Rule } from './Rule'
import { useRelease, useWorkers } from './useWorkers'
import { Failed, ms } from './WorkerList'

/** One worker kind: its versions, what its Release sends to which, and how they do. */
export function KindPage() {
  const { kind = '' } = useParams()
  useTitle(kind)
  const release = useRelease(kind)
  const workers = useWorkers()
  if (!release.data) return release.error ? <Unavailable title={kind} problem={asProblem(release.error)} again={() => void release.refetch()} /> : <Loading />
  const versions = workers.data?.filter((worker) => worker.kind === kind) ?? []
  return <One key={kind} release={release.data} versions={versions} />
}

function One({ release, versions }: { release: Release; versions: Worker[] }) {
  const t = useMessages(messages)
  const [promoting, setPromoting] = useState<string>()
  const [rolling, setRolling] = useState(false)
  const { kind, rules, status } = release
  return (
    <section className="page workers">
      <header className="page-head">
        <h1 className="mono">
          <SafeText text={kind} max={80} still />
        </h1>
        <StateBadge state={standingOf(release)} />
        <span className="dim">
          <SafeText text={versions[0]?.description} max={160} />
        </span>
        <span className="end">
          <CommandHint command={sengu('describe', `release/${kind}`)} call={{ path: `/v1/records/Release/${encodeURIComponent(kind)}` }} />
        </span>
      </header>
      <Acts>
        <ActButton danger onClick={() => setRolling(true)} not={canRollBack(release) ? undefined : t.nothingToRollBack}>
          {t.rollBack}
        </ActButton>
        <Link to={`/targets?view=table&selector=${encodeURIComponent(`kind=${kind}`)}`}>{t.itsTargets}</Link>
        <Link to={`/tasks?kind=${encodeURIComponent(kind)}`}>{t.itsTasks}</Link>
      </Acts>
      {rules.map((rule) => (
        <Rule key={rule.name} kind={kind} rule={rule} release={release} />
      ))}
      <p>
        {rules.length > 0 ? t.restGets : t.allGets} <b className="mono">{release.version}</b>
        {status.followsBundled ? <span className="dim"> · {t.followsBundled}</span> : null}
      </p>
      <Versions versions={versions} release={release} onPromote={setPromoting} />
      <div className="columns">
        <Held release={release} />
        <History release={release} />
      </div>
      <AuditOf kind="Release" name={kind} />
      {promoting === undefined ? null : <PromoteDialog release={release} version={promoting} onClose={() => setPromoting(undefined)} />}
      {rolling ? <RollbackDialog release={release} versions={versions} onClose={() => setRolling(false)} /> : null}
    </section>
  )
}

function Versions({ versions, release, onPromote }: { versions: Worker[]; release: Release; onPromote: (version: string) => void }) {
  const t = useMessages(messages)
  return (
    <section className="part">
      <div className="part-head">
        <h2>{t.versions}</h2>
        <CommandHint command={sengu('get', 'workers', release.kind)} call={{ path: '/v1/workers' }} />
      </div>
      <div className="scrolls" role="region" aria-label={t.versions} tabIndex={0}>
        <table className="plain-table">
          <thead>
            <tr>
              <th scope="col">{t.version}</th>
              <th scope="col">{t.gets}</th>
              <th scope="col" className="number">{t.failedOf}</th>
              <th scope="col" className="number">p50</th>
              <th scope="col" className="number">p90</th>
              <th scope="col" className="number">{t.slots}</th>
              <th scope="col">{t.origin}</th>
              <th scope="col">{t.digest}</th>
              <th scope="col">{t.acts}</th>
            </tr>
          </thead>
          <tbody>
            {versions.map((worker) => (
              <tr key={worker.version}>
                <th scope="row" className="mono">
                  {worker.version}
                </th>
                <td>
                  {worker.gets.length === 0 ? <span className="dim">{t.getsNothing}</span> : <SafeText text={worker.gets.join('; ')} max={80} />}
                  {Object.entries(worker.broken ?? {}).map(([wee, why]) => (
                    <p key={wee} className="tone-bad">
                      <SafeText text={`${wee}: ${why}`} max={200} />
                    </p>
                  ))}
                  {Object.entries(worker.complaints ?? {}).map(([wee, lines]) => (
                    <p key={wee} className="dim">
                      <SafeText text={`${wee}: ${lines.join('; ')}`} max={200} />
                    </p>
                  ))}
                </td>
                <td className="number">
                  <Failed ended={worker.ended} failed={worker.failed} />
                </td>
                <td className="number">{ms(worker.p50Ms)}</td>
                <td className="number">{ms(worker.p90Ms)}</td>
                <td className="number">
                  {count(worker.slotsBusy)}/{count(worker.slots)}
                </td>
                <td>
                  {worker.origin} <span className="dim">{bytes(worker.bytes)}</span>
                </td>
                <td>
                  <SafeText text={worker.digest} max={19} mono still />
                </td>
                <td>
                  <ActButton small onClick={() => onPromote(worker.version)} not={worker.version === release.version && release.rules.length === 0 ? t.getsAll : undefined}>
                    {t.promote}
                  </ActButton>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function Held({ release }: { release: Release }) {
  const t = useMessages(messages)
  const { held } = release.status
  return (
    <section className="part">
      <h2>{t.heldCells}</h2>
      {held.length === 0 ? <p className="none dim">{t.heldNone}</p> : null}
      <ul className="entries">
        {[...held].reverse().map((cell, at) => (
          <li key={at}>
            <span className="mono">{cell.version}</span> <SafeText text={cellWords(cell.cell)} max={160} mono /> <span className="dim">· <Time at={cell.at} /></span>
            <p>
              <SafeText text={cell.why} max={300} />
            </p>
          </li>
        ))}
      </ul>
    </section>
  )
}

function History({ release }: { release: Release }) {
  const t = useMessages(messages)
  const { history } = release.status
  return (
    <section className="part">
      <h2>{t.history}</h2>
      {history.length === 0 ? <p className="none dim">{t.historyNone}</p> : null}
      <ul className="entries">
        {[...history].reverse().map((event, at) => (
          <li key={at}>
            <StateBadge state={event.what} /> <span className="mono">{event.version}</span> <span className="dim">· <Time at={event.at} /></span>
            <p>
              <SafeText text={event.message} max={300} />
            </p>
          </li>
        ))}
      </ul>
    </section>
  )
}
