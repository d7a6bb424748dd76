import { Link } from 'react-router'
import { useMessages } from '../app/messages'
import { ActBadge } from './ActBadge'
import { Actor } from './Actor'
import { type AuditEntry, auditOf, auditPath, ownAct, pageOf } from './audit'
import { messages } from './audit-messages'
import { Dialog } from './Dialog'
import { Difference } from './Difference'
import { SafeText } from './SafeText'
import { exact } from './Time'
import { visibleText } from './visible'

/** One act, with all that is kept of it. */
export function AuditDetail({ entry, onClose }: { entry: AuditEntry; onClose: () => void }) {
  const t = useMessages(messages)
  const { by, what, kind, name, note = '', targets = [], fields = [] } = entry
  const path = pageOf(entry)
  return (
    <Dialog title={visibleText(`${kind} ${name}`.slice(0, 140))} onClose={onClose} wide>
      <div className="dialog-body">
        <p className="happened">
          <ActBadge what={what} />
          <span className="mono">{exact(Date.parse(entry.at))}</span>
          <span className="dim">
            {t.position} <span className="mono">{entry.position}</span>
          </span>
        </p>
        <dl className="facts">
          <dt>{t.by}</dt>
          <dd>
            <Actor by={by} max={100} /> {ownAct(by) ? <span className="dim">· {t.bySengu}</span> : null}
          </dd>
          {by.via ? (
            <>
              <dt>{t.via}</dt>
              <dd>{by.via === 'token' ? t.viaToken : by.via === 'cookie' ? t.viaCookie : <SafeText text={by.via} max={40} />}</dd>
            </>
          ) : null}
          {note === '' ? null : (
            <>
              <dt>{t.note}</dt>
              <dd>
                <SafeText text={note} max={1000} />
              </dd>
            </>
          )}
          {targets.length === 0 ? null : (
            <>
              <dt>{t.targets}</dt>
              <dd className="words">
                {targets.map((target, at) => (
                  <Link key={at} to={`/targets/${encodeURIComponent(target)}`}>
                    <SafeText text={target} max={120} mono still />
                  </Link>
                ))}
              </dd>
            </>
          )}
        </dl>
        {fields.length === 0 ? null : (
          <section className="part">
            <h2>{t.changed}</h2>
            <Difference places={fields.map((field) => ({ path: field.path, before: field.before, after: field.after }))} />
          </section>
        )}
        {entry.cut ? <p className="dim">{t.cut}</p> : null}
        <p className="acts">
          {path === undefined ? null : (
            <Link to={path} className="button">
              {t.toPage}
            </Link>
          )}
          <Link to={auditPath(auditOf(kind, name))} className="button" onClick={onClose}>
            {t.allOfIt}
          </Link>
        </p>
      </div>
    </Dialog>
  )
}
