import { useQuery } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { address, request } from '../../api/client'
import { type ApiProblem, asProblem } from '../../api/problem'
import { type StreamEvent, type StreamState, useStream } from '../../api/stream'
import type { components } from '../../api/openapi'
import { difference } from '../../parts/difference'
import { type Counts, Intake } from './intake'
import { type Filter, matches, merged, ofChange, ofRecordEvent, ofTask, type RecordSeen, type Seen, streamsOf, type Task } from './seen'

/** What happened and is kept in the tab; the oldest go first. */
export const KEPT_MAX = 1_000
/** Put on the page this often, however fast it comes. */
const FLUSH_MS = 200
/** What happened before the page was opened: the newest of it. */
const SEED = 100
/** Records that are remembered as they were, to show what changes in them. */
const KNOWN_MAX = 1_000

type ChangesPage = components['schemas']['ChangesPage']

export type Events = {
  rows: Seen[]
  /** Came while it is paused, and are not shown. */
  newer: number
  counts: Counts
  state: StreamState
  problem: ApiProblem | undefined
  loading: boolean
  /** Changes in between are lost to this tab. */
  gap: boolean
}

/** Follows what happens. For one filter: another one is another component. */
export function useEvents(filter: Filter, recordKinds: string[], paused: boolean): Events {
  const needs = streamsOf(filter, recordKinds)
  const [gap, setGap] = useState(false)
  const [live, setLive] = useState<{ shown: Seen[]; newer: Seen[]; counts: Counts }>({ shown: [], newer: [], counts: { came: 0, notRead: 0 } })
  const [intake] = useState(() => new Intake(filter.name.toLowerCase()))
  const [known] = useState(() => new Known())

  const onEvent = useCallback(
    (event: StreamEvent) => {
      if (event.event === 'gone') setGap(true)
      else intake.push(event)
    },
    [intake],
  )
  const results = useStream(needs.results ? '/v1/results' : undefined, onEvent)
  const [admitted, setAdmitted] = useState(false)
  if (results.state === 'live' && !admitted) setAdmitted(true)
  const seed = useSeed(filter, needs, admitted)
  // From where the seed ends, so that nothing in between is missed; from now when that is no longer kept.
  const from = gap || seed.newest === undefined ? undefined : seed.newest
  const records = useStream(needs.records && !seed.loading ? address('/v1/watch', { kinds: needs.kinds, from }) : undefined, onEvent)

  const latest = useRef({ filter, paused })
  useEffect(() => {
    latest.current = { filter, paused }
  })
  const seeded = seed.rows
  useEffect(() => {
    for (const each of seeded) if (each.record) known.learn(each)
  }, [seeded, known])
  useEffect(() => {
    const timer = setInterval(() => {
      const { filter: now, paused: resting } = latest.current
      const fresh = read(intake.take(), known)
        .filter((seen) => matches(seen, now))
        .reverse()
      const counts = { came: intake.came, notRead: intake.notRead }
      setLive((before) => {
        const still = fresh.length === 0 && (resting || before.newer.length === 0)
        if (still && before.counts.came === counts.came) return before
        if (still) return { ...before, counts }
        if (resting) return { ...before, newer: [...fresh, ...before.newer].slice(0, KEPT_MAX), counts }
        return { shown: [...fresh, ...before.newer, ...before.shown].slice(0, KEPT_MAX), newer: [], counts }
      })
    }, FLUSH_MS)
    return () => clearInterval(timer)
  }, [intake, known])

  const rows = useMemo(() => {
    const there = new Set(live.shown.map((each) => each.key))
    return [...live.shown, ...seeded.filter((each) => !there.has(each.key))].slice(0, KEPT_MAX)
  }, [live.shown, seeded])
  const used = [needs.records ? records : undefined, needs.results ? results : undefined].filter((each) => each !== undefined)
  const worst = used.find((each) => each.state !== 'live') ?? used[0]
  return {
    rows,
    newer: live.newer.length,
    counts: live.counts,
    state: worst?.state ?? 'connecting',
    problem: worst?.problem ?? seed.problem,
    loading: seed.loading,
    gap,
  }
}

/** Text that was taken, as what happened. What cannot be read is left out: newer servers may say more. */
function read(taken: StreamEvent[], known: Known): Seen[] {
  const now = Date.now()
  const all: Seen[] = []
  for (const event of taken) {
    try {
      if (event.event === 'result') all.push(ofTask((JSON.parse(event.data) as { data: Task }).data))
      else if (event.event === 'put' || event.event === 'delete') all.push(known.compared(ofRecordEvent(event, now)))
    } catch {
      // Nothing to show of it; it was counted.
    }
  }
  return all
}

/** Records as they were when this tab last heard of them. */
class Known {
  private readonly records = new Map<string, RecordSeen>()

  /** What is known already is newer. */
  learn(seen: Seen): void {
    const key = `${seen.kind}/${seen.name}`
    if (seen.record && !this.records.has(key)) this.keep(key, seen.record)
  }

  compared(seen: Seen): Seen {
    const key = `${seen.kind}/${seen.name}`
    const before = this.records.get(key)
    this.records.delete(key)
    if (!seen.record) return before ? { ...seen, before } : seen
    this.keep(key, seen.record)
    return before ? { ...seen, before, places: difference(before, seen.record) } : seen
  }

  private keep(key: string, record: RecordSeen): void {
    this.records.set(key, record)
    const oldest = this.records.keys().next().value
    if (this.records.size > KNOWN_MAX && oldest !== undefined) this.records.delete(oldest)
  }
}

/** The newest of what happened before. `admitted`: the stream of results has begun. */
function useSeed(filter: Filter, needs: ReturnType<typeof streamsOf>, admitted: boolean): { rows: Seen[]; newest: number | undefined; loading: boolean; problem: ApiProblem | undefined } {
  const changes = useQuery({
    queryKey: ['events', 'changes', filter, needs],
    queryFn: async ({ signal }) => {
      if (!needs.records) return null
      const kind = needs.kinds.includes(',') ? undefined : needs.kinds
      return request<ChangesPage>('GET', address('/v1/changes', { limit: SEED, kind }), undefined, signal)
    },
    ...READ_ONCE,
  })
  const tasks = useQuery({
    // A list of tasks does not say from where the stream would go on, and the stream begins when it is admitted. What
    // was read before that is shown at once, but a task may have ended in between: so they are read once more after it.
    queryKey: ['events', 'tasks', filter, needs, admitted],
    queryFn: async ({ signal }) => {
      if (!needs.results) return []
      const status = filter.what === 'notDone' ? 'failed,unknown,expired' : undefined
      const { items } = await request<{ items: Task[] }>('GET', address('/v1/tasks', { limit: SEED, kind: filter.kind, status }), undefined, signal)
      return items.filter((task) => task.ending)
    },
    placeholderData: (before) => before,
    ...READ_ONCE,
  })
  const loading = changes.isPending || tasks.isPending
  const rows = useMemo(() => {
    if (loading) return NONE
    return merged((changes.data?.items ?? []).map(ofChange), (tasks.data ?? []).map(ofTask)).filter((seen) => matches(seen, filter))
  }, [loading, changes.data, tasks.data, filter])
  const error = changes.error ?? tasks.error
  return { rows, newest: changes.data?.revision, loading, problem: error ? asProblem(error) : undefined }
}

/** What happens later comes by the streams. */
const READ_ONCE = { staleTime: Infinity, gcTime: 0, refetchOnWindowFocus: false }

const NONE: Seen[] = []
