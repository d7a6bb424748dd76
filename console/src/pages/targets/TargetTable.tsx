import { Link, useNavigate } from 'react-router'
import { useMessages } from '../../app/messages'
import { api, body } from '../../api/client'
import { useCursorPages } from '../../api/pages'
import { type Column, DataTable } from '../../parts/DataTable'
import { SafeText } from '../../parts/SafeText'
import { StateBadge } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { messages } from './messages'
import { NoTargets } from './racks/RackView'
import { isScalar, placeOf, stateOf, type Target, targetOf } from './target'

const PAGE = 200

function fact(target: Target, name: string): string {
  const value = target.status.facts[name]
  return isScalar(value) ? String(value) : ''
}

export function TargetTable({ selector, onSelector }: { selector: string; onSelector: (selector: string) => void }) {
  const t = useMessages(messages)
  const navigate = useNavigate()
  const pages = useCursorPages(['targets', selector], async (cursor, signal) => {
    const query = { limit: PAGE, ...(selector === '' ? {} : { selector }), ...(cursor === undefined ? {} : { cursor }) }
    const page = await body(api.GET('/v1/records/{kind}', { params: { path: { kind: 'Target' }, query }, signal }))
    return { items: page.items.map(targetOf), cursor: page.cursor ?? null }
  })
  const columns: Column<Target>[] = [
    {
      key: 'name',
      header: t.name,
      width: 'minmax(110px, 1fr)',
      cell: (row) => (
        <Link to={`/targets/${encodeURIComponent(row.name)}`} tabIndex={-1}>
          <SafeText text={row.name} max={64} mono still />
        </Link>
      ),
    },
    { key: 'state', header: t.state, width: '118px', cell: (row) => <StateBadge state={stateOf(row)} /> },
    { key: 'kind', header: t.kind, width: '84px', cell: (row) => <SafeText text={row.spec.kind} max={24} mono still /> },
    { key: 'place', header: t.place, width: 'minmax(150px, 1.2fr)', fromWidth: 620, cell: (row) => <SafeText text={placeOf(row)} max={48} mono still /> },
    {
      key: 'model',
      header: t.model,
      width: 'minmax(110px, 1.2fr)',
      fromWidth: 800,
      cell: (row) => <SafeText text={[fact(row, 'vendor'), fact(row, 'model')].filter((part) => part !== '').join(' ')} max={48} still />,
    },
    { key: 'firmware', header: t.firmware, width: '100px', fromWidth: 900, cell: (row) => <SafeText text={fact(row, 'firmware')} max={24} mono still /> },
    { key: 'observed', header: t.observed, width: '110px', fromWidth: 460, cell: (row) => <Time at={row.status.observedAt} /> },
    { key: 'address', header: t.address, width: 'minmax(120px, 1fr)', fromWidth: 1160, cell: (row) => <SafeText text={row.spec.address} max={64} mono still /> },
    { key: 'zone', header: t.zone, width: '90px', fromWidth: 1300, cell: (row) => <SafeText text={row.spec.zone} max={24} mono still /> },
  ]
  return (
    <DataTable
      label={t.title}
      columns={columns}
      pages={pages}
      rowKey={(row) => row.name}
      onOpen={(row) => void navigate(`/targets/${encodeURIComponent(row.name)}`)}
      empty={<NoTargets selector={selector} onSelector={onSelector} />}
    />
  )
}
