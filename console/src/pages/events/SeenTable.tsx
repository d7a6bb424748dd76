import type { ReactNode } from 'react'
import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import type { Pages } from '../../api/pages'
import { type Column, DataTable } from '../../parts/DataTable'
import { saidOfPlaces, telling } from '../../parts/difference'
import { pathOf } from '../../parts/paths'
import { SafeText } from '../../parts/SafeText'
import { saidOf } from '../tasks/task'
import { messages } from './messages'
import { saidOfRecord, type Seen } from './seen'
import { What } from './What'
import { When } from './When'

type Props = { pages: Pages<Seen>; label: string; onOpen: (seen: Seen) => void; empty: ReactNode }

export function SeenTable({ pages, label, onOpen, empty }: Props) {
  const t = useMessages(messages)
  const columns: Column<Seen>[] = [
    { key: 'time', header: t.time, width: '110px', cell: (row) => <When seen={row} /> },
    { key: 'what', header: t.what, width: '136px', cell: (row) => <What seen={row} /> },
    { key: 'kind', header: t.kind, width: '96px', fromWidth: 560, cell: (row) => <code>{row.kind}</code> },
    { key: 'name', header: t.name, width: 'minmax(120px, 0.8fr)', cell: (row) => <Name seen={row} /> },
    { key: 'said', header: t.said, width: 'minmax(160px, 2fr)', fromWidth: 620, cell: (row) => <SafeText text={said(row)} max={200} still /> },
  ]
  return <DataTable label={label} columns={columns} pages={pages} rowKey={(row) => row.key} onOpen={onOpen} empty={empty} />
}

function Name({ seen }: { seen: Seen }) {
  const path = seen.what === 'deleted' ? undefined : seen.task ? `/targets/${encodeURIComponent(seen.name)}` : pathOf(`${seen.kind}/${seen.name}`)
  const name = <SafeText text={seen.name} max={64} mono still />
  return path === undefined ? (
    name
  ) : (
    <Link to={path} tabIndex={-1}>
      {name}
    </Link>
  )
}

function said(seen: Seen): string {
  if (seen.task) {
    const outcome = seen.task.ending ? saidOf(seen.task.ending.outcome) : ''
    return outcome === '' ? seen.task.action : `${seen.task.action}: ${outcome}`
  }
  const changed = seen.places ? saidOfPlaces(telling(seen.places)) : ''
  return changed !== '' ? changed : seen.record ? saidOfRecord(seen.record) : ''
}
