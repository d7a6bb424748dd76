import { useState } from 'react'
import { useMessages } from '../../../app/messages'
import { address, request } from '../../../api/client'
import type { components } from '../../../api/openapi'
import { useCursorPages } from '../../../api/pages'
import { CommandHint } from '../../../parts/CommandHint'
import { sengu } from '../../../parts/shell-words'
import { Loading, Problem } from '../../../parts/Standing'
import { changeWhat } from '../../events/seen'
import type { Target } from '../target'
import { messages } from './messages'

const PAGE = 20

/** Revisions at which the record changed. Asked for only when it is opened: the server looks through all changes for it. */
export function RecordChanges({ target }: { target: Target }) {
  const t = useMessages(messages)
  const [open, setOpen] = useState(false)
  return (
    <details className="more" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t.recordChanges}</summary>
      {open ? <List target={target} /> : null}
    </details>
  )
}

function List({ target }: { target: Target }) {
  const t = useMessages(messages)
  const where = { kind: 'Target', name: target.name, limit: PAGE }
  const pages = useCursorPages(['changes-of', target.name, target.revision], async (before, signal) => {
    const page = await request<components['schemas']['ChangesPage']>('GET', address('/v1/changes', { ...where, before }), undefined, signal)
    const items = page.items.map((change) => ({ revision: change.revision, what: changeWhat(change) }))
    return { items, cursor: page.cursor == null ? null : String(page.cursor) }
  })
  const words = { written: t.changeLatest, observed: t.changeStatus, since: t.changeEarlier, deleted: t.changeDeleted }
  return (
    <>
      <p className="dim small-print">{t.recordChangesHow}</p>
      <CommandHint command={sengu('describe', `target/${target.name}`)} call={{ path: address('/v1/changes', where) }} />
      {pages.loading ? <Loading /> : null}
      {pages.problem ? <Problem problem={pages.problem} again={pages.again} /> : null}
      {!pages.loading && !pages.problem && pages.rows.length === 0 && !pages.more ? <p>{t.noChanges}</p> : null}
      <dl className="facts">
        {pages.rows.map((change) => (
          <div key={change.revision} className="fact">
            <dt className="mono">{change.revision}</dt>
            <dd>{words[change.what]}</dd>
          </div>
        ))}
      </dl>
      {pages.more ? (
        <button type="button" className="small" disabled={pages.loadingMore} onClick={pages.next}>
          {t.lookOn}
        </button>
      ) : null}
    </>
  )
}
