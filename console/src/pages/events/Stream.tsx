import { useState } from 'react'
import { useMessages } from '../../app/messages'
import { address } from '../../api/client'
import { wholeList } from '../../parts/DataTable'
import { CommandHint } from '../../parts/CommandHint'
import { FilterChoice, FilterText, Filters, useFilters } from '../../parts/Filter'
import { count } from '../../parts/format'
import { sengu } from '../../parts/shell-words'
import { Empty, Loading, Problem } from '../../parts/Standing'
import { Mark } from '../../parts/StateBadge'
import { Detail } from './Detail'
import { Head } from './Head'
import { messages } from './messages'
import { type Filter, type Seen, streamsOf, type What } from './seen'
import { SeenTable } from './SeenTable'
import { KEPT_MAX, useEvents } from './useEvents'
import { useKinds } from './useKinds'

const WHATS = ['records', 'written', 'tasks', 'notDone'] as const

/** What happens, as it happens: records that change and tasks that end. What is looked for is in the address. */
export function Stream() {
  const t = useMessages(messages)
  const { values, set, clear, any } = useFilters(['what', 'kind', 'name'])
  const kinds = useKinds()
  const what: What = WHATS.find((each) => each === values.what) ?? ''
  const filter: Filter = { what, kind: values.kind, name: values.name }
  const needs = streamsOf(filter, kinds.records)
  return (
    <section className="page fills">
      <Head>
        <span className="end">
          <CommandHint
            command={needs.records ? sengu('get', `${(needs.kinds.split(',')[0] || 'Target').toLowerCase()}s`, '-w') : sengu('tasks', ...(what === 'notDone' ? ['--status', 'failed,unknown,expired'] : []), '-w')}
            call={{ path: needs.records ? address('/v1/watch', { kinds: needs.kinds }) : '/v1/results' }}
          />
        </span>
      </Head>
      <Filters any={any} clear={clear}>
        <FilterChoice
          label={t.what}
          value={what}
          onChange={(to) => set('what', to)}
          choices={[
            ['records', t.whatRecords],
            ['written', t.whatWritten],
            ['tasks', t.whatTasks],
            ['notDone', t.whatNotDone],
          ]}
        />
        <FilterChoice label={t.kind} value={filter.kind} onChange={(to) => set('kind', to)} choices={[...kinds.records, ...kinds.workers].map((kind) => [kind, kind])} />
        <FilterText label={t.name} value={filter.name} onChange={(to) => set('name', to)} placeholder={t.namePart} />
      </Filters>
      {kinds.known ? <Followed key={JSON.stringify(filter)} filter={filter} recordKinds={kinds.records} any={any} /> : <Loading />}
    </section>
  )
}

function Followed({ filter, recordKinds, any }: { filter: Filter; recordKinds: string[]; any: boolean }) {
  const t = useMessages(messages)
  const [paused, setPaused] = useState(false)
  const [open, setOpen] = useState<Seen>()
  const events = useEvents(filter, recordKinds, paused)
  const { counts, state } = events
  const live = state === 'live'
  return (
    <>
      <div className="events-bar">
        <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? t.resume : t.pause}
        </button>
        <span className={`badge tone-${live ? 'ok' : 'warn'}`}>
          <Mark tone={live ? 'ok' : 'warn'} shape={live ? 'dot' : 'bars'} />
          <span className="badge-word">{live ? t.live : state === 'connecting' ? t.connecting : t.notLive}</span>
        </span>
        {paused ? <b>{t.newer(count(events.newer))}</b> : null}
        <span className="dim">{t.kept(count(events.rows.length), count(KEPT_MAX))}</span>
        <span className="dim">{t.came(count(counts.came))}</span>
        {counts.notRead > 0 ? <span className="tone-warn">{t.sampled(count(counts.notRead))}</span> : null}
        {events.gap ? <span className="tone-warn">{t.gap}</span> : null}
      </div>
      {events.problem && !live ? <Problem problem={events.problem} /> : null}
      <SeenTable
        pages={wholeList(events.rows, events.loading)}
        label={t.stream}
        onOpen={setOpen}
        empty={<Empty title={any ? t.noneMatch : t.nothingYet}>{t.waits}</Empty>}
      />
      {open ? <Detail seen={open} onClose={() => setOpen(undefined)} /> : null}
    </>
  )
}
