import { useMemo, useState } from 'react'
import { Link, useNavigate } from 'react-router'
import { useMessages } from '../../../app/messages'
import { useSettings } from '../../../app/settings'
import { address, request } from '../../../api/client'
import { type CursorPage, useCursorPages } from '../../../api/pages'
import { CommandHint } from '../../../parts/CommandHint'
import { type Column, DataTable } from '../../../parts/DataTable'
import { Effect } from '../../../parts/Effect'
import { FilterChoice } from '../../../parts/Filter'
import { duration } from '../../../parts/format'
import { SafeText } from '../../../parts/SafeText'
import { sengu } from '../../../parts/shell-words'
import { Empty, LookOn } from '../../../parts/Standing'
import { StateBadge } from '../../../parts/StateBadge'
import { Time } from '../../../parts/Time'
import { saidOf, standingOf, type Task, tookMs } from '../../tasks/task'
import type { Target } from '../target'
import { messages } from './messages'
import { type Moment, momentsOf, timeline } from './timeline'
import { useActions } from './useKind'

const PAGE = 50
const REFRESH_MS = 3_000
const LOOK = { pages: 5, rows: PAGE }
const ROW = 28
/** Height of the heads and the foot of the table. */
const AROUND = 58
const HEIGHT_MAX = 480

/** What was done with the target and since when it stands as it does, newest first. */
export function Timeline({ target }: { target: Target }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  const navigate = useNavigate()
  const { actions = [] } = useActions(target.spec.kind)
  const [action, setAction] = useState('')
  const where = { target: target.name, action }
  const pages = useCursorPages<Task>(
    ['tasks-of', where],
    (cursor, signal) => request<CursorPage<Task>>('GET', address('/v1/tasks', { ...where, limit: PAGE, cursor }), undefined, signal),
    { refetchMs: REFRESH_MS, look: LOOK },
  )
  const moments = useMemo(() => (action === '' ? momentsOf(target) : []), [target, action])
  const older = pages.more || pages.stalled
  const rows = useMemo(() => timeline(pages.rows, moments, older), [pages.rows, moments, older])
  const columns: Column<Moment>[] = [
    { key: 'when', header: t.when, width: '112px', cell: (row) => <Time at={row.at} /> },
    {
      key: 'state',
      header: t.state,
      width: '138px',
      cell: (row) => (row.is === 'task' ? <StateBadge state={standingOf(row.task)} /> : row.is === 'condition' ? <StateBadge state={row.state} /> : null),
    },
    {
      key: 'what',
      header: t.what,
      width: 'minmax(132px, 1fr)',
      cell: (row) => (row.is === 'task' ? <code>{row.task.action}</code> : <b>{row.is === 'described' ? t.describedThen : t.sinceThen}</b>),
    },
    { key: 'effect', header: t.effect, width: '116px', fromWidth: 780, cell: (row) => (row.is === 'task' ? <Effect effect={row.task.effect} short /> : null) },
    {
      key: 'task',
      header: t.task,
      width: '134px',
      fromWidth: 520,
      cell: (row) =>
        row.is === 'task' ? (
          <Link to={`/tasks/${row.task.id}`} className="mono" tabIndex={-1}>
            {row.task.id}
          </Link>
        ) : null,
    },
    {
      key: 'origin',
      header: t.origin,
      width: '134px',
      fromWidth: 880,
      cell: (row) =>
        row.is !== 'task' ? null : row.task.run ? (
          <Link to={`/runs/${row.task.run}`} className="mono" tabIndex={-1}>
            {row.task.run}
          </Link>
        ) : (
          row.task.origin
        ),
    },
    {
      key: 'said',
      header: t.said,
      width: 'minmax(120px, 2fr)',
      fromWidth: 600,
      cell: (row) => <Said row={row} took={row.is === 'task' ? tookText(row.task, language) : undefined} />,
    },
  ]
  return (
    <section className="part">
      <div className="part-head">
        <h2>{t.timeline}</h2>
        <CommandHint command={sengu('tasks', '--target', target.name)} call={{ path: address('/v1/tasks', { ...where, limit: PAGE }) }} />
      </div>
      <div className="filters timeline-bar">
        <FilterChoice label={t.action} value={action} onChange={setAction} choices={actions.map((each) => [each.name, each.name])} />
        <Link to={`/tasks${address('', { target: target.name, action })}`}>{t.allTasks}</Link>
        <LookOn pages={pages} said={t.lookedFar} word={t.lookOn} />
      </div>
      <DataTable
        label={t.timeline}
        columns={columns}
        pages={{ ...pages, rows }}
        rowKey={(row) => row.key}
        onOpen={(row) => {
          if (row.is === 'task') void navigate(`/tasks/${row.task.id}`)
        }}
        empty={<Empty title={t.nothingYet} />}
        height={`${Math.min(HEIGHT_MAX, Math.max(2, rows.length) * ROW + AROUND)}px`}
      />
    </section>
  )
}

function tookText(task: Task, language: 'en' | 'ja'): string | undefined {
  const took = tookMs(task)
  return took === undefined ? undefined : duration(took, language)
}

function Said({ row, took }: { row: Moment; took: string | undefined }) {
  if (row.is === 'described') return null
  const said = row.is === 'condition' ? [row.reason, row.message].filter((part) => part !== '').join(': ') : row.task.ending ? saidOf(row.task.ending.outcome) : ''
  return (
    <>
      {took === undefined ? null : <span className="dim">{took} </span>}
      <SafeText text={said} max={160} still />
    </>
  )
}
