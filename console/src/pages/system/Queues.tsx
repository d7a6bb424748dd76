import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { useSettings } from '../../app/settings'
import { api, body } from '../../api/client'
import type { components } from '../../api/openapi'
import { asProblem } from '../../api/problem'
import { CommandHint } from '../../parts/CommandHint'
import { type Column, DataTable, wholeList } from '../../parts/DataTable'
import { count, duration } from '../../parts/format'
import { Meter } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Empty, Problem } from '../../parts/Standing'
import { messages } from './messages'

type Queue = components['schemas']['TopQueue']

const REFRESH_MS = 2_000
const ROWS_SEEN = 12
const ROW_PX = 28

/** What waits where between sengu and its execution environments; the deepest first. */
export function Queues() {
  const t = useMessages(messages)
  const { language } = useSettings()
  const top = useQuery({ queryKey: ['top'], queryFn: ({ signal }) => body(api.GET('/v1/top', { signal })), refetchInterval: REFRESH_MS })
  const queues = [...(top.data?.queues ?? [])].sort((a, b) => b.depth - a.depth || b.inFlight - a.inFlight || nameOf(a).localeCompare(nameOf(b)))
  const columns: Column<Queue>[] = [
    {
      key: 'kind',
      header: t.kind,
      width: 'minmax(120px, 1fr)',
      cell: (row) => (
        <Link to={`/workers/${encodeURIComponent(row.kind)}`} tabIndex={-1}>
          <SafeText text={`${row.kind}@${row.version}`} max={48} mono still />
        </Link>
      ),
    },
    { key: 'class', header: t.class, width: '84px', cell: (row) => <code>{row.class}</code> },
    { key: 'zone', header: t.zone, width: 'minmax(84px, 0.6fr)', fromWidth: 640, cell: (row) => <SafeText text={row.zone} max={40} mono still /> },
    { key: 'depth', header: t.depth, width: '72px', align: 'end', cell: (row) => (row.depth > 0 ? <b>{count(row.depth)}</b> : '0') },
    { key: 'inHand', header: t.inHand, width: '96px', align: 'end', cell: (row) => `${count(row.inFlight)} / ${count(row.window)}` },
    {
      key: 'meter',
      header: t.filled,
      width: '96px',
      fromWidth: 720,
      cell: (row) => <Meter label={t.inHand} total={row.window} parts={[{ value: row.inFlight, tone: row.inFlight >= row.window ? 'warn' : 'busy', word: t.inHand }]} />,
    },
    { key: 'ended', header: t.endedCount, width: '84px', align: 'end', fromWidth: 520, cell: (row) => count(row.tasks) },
    {
      key: 'failed',
      header: t.failures,
      width: '68px',
      align: 'end',
      fromWidth: 460,
      cell: (row) => (row.failed > 0 ? <span className="tone-bad">{count(row.failed)}</span> : '0'),
    },
    { key: 'half', header: t.half, width: '92px', align: 'end', fromWidth: 800, cell: (row) => took(row.p50Ms) },
    { key: 'most', header: t.most, width: '112px', align: 'end', fromWidth: 880, cell: (row) => took(row.p90Ms) },
  ]
  const took = (ms: number | null | undefined) => (ms == null ? <span className="dim">–</span> : duration(ms, language))
  return (
    <section className="part">
      <div className="part-head">
        <h2>{t.queues}</h2>
        <CommandHint command={sengu('top')} call={{ path: '/v1/top' }} />
      </div>
      {top.error && !top.data ? (
        <Problem problem={asProblem(top.error)} again={() => void top.refetch()} />
      ) : top.data && queues.length === 0 ? (
        <Empty title={t.queuesNone} />
      ) : (
        <DataTable
          label={t.queues}
          columns={columns}
          pages={wholeList(queues, top.isPending)}
          rowKey={nameOf}
          height={`${(Math.min(queues.length, ROWS_SEEN) + 2) * ROW_PX + 4}px`}
        />
      )}
      <p className="dim small-print">{t.queuesMeans}</p>
    </section>
  )
}

function nameOf(queue: Queue): string {
  return [queue.zone, queue.kind, queue.version, queue.class].join(' ')
}
