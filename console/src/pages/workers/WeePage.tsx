import { Link, useParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import type { components } from '../../api/openapi'
import { asProblem } from '../../api/problem'
import { Acts } from '../../parts/Act'
import { AuditOf } from '../../parts/AuditOf'
import { CommandHint } from '../../parts/CommandHint'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Empty, Loading, Unavailable } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { messages } from './messages'
import { useWees } from './useWorkers'
import { WeeActs } from './WeeActs'
import { Failed } from './WorkerList'

/** One execution environment: what it can run, what it enforces, and its pools. */
export function WeePage() {
  const t = useMessages(messages)
  const { name = '' } = useParams()
  useTitle(name)
  const wees = useWees()
  if (!wees.data) return wees.error ? <Unavailable title={name} problem={asProblem(wees.error)} again={() => void wees.refetch()} /> : <Loading />
  const wee = wees.data.seen.find((each) => each.name === name)
  const said = wees.data.announced.find((each) => each.name === name)
  if (!wee) {
    return (
      <section className="page">
        <h1 className="mono">
          <SafeText text={name} max={80} still />
        </h1>
        <Empty title={t.noSuchWee}>
          <Link to="/workers">{t.title}</Link>
        </Empty>
      </section>
    )
  }
  return (
    <section className="page workers">
      <header className="page-head">
        <h1 className="mono">
          <SafeText text={name} max={80} still />
        </h1>
        <StateBadge state={wee.state} />
        <span className="end">
          <CommandHint command={sengu('describe', `wee/${name}`)} call={{ path: `/v1/records/Wee/${encodeURIComponent(name)}` }} />
        </span>
      </header>
      <Acts>
        <WeeActs wee={wee} embedded={said?.embedded ?? false} />
      </Acts>
      <div className="columns">
        <section className="part">
          <h2>{t.about}</h2>
          <dl className="facts">
            <dt>{t.zone}</dt>
            <dd>
              <Link to={`/targets?view=table&selector=${encodeURIComponent(`zone=${wee.zone}`)}`}>
                <SafeText text={wee.zone} max={64} mono still />
              </Link>
            </dd>
            <dt>{t.slots}</dt>
            <dd>
              {count(wee.slotsUsed)}/{count(wee.slots)}
            </dd>
            <dt>{t.senguVersion}</dt>
            <dd className="mono">{wee.version}</dd>
            {said ? (
              <>
                <dt>{t.runtimes}</dt>
                <dd className="mono">{said.runtimes.join(' ')}</dd>
                <dt>{t.spoke}</dt>
                <dd>
                  <Time at={said.at} />
                </dd>
                <dt>{t.labels}</dt>
                <dd>
                  {Object.keys(said.labels ?? {}).length === 0 ? (
                    <span className="dim">–</span>
                  ) : (
                    <SafeText text={Object.entries(said.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(' ')} max={300} mono />
                  )}
                </dd>
              </>
            ) : null}
          </dl>
        </section>
        {said ? (
          <section className="part">
            <h2>{t.isolation}</h2>
            <div className="isolation" role="region" aria-label={t.isolation} tabIndex={0}>
              <ul>
                {said.isolation.map((line, at) => (
                  <li key={at}>
                    <SafeText text={line} max={300} />
                  </li>
                ))}
              </ul>
            </div>
          </section>
        ) : null}
      </div>
      {said ? <Pools pools={said.pools} /> : null}
      <AuditOf kind="Wee" name={name} />
    </section>
  )
}

function Pools({ pools }: { pools: components['schemas']['PoolAnnouncement'][] }) {
  const t = useMessages(messages)
  return (
    <section className="part">
      <h2>{t.pools}</h2>
      <div className="scrolls" role="region" aria-label={t.pools} tabIndex={0}>
        <table className="plain-table">
          <thead>
            <tr>
              <th scope="col">{t.kind}</th>
              <th scope="col">{t.runtime}</th>
              <th scope="col" className="number">{t.instances}</th>
              <th scope="col" className="number">{t.slots}</th>
              <th scope="col" className="number">{t.failedOf}</th>
              <th scope="col" className="number">{t.restarts}</th>
              <th scope="col">{t.said}</th>
            </tr>
          </thead>
          <tbody>
            {pools.map((pool) => (
              <tr key={`${pool.kind}@${pool.version}`}>
                <th scope="row">
                  <Link to={`/workers/${encodeURIComponent(pool.kind)}`} className="mono">
                    {pool.kind}@{pool.version}
                  </Link>
                </th>
                <td className="mono">{pool.runtime}</td>
                <td className="number">{count(pool.instances)}</td>
                <td className="number">
                  {count(pool.slots_busy)}/{count(pool.slots_max)}
                </td>
                <td className="number">
                  <Failed ended={pool.ended} failed={pool.failed} />
                </td>
                <td className="number">{count(pool.restarts)}</td>
                <td>
                  {pool.broken ? (
                    <span className="tone-bad">
                      <SafeText text={pool.broken} max={300} />{' '}
                    </span>
                  ) : null}
                  <SafeText text={pool.complaints.join('; ')} max={300} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}
