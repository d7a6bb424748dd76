import { useState } from 'react'
import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { address, request } from '../../api/client'
import type { components } from '../../api/openapi'
import { type CursorPage, useCursorPages } from '../../api/pages'
import { CommandHint } from '../../parts/CommandHint'
import { type Column, DataTable } from '../../parts/DataTable'
import { FilterChoice } from '../../parts/Filter'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Empty } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { words } from '../../parts/states'
import { messages } from './messages'

type RunTarget = components['schemas']['RunTarget']

const PAGE = 100
const REFRESH_MS = 2_000
const STATUSES = ['done', 'failed', 'unknown', 'cancelled', 'expired'] as const

export function standingOf(row: RunTarget): string {
  if (!row.status) return row.state
  return row.status === 'done' && row.changed ? 'changed' : row.status
}

/** The same targets as the grid, as text. */
export function RunTargets({ run, live, onChoose }: { run: string; live: boolean; onChoose: (target: string) => void }) {
  const t = useMessages(messages)
  const w = useMessages(words)
  const [status, setStatus] = useState('')
  const path = `/v1/runs/${run}/targets`
  const pages = useCursorPages<RunTarget>(
    ['run-targets', run, status, live],
    (cursor, signal) => request<CursorPage<RunTarget>>('GET', address(path, { status, limit: PAGE, cursor }), undefined, signal),
    live ? { refetchMs: REFRESH_MS } : {},
  )
  const columns: Column<RunTarget>[] = [
    {
      key: 'target',
      header: t.target,
      width: 'minmax(120px, 1fr)',
      cell: (row) => (
        <Link to={`/targets/${encodeURIComponent(row.target)}`} tabIndex={-1}>
          <SafeText text={row.target} max={64} mono still />
        </Link>
      ),
    },
    { key: 'state', header: t.state, width: '132px', cell: (row) => <StateBadge state={standingOf(row)} /> },
    { key: 'batch', header: t.batch, width: '64px', align: 'end', fromWidth: 520, cell: (row) => row.batch },
    { key: 'attempt', header: t.attempt, width: '76px', align: 'end', fromWidth: 620, cell: (row) => row.attempt },
    {
      key: 'task',
      header: t.task,
      width: '134px',
      cell: (row) => (
        <Link to={`/tasks/${row.task}`} className="mono" tabIndex={-1}>
          {row.task}
        </Link>
      ),
    },
    {
      key: 'said',
      header: t.said,
      width: 'minmax(120px, 2fr)',
      fromWidth: 560,
      cell: (row) => <SafeText text={[row.code, row.message].filter(Boolean).join(': ')} max={160} still />,
    },
  ]
  return (
    <section className="part">
      <div className="part-head">
        <h2>{t.targets}</h2>
        <CommandHint command={sengu('tasks', '--run', run, ...(status === '' ? [] : ['--status', status]))} call={{ path: address(path, { status, limit: PAGE }) }} />
      </div>
      <div className="filters">
        <FilterChoice label={t.state} value={status} onChange={setStatus} choices={STATUSES.map((each) => [each, w[each]] as const)} />
        <span className="dim">{t.openRow}</span>
      </div>
      <DataTable
        label={t.targets}
        columns={columns}
        pages={pages}
        rowKey={(row) => row.task}
        onOpen={(row) => onChoose(row.target)}
        height="320px"
        empty={<Empty title={t.noneMatch} />}
      />
    </section>
  )
}
