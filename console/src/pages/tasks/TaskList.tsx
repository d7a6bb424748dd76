import { useQuery } from '@tanstack/react-query'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { address, api, body, request } from '../../api/client'
import { type CursorPage, useCursorPages } from '../../api/pages'
import { CommandHint } from '../../parts/CommandHint'
import { FilterChoice, FilterText, Filters, useFilters } from '../../parts/Filter'
import { sengu } from '../../parts/shell-words'
import { Empty, LookOn } from '../../parts/Standing'
import { words } from '../../parts/states'
import { messages } from './messages'
import type { Task } from './task'
import { TaskTable } from './TaskTable'

const PAGE = 100
const LOOK = { pages: 10, rows: PAGE }
const REFRESH_MS = 3_000
const FILTERS = ['state', 'kind', 'action', 'target', 'run', 'origin'] as const
const ENDINGS = ['done', 'failed', 'unknown', 'cancelled', 'expired'] as const

/** Tasks, newest first. What is looked for is in the address. */
export function TaskList() {
  const t = useMessages(messages)
  const w = useMessages(words)
  useTitle(t.title)
  const { values, set, clear, any } = useFilters(FILTERS)
  const kinds = useQuery({
    queryKey: ['kinds'],
    queryFn: ({ signal }) => body(api.GET('/v1/workers', { signal })),
    staleTime: 60_000,
  })
  const { state, ...rest } = values
  const where = { ...rest, ...(state === 'open' ? { state } : { status: state === 'notDone' ? 'failed,unknown,expired' : state }) }
  const pages = useCursorPages<Task>(
    ['tasks', where],
    (cursor, signal) => request<CursorPage<Task>>('GET', address('/v1/tasks', { ...where, limit: PAGE, cursor }), undefined, signal),
    { refetchMs: REFRESH_MS, look: LOOK },
  )
  const kindNames = [...new Set(kinds.data?.map((worker) => worker.kind) ?? [])]
  const actions = [...new Set(kinds.data?.filter((worker) => rest.kind === '' || worker.kind === rest.kind).flatMap((worker) => worker.actions) ?? [])].sort()
  return (
    <section className="page fills">
      <header className="page-head">
        <h1>{t.title}</h1>
        <span className="dim">{t.newestFirst}</span>
        <span className="end">
          <CommandHint command={tasksCommand(values)} call={{ path: address('/v1/tasks', { ...where, limit: PAGE }) }} />
        </span>
      </header>
      <Filters any={any} clear={clear}>
        <FilterChoice
          label={t.state}
          value={state}
          onChange={(to) => set('state', to)}
          choices={[['open', t.open], ['notDone', t.notDone], ...ENDINGS.map((each) => [each, w[each]] as const)]}
        />
        <FilterChoice label={t.kind} value={rest.kind} onChange={(to) => set('kind', to)} choices={kindNames.map((kind) => [kind, kind])} />
        <FilterText label={t.action} value={rest.action} onChange={(to) => set('action', to)} choices={actions} />
        <FilterText label={t.target} value={rest.target} onChange={(to) => set('target', to)} />
        <FilterText label={t.run} value={rest.run} onChange={(to) => set('run', to)} placeholder="r-…" />
        <FilterChoice
          label={t.origin}
          value={rest.origin}
          onChange={(to) => set('origin', to)}
          choices={[
            ['person', t.originPerson],
            ['run', t.originRun],
            ['schedule', t.originSchedule],
          ]}
        />
      </Filters>
      <LookOn pages={pages} said={t.lookedFar} word={t.lookOn} />
      <TaskTable
        pages={pages}
        label={t.title}
        empty={<Empty title={any ? t.noneMatch : t.none}>{any ? null : <code>sengu observe --all</code>}</Empty>}
      />
    </section>
  )
}

/** The CLI knows fewer filters than the API; what it lacks is left out, and the call beside it has all. */
function tasksCommand(values: Record<(typeof FILTERS)[number], string>): string {
  const status = values.state === 'notDone' ? 'failed,unknown,expired' : values.state
  return sengu(
    'tasks',
    ...(values.state === 'open' ? ['--open'] : status === '' ? [] : ['--status', status]),
    ...(values.target === '' ? [] : ['--target', values.target]),
    ...(values.run === '' ? [] : ['--run', values.run]),
    ...(values.kind === '' ? [] : ['-l', `kind=${values.kind}`]),
  )
}
