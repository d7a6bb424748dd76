import { useState } from 'react'
import { useMessages } from '../../app/messages'
import { address, request } from '../../api/client'
import type { components } from '../../api/openapi'
import { type CursorPage, useCursorPages } from '../../api/pages'
import { CommandHint } from '../../parts/CommandHint'
import { type Column, DataTable } from '../../parts/DataTable'
import { Dialog } from '../../parts/Dialog'
import { bytes, count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Problem } from '../../parts/Standing'
import { Time } from '../../parts/Time'
import { messages } from './messages'
import { shownBody } from './parked'

type Parked = components['schemas']['ParkedMessage']

const PAGE = 50
const REFRESH_MS = 10_000

/** Messages that were put aside; one opens to what it was. */
export function ParkedList() {
  const t = useMessages(messages)
  const [open, setOpen] = useState<Parked>()
  const pages = useCursorPages<Parked>(
    ['parked'],
    (cursor, signal) => request<CursorPage<Parked>>('GET', address('/v1/parked', { limit: PAGE, cursor }), undefined, signal),
    { refetchMs: REFRESH_MS },
  )
  const columns: Column<Parked>[] = [
    { key: 'position', header: t.position, width: '84px', align: 'end', cell: (row) => <span className="mono">{row.position}</span> },
    { key: 'at', header: t.at, width: '112px', cell: (row) => <Time at={row.at} /> },
    { key: 'queue', header: t.queue, width: 'minmax(110px, 0.8fr)', fromWidth: 560, cell: (row) => <SafeText text={row.queue} max={80} mono still /> },
    { key: 'reason', header: t.reason, width: 'minmax(120px, 2fr)', cell: (row) => <SafeText text={row.reason} max={160} still /> },
    { key: 'size', header: t.size, width: '92px', align: 'end', fromWidth: 460, cell: (row) => bytes(row.bytes) },
  ]
  const none = !pages.loading && !pages.problem && pages.rows.length === 0
  return (
    <section className="part">
      <div className="part-head">
        <h2>
          {t.parked}
          {pages.rows.length > 0 ? <span className="dim"> {count(pages.rows.length)}{pages.more ? '+' : ''}</span> : null}
        </h2>
        <CommandHint command={sengu('get', 'parked')} call={{ path: '/v1/parked' }} />
      </div>
      {none ? (
        <p className="none">{t.parkedNone}</p>
      ) : pages.problem && pages.rows.length === 0 ? (
        <Problem problem={pages.problem} again={pages.again} />
      ) : (
        <DataTable label={t.parked} columns={columns} pages={pages} rowKey={(row) => String(row.position)} onOpen={setOpen} height="280px" />
      )}
      <p className="dim small-print">{t.parkedMeans}</p>
      {open ? <Opened parked={open} onClose={() => setOpen(undefined)} /> : null}
    </section>
  )
}

function Opened({ parked, onClose }: { parked: Parked; onClose: () => void }) {
  const t = useMessages(messages)
  const shown = shownBody(parked.body)
  return (
    <Dialog title={`${t.parked} ${parked.position}`} onClose={onClose} wide>
      <div className="dialog-body">
        <dl className="facts">
          <dt>{t.reason}</dt>
          <dd>
            <SafeText text={parked.reason} max={1000} />
          </dd>
          <dt>{t.queue}</dt>
          <dd>
            <SafeText text={parked.queue} max={200} mono />
          </dd>
          <dt>{t.at}</dt>
          <dd>
            <Time at={parked.at} />
          </dd>
        </dl>
        <section className="part">
          <h2>{t.body}</h2>
          <p className="dim">
            {shown.length < parked.bytes ? t.bodyCut(bytes(shown.length), bytes(parked.bytes)) : bytes(parked.bytes)}
            {shown.binary ? ` · ${t.binary}` : ''}
          </p>
          <pre className="json" role="region" aria-label={t.body} tabIndex={0}>
            <SafeText text={shown.text} max={8000} mono lines />
          </pre>
        </section>
      </div>
    </Dialog>
  )
}
