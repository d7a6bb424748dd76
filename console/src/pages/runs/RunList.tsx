import { Link, useNavigate, useSearchParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { address, api, body, request } from '../../api/client'
import type { components } from '../../api/openapi'
import { useCursorPages } from '../../api/pages'
import { useMayAct } from '../../parts/Act'
import { CommandHint } from '../../parts/CommandHint'
import { type Column, DataTable } from '../../parts/DataTable'
import { count } from '../../parts/format'
import { Meter } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Empty } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { words } from '../../parts/states'
import { Time } from '../../parts/Time'
import { messages } from './messages'
import { over, type Run, runOf, runParts, scopeOf, spent } from './run'

const PAGE = 100
const REFRESH_MS = 2_000

/**
 * Runs by their last change, which needs the changes that are still kept, or all of them in the order they were made.
 * The API has no order of its own for "newest first" over records.
 */
export function RunList() {
  const t = useMessages(messages)
  useTitle(t.title)
  const mayAct = useMayAct()
  const [params, setParams] = useSearchParams()
  const order = params.get('order') === 'made' ? 'made' : 'changed'
  const changed = useCursorPages<Run>(['runs', 'changed'], latest, { enabled: order === 'changed', refetchMs: REFRESH_MS })
  const made = useCursorPages<Run>(
    ['runs', 'made'],
    async (cursor, signal) => {
      const query = { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) }
      const page = await body(api.GET('/v1/records/{kind}', { params: { path: { kind: 'Run' }, query }, signal }))
      return { items: page.items.map(runOf), cursor: page.cursor ?? null }
    },
    { enabled: order === 'made', refetchMs: REFRESH_MS },
  )
  const pages = order === 'changed' ? { ...changed, rows: onlyLatest(changed.rows) } : made
  return (
    <section className="page fills">
      <header className="page-head">
        <h1>{t.title}</h1>
        <span className="toggle" role="group" aria-label={t.order}>
          {(['changed', 'made'] as const).map((each) => (
            <button key={each} type="button" aria-pressed={order === each} onClick={() => setParams(each === 'made' ? { order: each } : {})}>
              {t[each]}
            </button>
          ))}
        </span>
        <Link to="/runs/new" className="button">
          {mayAct ? t.start : t.startLook}
        </Link>
        <span className="end">
          <CommandHint
            command={sengu('get', 'runs')}
            call={{ path: order === 'changed' ? address('/v1/changes', { kind: 'Run', limit: PAGE }) : address('/v1/records/Run', { limit: PAGE }) }}
          />
        </span>
      </header>
      <RunTable pages={pages} />
      {order === 'changed' && !pages.more ? <p className="dim small-print">{t.changedKept}</p> : null}
    </section>
  )
}

async function latest(cursor: string | undefined, signal: AbortSignal) {
  const page = await request<components['schemas']['ChangesPage']>(
    'GET',
    address('/v1/changes', { kind: 'Run', limit: PAGE, before: cursor }),
    undefined,
    signal,
  )
  // A run that was deleted is named once more, so that its earlier changes do not bring it back.
  const items = page.items.map((change) => (change.record ? runOf(change.record) : { name: change.name, createdAt: undefined, spec: { action: '' }, status: undefined }))
  return { items, cursor: page.cursor == null ? null : String(page.cursor) }
}

function onlyLatest(rows: Run[]): Run[] {
  const seen = new Set<string>()
  return rows.filter((row) => {
    if (seen.has(row.name)) return false
    seen.add(row.name)
    return row.spec.action !== ''
  })
}

function RunTable({ pages }: { pages: ReturnType<typeof useCursorPages<Run>> }) {
  const t = useMessages(messages)
  const w = useMessages(words)
  const navigate = useNavigate()
  const columns: Column<Run>[] = [
    {
      key: 'name',
      header: t.run,
      width: '134px',
      // The row opens it anyway; where there is little room, what it does says more.
      fromWidth: 460,
      cell: (row) => (
        <Link to={`/runs/${row.name}`} className="mono" tabIndex={-1}>
          {row.name}
        </Link>
      ),
    },
    { key: 'phase', header: t.phase, width: '112px', cell: (row) => (row.status ? <StateBadge state={row.status.phase} /> : null) },
    { key: 'action', header: t.action, width: 'minmax(96px, 0.7fr)', cell: (row) => <code>{row.spec.action}</code> },
    { key: 'scope', header: t.scope, width: 'minmax(120px, 1.4fr)', fromWidth: 620, cell: (row) => <SafeText text={scopeOf(row.spec)} max={80} mono still /> },
    {
      key: 'progress',
      header: t.progress,
      width: 'minmax(90px, 1fr)',
      fromWidth: 720,
      cell: (row) => (row.status ? <Meter label={row.name} parts={runParts(row.status.counts, w)} total={row.status.targets} /> : null),
    },
    {
      key: 'counts',
      header: t.ended,
      width: '96px',
      align: 'end',
      cell: (row) => (row.status ? `${count(over(row.status.counts))}/${count(row.status.targets)}` : null),
    },
    {
      key: 'failed',
      header: t.notDone,
      width: '76px',
      align: 'end',
      fromWidth: 460,
      cell: (row) => {
        const lost = row.status ? spent(row.status.counts) : 0
        return lost > 0 ? <b className="tone-bad">{count(lost)}</b> : <span className="dim">0</span>
      },
    },
    { key: 'created', header: t.begun, width: '108px', fromWidth: 560, cell: (row) => <Time at={row.createdAt} /> },
    { key: 'said', header: t.said, width: 'minmax(110px, 1.2fr)', fromWidth: 940, cell: (row) => <SafeText text={row.status?.message} max={120} still /> },
  ]
  return (
    <DataTable
      label={t.title}
      columns={columns}
      pages={pages}
      rowKey={(row) => row.name}
      onOpen={(row) => void navigate(`/runs/${row.name}`)}
      empty={
        <Empty title={t.none}>
          <code>sengu observe --all</code>
        </Empty>
      }
    />
  )
}
