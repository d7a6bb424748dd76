import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { asProblem } from '../../api/problem'
import { CommandHint } from '../../parts/CommandHint'
import { count, percent } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Empty, Loading, Problem } from '../../parts/Standing'
import { Mark, StateBadge } from '../../parts/StateBadge'
import { messages } from './messages'
import { standingOf, type Worker } from './release'
import { useReleases, useWees, useWorkers } from './useWorkers'
import { WeeTable } from './WeeTable'

/** Every version of every worker and what it gets; below, where they run. */
export function WorkerList() {
  const t = useMessages(messages)
  useTitle(t.title)
  const workers = useWorkers()
  const releases = useReleases()
  const wees = useWees()
  const standing = new Map(releases.data?.map((release) => [release.kind, standingOf(release)]) ?? [])
  return (
    <section className="page workers">
      <header className="page-head">
        <h1>{t.title}</h1>
        <span className="end">
          <CommandHint command={sengu('get', 'workers')} call={{ path: '/v1/workers' }} />
        </span>
      </header>
      {workers.data ? (
        workers.data.length === 0 ? (
          <Empty title={t.noWorkers}>
            <code>sengu worker push DIR</code>
          </Empty>
        ) : (
          <WorkerTable workers={workers.data} standing={standing} />
        )
      ) : workers.error ? (
        <Problem problem={asProblem(workers.error)} again={() => void workers.refetch()} />
      ) : (
        <Loading />
      )}
      <section className="part">
        <div className="part-head">
          <h2>{t.wees}</h2>
          <CommandHint command={sengu('get', 'wees')} call={{ path: '/v1/records/Wee' }} />
        </div>
        {wees.data ? <WeeTable wees={wees.data} /> : wees.error ? <Problem problem={asProblem(wees.error)} /> : <Loading />}
      </section>
    </section>
  )
}

function WorkerTable({ workers, standing }: { workers: Worker[]; standing: Map<string, string> }) {
  const t = useMessages(messages)
  return (
    <div className="scrolls" role="region" aria-label={t.versions} tabIndex={0}>
      <table className="plain-table">
        <thead>
          <tr>
            <th scope="col">{t.kind}</th>
            <th scope="col">{t.version}</th>
            <th scope="col">{t.release}</th>
            <th scope="col">{t.gets}</th>
            <th scope="col" className="number">{t.targets}</th>
            <th scope="col" className="number">{t.instances}</th>
            <th scope="col" className="number">{t.slots}</th>
            <th scope="col" className="number">{t.failedOf}</th>
            <th scope="col" className="number">p50</th>
            <th scope="col" className="number">p90</th>
            <th scope="col">{t.digest}</th>
          </tr>
        </thead>
        <tbody>
          {workers.map((worker, at) => {
            const first = workers[at - 1]?.kind !== worker.kind
            const broken = Object.keys(worker.broken ?? {}).length > 0
            return (
              <tr key={worker.name}>
                <th scope="row" className="kind-cell">
                  {first ? (
                    <Link to={`/workers/${encodeURIComponent(worker.kind)}`}>
                      <SafeText text={worker.kind} max={40} mono still />
                    </Link>
                  ) : (
                    <span className="visually-hidden">{worker.kind}</span>
                  )}
                </th>
                <td className="mono">
                  {worker.version}{' '}
                  {broken ? (
                    <span className="tone-bad">
                      <Mark tone="bad" shape="triangle" /> {t.broken}
                    </span>
                  ) : null}
                </td>
                <td>{first ? <StateBadge state={standing.get(worker.kind) ?? 'settled'} /> : null}</td>
                <td>
                  <SafeText text={worker.gets.join('; ')} max={80} />
                  {worker.gets.length === 0 ? <span className="dim">{t.getsNothing}</span> : null}
                </td>
                <td className="number">{count(worker.targets)}</td>
                <td className="number">{count(worker.instances)}</td>
                <td className="number">
                  {count(worker.slotsBusy)}/{count(worker.slots)}
                </td>
                <td className="number">
                  <Failed ended={worker.ended} failed={worker.failed} />
                </td>
                <td className="number">{ms(worker.p50Ms)}</td>
                <td className="number">{ms(worker.p90Ms)}</td>
                <td className="mono" title={worker.digest}>
                  {worker.digest.replace(/^sha256:/, '').slice(0, 12)}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

export function ms(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : `${count(value)} ms`
}

export function Failed({ ended, failed }: { ended: number; failed: number }) {
  if (ended === 0) return <span className="dim">–</span>
  const text = `${count(failed)}/${count(ended)} (${percent(failed, ended)})`
  return failed > 0 ? <span className="tone-bad">{text}</span> : <span>{text}</span>
}
