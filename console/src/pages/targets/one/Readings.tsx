import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { useMessages } from '../../../app/messages'
import { api, body } from '../../../api/client'
import { asProblem } from '../../../api/problem'
import { CommandHint } from '../../../parts/CommandHint'
import { type Column, DataTable, wholeList } from '../../../parts/DataTable'
import { measured } from '../../../parts/format'
import { SafeText } from '../../../parts/SafeText'
import { sengu } from '../../../parts/shell-words'
import { Sparkline } from '../../../parts/Sparkline'
import { Empty, Problem } from '../../../parts/Standing'
import { exact } from '../../../parts/Time'
import { visibleText } from '../../../parts/visible'
import type { Target } from '../target'
import { messages } from './messages'
import { matching, rangeText, type ReadingRow, readingRows } from './readings'
import { useNarrow } from './useNarrow'

const REFRESH_MS = 5_000
const ROW = 28
const ROW_OF_TWO = 46
/** Height of the heads and the foot of the table. */
const AROUND = 58
const HEIGHT_MAX = 420
/** With fewer readings than this nobody has to look for one. */
const FILTER_FROM = 12

/** The latest value of each reading, with its last hour as a line. */
export function Readings({ target }: { target: Target }) {
  const t = useMessages(messages)
  const [text, setText] = useState('')
  const narrow = useNarrow()
  const rowHeight = narrow ? ROW_OF_TWO : ROW
  const path = `/v1/targets/${encodeURIComponent(target.name)}/history`
  const history = useQuery({
    queryKey: ['history', target.name],
    queryFn: ({ signal }) => body(api.GET('/v1/targets/{name}/history', { params: { path: { name: target.name } }, signal })),
    refetchInterval: REFRESH_MS,
  })
  const all = useMemo(() => readingRows(target.status.readings, history.data?.readings ?? []), [target.status.readings, history.data])
  const rows = useMemo(() => matching(all, text), [all, text])
  const columns: Column<ReadingRow>[] = [
    {
      key: 'name',
      header: t.reading,
      width: 'minmax(80px, 1.6fr)',
      cell: (row) =>
        narrow ? (
          <>
            <SafeText text={row.name} max={64} mono still />
            <div className="dim">
              <SafeText text={row.labels} max={80} still />
            </div>
          </>
        ) : (
          <SafeText text={row.name} max={64} mono still />
        ),
    },
    {
      key: 'labels',
      header: t.labels,
      width: 'minmax(70px, 1fr)',
      fromWidth: 520,
      cell: (row) => <SafeText text={row.labels} max={80} still />,
    },
    {
      key: 'value',
      header: t.value,
      width: '96px',
      align: 'end',
      cell: (row) => (
        <>
          <b>{measured(row.value)}</b> <span className="dim">{row.unit === '' ? null : <SafeText text={row.unit} max={12} still />}</span>
        </>
      ),
    },
    {
      key: 'recent',
      header: t.recent,
      width: '112px',
      fromWidth: 340,
      cell: (row) =>
        row.values.length < 2 ? (
          <span className="dim">–</span>
        ) : (
          <Sparkline values={row.values} label={t.historyOf(visibleText(row.key.slice(0, 120)), row.values.length, exact(Date.parse(row.from ?? '')).slice(11, 19))} />
        ),
    },
    {
      key: 'range',
      header: t.range,
      width: '164px',
      align: 'end',
      fromWidth: 640,
      cell: (row) => (row.least === undefined || row.most === undefined ? null : <span className="dim">{rangeText(row.least, row.most)}</span>),
    },
  ]
  return (
    <section className="part">
      <div className="part-head">
        <h2>
          {t.readings} <span className="dim">{all.length > 0 ? all.length : null}</span>
        </h2>
        {all.length >= FILTER_FROM ? (
          <label className="readings-filter">
            {t.lookFor} <input value={text} size={14} spellCheck={false} onChange={(event) => setText(event.target.value)} />
          </label>
        ) : null}
        <CommandHint command={sengu('describe', `target/${target.name}`)} call={{ path }} />
      </div>
      {history.error ? <Problem problem={asProblem(history.error)} /> : null}
      {all.length === 0 ? (
        <Empty title={t.noReadings}>
          <code>{sengu('observe', target.name)}</code>
        </Empty>
      ) : (
        <>
          <DataTable
            key={rowHeight}
            label={t.readings}
            columns={columns}
            pages={wholeList(rows)}
            rowKey={(row) => row.key}
            rowHeight={rowHeight}
            height={`${Math.min(HEIGHT_MAX, Math.max(2, rows.length) * rowHeight + AROUND)}px`}
          />
          {history.data ? <p className="dim small-print">{t.historyKept(history.data.pointsMax)}</p> : null}
        </>
      )}
    </section>
  )
}
