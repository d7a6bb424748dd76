import type { ReactNode } from 'react'
import { Link, useNavigate } from 'react-router'
import { useMessages } from '../../app/messages'
import { useSettings } from '../../app/settings'
import type { Pages } from '../../api/pages'
import { type Column, DataTable } from '../../parts/DataTable'
import { duration } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { StateBadge } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { messages } from './messages'
import { saidOf, standingOf, type Task, tookMs } from './task'

type Props = { pages: Pages<Task>; label: string; empty?: ReactNode; height?: string }

export function TaskTable({ pages, label, empty, height }: Props) {
  const t = useMessages(messages)
  const { language } = useSettings()
  const navigate = useNavigate()
  const columns: Column<Task>[] = [
    {
      key: 'id',
      header: t.task,
      width: '134px',
      // The row opens it anyway; where there is little room the target says more.
      fromWidth: 460,
      cell: (row) => (
        <Link to={`/tasks/${row.id}`} className="mono" tabIndex={-1}>
          {row.id}
        </Link>
      ),
    },
    { key: 'state', header: t.state, width: '132px', cell: (row) => <StateBadge state={standingOf(row)} /> },
    { key: 'action', header: t.action, width: 'minmax(96px, 0.7fr)', cell: (row) => <code>{row.action}</code> },
    {
      key: 'target',
      header: t.target,
      width: 'minmax(110px, 1fr)',
      cell: (row) => (
        <Link to={`/targets/${encodeURIComponent(row.target)}`} tabIndex={-1}>
          <SafeText text={row.target} max={48} mono still />
        </Link>
      ),
    },
    { key: 'kind', header: t.kind, width: '84px', fromWidth: 980, cell: (row) => <code>{row.kind}</code> },
    { key: 'origin', header: t.origin, width: '84px', fromWidth: 860, cell: (row) => row.origin },
    {
      key: 'run',
      header: t.run,
      width: '134px',
      fromWidth: 1060,
      cell: (row) =>
        row.run ? (
          <Link to={`/runs/${row.run}`} className="mono" tabIndex={-1}>
            {row.run}
          </Link>
        ) : (
          <span className="dim">–</span>
        ),
    },
    { key: 'created', header: t.created, width: '104px', fromWidth: 640, cell: (row) => <Time at={row.createdAt} /> },
    {
      key: 'took',
      header: t.took,
      width: '78px',
      align: 'end',
      fromWidth: 720,
      cell: (row) => {
        const took = tookMs(row)
        return took === undefined ? <span className="dim">–</span> : duration(took, language)
      },
    },
    {
      key: 'said',
      header: t.said,
      width: 'minmax(120px, 1.6fr)',
      fromWidth: 780,
      cell: (row) => (row.ending ? <SafeText text={saidOf(row.ending.outcome)} max={160} still /> : null),
    },
  ]
  return (
    <DataTable
      label={label}
      columns={columns}
      pages={pages}
      rowKey={(row) => row.id}
      onOpen={(row) => void navigate(`/tasks/${row.id}`)}
      empty={empty}
      {...(height === undefined ? {} : { height })}
    />
  )
}
