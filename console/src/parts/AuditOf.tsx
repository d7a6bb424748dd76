import { Link } from 'react-router'
import { useMessages } from '../app/messages'
import { auditCommand, auditOf, auditPath } from './audit'
import { messages } from './audit-messages'
import { AuditTable } from './AuditTable'
import { CommandHint } from './CommandHint'
import { Empty, LookOn } from './Standing'
import { auditCall, useAudit } from './useAudit'

/** One page, and then the reader says whether to look on: for each the server looks through much. */
const LOOK = { pages: 1, rows: 50 }
const ROW = 28
/** Height of the heads and the foot of the table. */
const AROUND = 58
const ROWS_MAX = 8

/** What was done to one object, by whom and when: a part of its page. */
export function AuditOf({ kind, name }: { kind: string; name: string }) {
  const t = useMessages(messages)
  const filter = auditOf(kind, name)
  const pages = useAudit(filter, LOOK)
  return (
    <section className="part audit-of">
      <div className="part-head">
        <h2>{t.audit}</h2>
        <Link to={auditPath(filter)}>{t.inAudit}</Link>
        <CommandHint command={auditCommand(filter)} call={{ path: auditCall(filter, LOOK.rows) }} />
      </div>
      <LookOn pages={pages} said={t.lookedFar} word={t.lookOn} />
      <AuditTable
        pages={pages}
        ofOne={filter.kind !== undefined}
        empty={<Empty title={pages.stalled ? t.noneSoFar : t.nothing} />}
        height={`${Math.min(ROWS_MAX, Math.max(2, pages.rows.length)) * ROW + AROUND}px`}
      />
    </section>
  )
}
