import type { components } from '../../api/openapi'
import type { Place } from '../../parts/difference'

export type Change = components['schemas']['ChangeSeen']
export type RecordSeen = components['schemas']['Record']
export type Task = components['schemas']['TaskView']

/** What a change of a record was, as far as the record as it is now tells it. */
export type ChangeWhat = 'written' | 'observed' | 'deleted' | 'since'

/** One thing that happened: a record changed, or a task ended. */
export type Seen = {
  key: string
  what: ChangeWhat | 'task'
  kind: string
  name: string
  /** Milliseconds; undefined when nothing tells. */
  at: number | undefined
  /** The time is not the server's word for when it happened. */
  about: boolean
  revision?: number
  record?: RecordSeen
  /** The record as this tab knew it before. */
  before?: RecordSeen
  /** Where they differ. */
  places?: Place[]
  task?: Task
}

export type What = '' | 'records' | 'written' | 'tasks' | 'notDone'
export type Filter = { what: What; kind: string; name: string }

/** Which streams are needed for a filter. Pure. */
export function streamsOf(filter: Filter, recordKinds: readonly string[]): { records: boolean; results: boolean; kinds: string } {
  const ofRecords = recordKinds.includes(filter.kind)
  return {
    records: filter.what !== 'tasks' && filter.what !== 'notDone',
    results: !ofRecords && (filter.what === '' || filter.what === 'tasks' || filter.what === 'notDone'),
    // A kind of worker is the kind of targets too, and the name of its release.
    kinds: ofRecords ? filter.kind : filter.kind === '' ? '' : 'Target,Release,Worker',
  }
}

/** Whether something that happened is looked for. Pure. */
export function matches(seen: Seen, filter: Filter): boolean {
  if (filter.what === 'records' && seen.what === 'task') return false
  if (filter.what === 'written' && seen.what !== 'written' && seen.what !== 'deleted') return false
  if ((filter.what === 'tasks' || filter.what === 'notDone') && seen.what !== 'task') return false
  if (filter.what === 'notDone' && !notDone(seen.task)) return false
  if (filter.kind !== '' && !ofKind(seen, filter.kind)) return false
  if (filter.name !== '') {
    const name = filter.name.toLowerCase()
    const names = seen.task ? [seen.task.target, seen.task.id, seen.task.run ?? ''] : [seen.name]
    return names.some((each) => each.toLowerCase().includes(name))
  }
  return true
}

function ofKind(seen: Seen, kind: string): boolean {
  if (seen.kind === kind) return true
  if (seen.kind === 'Target') return text(seen.record?.spec, 'kind') === kind
  return (seen.kind === 'Release' || seen.kind === 'Worker') && seen.name.split('@')[0] === kind
}

function notDone(task: Task | undefined): boolean {
  const status = task?.ending?.outcome.status
  return status === 'failed' || status === 'unknown' || status === 'expired'
}

/**
 * What a change was. The server shows the record as it is now: its own revision is that of its last write, so a later
 * change is one of what was observed, and an earlier one has been written over since.
 */
export function changeWhat(change: { op: string; revision: number; record?: RecordSeen | null }): ChangeWhat {
  if (change.op === 'delete' || !change.record) return 'deleted'
  const written = change.record.metadata.revision ?? change.revision
  if (written === change.revision) return 'written'
  return written < change.revision ? 'observed' : 'since'
}

/** A change as the server lists it afterwards. */
export function ofChange(change: Change): Seen {
  const at = change.record ? latestTime(change.record) : undefined
  return {
    key: `r${change.revision}`,
    what: changeWhat(change),
    kind: change.kind,
    name: change.name,
    at,
    about: true,
    revision: change.revision,
    ...(change.record ? { record: change.record } : {}),
  }
}

/** A change as the stream tells it: now, as far as this tab knows. */
export function ofRecordEvent(event: { event: string; data: string; id: string }, now: number): Seen {
  const record = JSON.parse(event.data) as RecordSeen
  const revision = Number(event.id)
  const gone = event.event === 'delete'
  return {
    key: `r${revision}`,
    what: changeWhat({ op: gone ? 'delete' : 'put', revision, record }),
    kind: record.kind,
    name: record.metadata.name,
    at: now,
    about: false,
    revision,
    ...(gone ? {} : { record }),
  }
}

export function ofTask(task: Task): Seen {
  return {
    key: task.id,
    what: 'task',
    kind: task.kind,
    name: task.target,
    at: task.ending ? Date.parse(task.ending.endedAt) : undefined,
    about: false,
    task,
  }
}

/** The latest time that a record names in what it says of itself: the server keeps no time of a change. Pure. */
export function latestTime(record: RecordSeen): number | undefined {
  const times: (string | null | undefined)[] = [record.metadata.createdAt]
  for (const key of ['observedAt', 'startedAt', 'endedAt', 'at', 'updatedAt']) times.push(text(record.status, key))
  for (const [list, key] of [
    ['conditions', 'lastTransitionTime'],
    ['history', 'at'],
  ] as const) {
    for (const each of items(record.status, list)) times.push(text(each, key))
  }
  const known = times.map((time) => Date.parse(time ?? '')).filter((time) => !Number.isNaN(time))
  return known.length === 0 ? undefined : Math.max(...known)
}

/** What a record says of itself, in one line: its phase or condition, and the last of its history. Pure. */
export function saidOfRecord(record: RecordSeen): string {
  const phase = text(record.status, 'phase') ?? text(record.status, 'state')
  const message = text(record.status, 'message')
  if (phase !== undefined) return message === undefined || message === '' ? phase : `${phase}: ${message}`
  const last = items(record.status, 'history').at(-1)
  const what = text(last, 'what')
  if (what !== undefined) return [what, text(last, 'version'), text(last, 'message')].filter(Boolean).join(' ')
  return items(record.status, 'conditions')
    .map((each) => {
      const why = text(each, 'message') || text(each, 'reason')
      return `${text(each, 'type') ?? ''}=${text(each, 'status') ?? ''}${why ? ` (${why})` : ''}`
    })
    .join(', ')
}

function text(value: unknown, key: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const found = (value as Record<string, unknown>)[key]
  return typeof found === 'string' ? found : undefined
}

function items(value: unknown, key: string): unknown[] {
  if (typeof value !== 'object' || value === null) return []
  const found = (value as Record<string, unknown>)[key]
  return Array.isArray(found) ? (found as unknown[]) : []
}

/** Newest first. Changes have no time of their own: one that is older by number is never shown as newer. Pure. */
export function merged(changes: Seen[], tasks: Seen[]): Seen[] {
  let bound = Infinity
  const capped = [...changes]
    .sort((a, b) => (b.revision ?? 0) - (a.revision ?? 0))
    .map((each) => {
      bound = Math.min(bound, each.at ?? bound)
      return { each, at: bound }
    })
  const all = [...capped, ...tasks.map((each) => ({ each, at: each.at ?? 0 }))]
  return all
    .sort((a, b) => b.at - a.at)
    .map(({ each, at }) => (each.about && Number.isFinite(at) ? { ...each, at } : each))
}
