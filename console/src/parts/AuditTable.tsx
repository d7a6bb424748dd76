import { type ReactNode, useState } from 'react'
import { Link } from 'react-router'
import { useMessages } from '../app/messages'
import type { Pages } from '../api/pages'
import { ActBadge } from './ActBadge'
import { Actor } from './Actor'
import { type AuditEntry, howOf, pageOf } from './audit'
import { AuditDetail } from './AuditDetail'
import { messages } from './audit-messages'
import { type Column, DataTable } from './DataTable'
import { SafeText } from './SafeText'
import { Time } from './Time'

type Props = {
  pages: Pages<AuditEntry>
  empty: ReactNode
  height?: string
  /** All of it was done to the same: that is not said in each row. */
  ofOne?: boolean
}

/** Acts, newest first; a row opens all that is kept of it. */
export function AuditTable({ pages, empty, height, ofOne = false }: Props) {
  const t = useMessages(messages)
  // Stays what it was when it was opened, wherever the list has gone since.
  const [open, setOpen] = useState<AuditEntry>()
  const ofMany: Column<AuditEntry>[] = [
    { key: 'kind', header: t.kind, width: '84px', fromWidth: 720, cell: (row) => <SafeText text={row.kind} max={24} still /> },
    { key: 'name', header: t.name, width: 'minmax(84px, 1fr)', cell: (row) => <Name entry={row} /> },
  ]
  const columns: Column<AuditEntry>[] = [
    { key: 'when', header: t.when, width: '112px', cell: (row) => <Time at={row.at} /> },
    { key: 'who', header: t.who, width: 'minmax(76px, 1.4fr)', cell: (row) => <Actor by={row.by} /> },
    { key: 'what', header: t.what, width: 'minmax(96px, 144px)', cell: (row) => <ActBadge what={row.what} /> },
    ...(ofOne ? [] : ofMany),
    { key: 'how', header: t.how, width: 'minmax(140px, 2.4fr)', fromWidth: ofOne ? 480 : 620, cell: (row) => <SafeText text={howOf(row)} max={200} still /> },
  ]
  return (
    <>
      <DataTable
        label={t.audit}
        columns={columns}
        pages={pages}
        rowKey={(row) => String(row.position)}
        onOpen={setOpen}
        empty={empty}
        {...(height === undefined ? {} : { height })}
      />
      {open ? <AuditDetail entry={open} onClose={() => setOpen(undefined)} /> : null}
    </>
  )
}

function Name({ entry }: { entry: AuditEntry }) {
  const path = pageOf(entry)
  const name = <SafeText text={entry.name} max={64} mono still />
  if (path === undefined) return name
  return (
    <Link to={path} tabIndex={-1}>
      {name}
    </Link>
  )
}
