import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { auditOf, auditPath } from '../../parts/audit'
import { Dialog } from '../../parts/Dialog'
import { Difference } from '../../parts/Difference'
import { difference, type Place, PLACES_MAX } from '../../parts/difference'
import { JsonText } from '../../parts/JsonText'
import { pathOf } from '../../parts/paths'
import { SafeText } from '../../parts/SafeText'
import { exact } from '../../parts/Time'
import { saidOf } from '../tasks/task'
import { messages } from './messages'
import type { Seen, Task } from './seen'
import { What } from './What'

/** One thing that happened, with what it changed where that is known. */
export function Detail({ seen, onClose }: { seen: Seen; onClose: () => void }) {
  const t = useMessages(messages)
  const path = seen.task ? `/tasks/${seen.task.id}` : pathOf(`${seen.kind}/${seen.name}`)
  return (
    <Dialog title={seen.task ? seen.task.id : t.opened(seen.kind, seen.name.slice(0, 100))} onClose={onClose} wide>
      <div className="dialog-body">
        <p className="happened">
          <What seen={seen} />
          {seen.task ? (
            <>
              <code>
                {seen.task.kind}.{seen.task.action}
              </code>
              <Link to={`/targets/${encodeURIComponent(seen.task.target)}`}>
                <SafeText text={seen.task.target} max={120} mono still />
              </Link>
            </>
          ) : null}
          {seen.revision === undefined ? null : (
            <span className="dim">
              {t.revision} <span className="mono">{seen.revision}</span>
            </span>
          )}
          {seen.at === undefined ? null : (
            <span className="dim">
              {seen.task ? t.ended : seen.about ? t.latestIn : t.seenHere} <span className="mono">{exact(seen.at)}</span>
            </span>
          )}
        </p>
        {seen.task ? <OfTask task={seen.task} /> : <OfRecord seen={seen} />}
        <p className="acts">
          {path === undefined || seen.what === 'deleted' ? null : (
            <Link to={path} className="button">
              {t.toPage}
            </Link>
          )}
          {seen.task ? null : (
            <Link to={auditPath(auditOf(seen.kind, seen.name))} className="button">
              {t.toAudit}
            </Link>
          )}
        </p>
      </div>
    </Dialog>
  )
}

function OfRecord({ seen }: { seen: Seen }) {
  const t = useMessages(messages)
  const { what, record, before, places } = seen
  return (
    <>
      {what === 'task' ? null : <p>{what === 'since' ? t.sinceMeans(record?.metadata.revision ?? 0) : t[`${what}Means`]}</p>}
      {places ? <Differences places={places} /> : what === 'deleted' ? null : <p className="dim">{t.beforeNotKept}</p>}
      {record ?? before ? (
        <section className="part">
          <h2>{record ? t.record : t.before}</h2>
          <JsonText value={record ?? before} max={6000} />
        </section>
      ) : null}
    </>
  )
}

function OfTask({ task }: { task: Task }) {
  const t = useMessages(messages)
  const outcome = task.ending?.outcome
  if (!outcome) return null
  const said = saidOf(outcome)
  const both = outcome.status === 'done' && outcome.before != null && outcome.after != null
  const value = outcome.status === 'done' ? outcome.result : outcome.status === 'failed' ? outcome.detail : undefined
  return (
    <>
      {said === '' ? null : (
        <p>
          <SafeText text={said} max={1000} />
        </p>
      )}
      {both ? <Differences places={difference(outcome.before, outcome.after)} /> : null}
      {value === undefined || value === null ? null : (
        <section className="part">
          <h2>{t.outcome}</h2>
          <JsonText value={value} max={4000} />
        </section>
      )}
    </>
  )
}

function Differences({ places }: { places: Place[] }) {
  const t = useMessages(messages)
  return (
    <section className="part">
      <h2>{t.difference}</h2>
      {places.length === 0 ? <p className="dim none">{t.noDifference}</p> : <Difference places={places} />}
      {places.length >= PLACES_MAX ? <p className="dim">{t.morePlaces(PLACES_MAX)}</p> : null}
    </section>
  )
}
