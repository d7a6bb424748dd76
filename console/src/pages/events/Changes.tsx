import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useSearchParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { address, request } from '../../api/client'
import type { components } from '../../api/openapi'
import { type CursorPage, useCursorPages } from '../../api/pages'
import { asProblem } from '../../api/problem'
import { CommandHint } from '../../parts/CommandHint'
import { Dialog } from '../../parts/Dialog'
import { FilterChoice, FilterText, Filters, useFilters } from '../../parts/Filter'
import { count } from '../../parts/format'
import { sengu } from '../../parts/shell-words'
import { Empty, Loading, LookOn, Problem } from '../../parts/Standing'
import { Detail } from './Detail'
import { Head } from './Head'
import { messages } from './messages'
import { ofChange, type Seen } from './seen'
import { SeenTable } from './SeenTable'
import { useKinds } from './useKinds'

type ChangesPage = components['schemas']['ChangesPage']
type Page = CursorPage<Seen> & { oldest: number }

const PAGE = 100
const LOOK = { pages: 10, rows: PAGE }
const REFRESH_MS = 5_000

/** Changes of records, newest first. What is looked for, and which one is open, is in the address. */
export function Changes() {
  const t = useMessages(messages)
  const { values, set, clear, any } = useFilters(['what', 'kind', 'name'])
  const [params, setParams] = useSearchParams()
  const kinds = useKinds()
  const [oldest, setOldest] = useState<number>()
  const { what, kind, name } = values
  const pages = useCursorPages<Seen>(
    ['changes', what, kind, name],
    async (cursor, signal): Promise<Page> => {
      const page = await request<ChangesPage>('GET', address('/v1/changes', { kind, name, limit: PAGE, before: cursor }), undefined, signal)
      setOldest(page.oldest)
      const items = page.items.map(ofChange).filter((seen) => wanted(seen, what))
      return { items, cursor: page.cursor == null ? null : String(page.cursor), oldest: page.oldest }
    },
    { refetchMs: REFRESH_MS, look: LOOK },
  )
  const revision = params.get('revision')
  const open = (to: string | undefined) =>
    setParams((before) => {
      const next = new URLSearchParams(before)
      if (to === undefined) next.delete('revision')
      else next.set('revision', to)
      return next
    })
  return (
    <section className="page fills">
      <Head>
        <span className="end">
          <CommandHint command={auditCommand(kind, name)} call={{ path: address('/v1/changes', { kind, name, limit: PAGE }) }} />
        </span>
      </Head>
      <Filters any={any} clear={clear}>
        <FilterChoice
          label={t.what}
          value={what}
          onChange={(to) => set('what', to)}
          choices={[
            ['written', t.whatWritten],
            ['observed', t.whatObserved],
            ['deleted', t.whatDeleted],
          ]}
        />
        <FilterChoice label={t.kind} value={kind} onChange={(to) => set('kind', to)} choices={kinds.records.map((each) => [each, each])} />
        <FilterText label={t.name} value={name} onChange={(to) => set('name', to)} placeholder={t.nameWhole} />
      </Filters>
      <LookOn pages={pages} said={t.lookedFar} word={t.lookOn} />
      <SeenTable
        pages={pages}
        label={t.changes}
        revision
        onOpen={(seen) => open(String(seen.revision))}
        empty={<Empty title={t.noChange} />}
      />
      <p className="dim small-print">
        {t.onlyLast} {oldest !== undefined && oldest > 1 ? t.oldest(count(oldest)) : null}
      </p>
      {revision !== null && /^\d+$/.test(revision) ? (
        <Opened key={revision} revision={Number(revision)} known={pages.rows.find((row) => String(row.revision) === revision)} onClose={() => open(undefined)} />
      ) : null}
    </section>
  )
}

/** A change that is open stays what it was when it was opened; one that only the address names is asked for. */
function Opened({ revision, known, onClose }: { revision: number; known: Seen | undefined; onClose: () => void }) {
  const t = useMessages(messages)
  const [kept] = useState(known)
  const asked = useQuery({
    queryKey: ['change', revision],
    queryFn: ({ signal }) => request<ChangesPage>('GET', address('/v1/changes', { before: revision + 1, limit: 1 }), undefined, signal),
    enabled: kept === undefined,
    refetchOnWindowFocus: false,
  })
  const item = asked.data?.items.find((each) => each.revision === revision)
  const seen = kept ?? (item ? ofChange(item) : undefined)
  if (seen) return <Detail seen={seen} onClose={onClose} />
  return (
    <Dialog title={`${t.revision} ${revision}`} onClose={onClose}>
      <div className="dialog-body">
        {asked.error ? <Problem problem={asProblem(asked.error)} again={() => void asked.refetch()} /> : asked.isPending ? <Loading /> : <p>{t.notListed(String(revision))}</p>}
      </div>
    </Dialog>
  )
}

function wanted(seen: Seen, what: string): boolean {
  switch (what) {
    case 'written':
      return seen.what === 'written' || seen.what === 'since' || seen.what === 'deleted'
    case 'observed':
    case 'deleted':
      return seen.what === what
    default:
      return true
  }
}

/** The CLI shows records as they are now, and goes on to print what changes. */
function auditCommand(kind: string, name: string): string {
  if (kind !== '' && name !== '') return sengu('describe', `${kind.toLowerCase()}/${name}`)
  return sengu('get', `${(kind === '' ? 'Target' : kind).toLowerCase()}s`, '-w')
}
