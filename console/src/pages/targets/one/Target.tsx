import '../../tasks/tasks.css'
import './one.css'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from 'react-router'
import { useMessages } from '../../../app/messages'
import { useTitle } from '../../../app/title'
import { api, body } from '../../../api/client'
import type { components } from '../../../api/openapi'
import { asProblem } from '../../../api/problem'
import { AuditOf } from '../../../parts/AuditOf'
import { CommandHint } from '../../../parts/CommandHint'
import { SafeText } from '../../../parts/SafeText'
import { sengu } from '../../../parts/shell-words'
import { Loading, Problem } from '../../../parts/Standing'
import { StateBadge } from '../../../parts/StateBadge'
import { visibleText } from '../../../parts/visible'
import { Why } from '../../tasks/Why'
import { placeOf, stateOf, targetOf } from '../target'
import { Actions } from './Actions'
import { Facts } from './Facts'
import { Held } from './Held'
import { Identity } from './Identity'
import { Lane } from './Lane'
import { messages } from './messages'
import { Readings } from './Readings'
import { Timeline } from './Timeline'

const REFRESH_MS = 2_000

/** One device, host or service: how it stands, what holds it, what it measures, what was done and what can be done. */
export default function Target() {
  const t = useMessages(messages)
  const { name = '' } = useParams()
  useTitle(visibleText(name.slice(0, 128)))
  const record = useQuery({
    queryKey: ['target', name],
    queryFn: ({ signal }) => body(api.GET('/v1/records/{kind}/{name}', { params: { path: { kind: 'Target', name } }, signal })),
    refetchInterval: (asked) => (asProblem(asked.state.error).code === 'not_found' ? false : REFRESH_MS),
  })
  // Kept on the page while it cannot be asked for again; said above it.
  const problem = record.error ? <Problem problem={asProblem(record.error)} again={() => void record.refetch()} /> : null
  if (!record.data) {
    return (
      <section className="page one">
        <h1>
          <SafeText text={name} max={128} mono still />
        </h1>
        {problem ?? <Loading />}
        {problem ? <Link to="/targets">{t.toList}</Link> : null}
      </section>
    )
  }
  return <One key={name} record={record.data} problem={problem} />
}

function One({ record, problem }: { record: components['schemas']['Record']; problem: React.ReactNode }) {
  const target = targetOf(record)
  return (
    <section className="page one">
      <header className="page-head">
        <h1>
          <SafeText text={target.name} max={128} mono still />
        </h1>
        <StateBadge state={stateOf(target)} />
        <span className="dim">
          <SafeText text={[target.spec.kind, placeOf(target)].filter((part) => part !== '').join(' · ')} max={120} mono still />
        </span>
        <span className="end">
          <CommandHint command={sengu('describe', `target/${target.name}`)} call={{ path: `/v1/records/Target/${encodeURIComponent(target.name)}` }} />
        </span>
      </header>
      {problem}
      <Why object="target" name={target.name} live />
      <Held target={target} record={record} />
      <div className="one-columns">
        <div className="one-column">
          <Actions target={target} />
          <Readings target={target} />
          <Timeline target={target} />
          <AuditOf kind="Target" name={target.name} />
        </div>
        <div className="one-column">
          <Lane target={target} />
          <Identity target={target} />
          <Facts target={target} />
        </div>
      </div>
    </section>
  )
}
