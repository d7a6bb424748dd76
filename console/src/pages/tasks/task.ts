import type { components } from '../../api/openapi'

export type Task = components['schemas']['TaskView']
export type Outcome = components['schemas']['Outcome']

/** Where a task stands, in the words of `StateBadge`: an ended one by how it ended. */
export function standingOf(task: Task): string {
  if (!task.ending) return task.state
  const { outcome } = task.ending
  return outcome.status === 'done' && outcome.changed === true ? 'changed' : outcome.status
}

/** Why it ended as it did, in the server's words; empty for what is done. */
export function saidOf(outcome: Outcome): string {
  switch (outcome.status) {
    case 'done':
      return ''
    case 'failed':
      return outcome.message ? `${outcome.code}: ${outcome.message}` : outcome.code
    default:
      return outcome.why
  }
}

/** From the request to the end, in milliseconds. */
export function tookMs(task: Task): number | undefined {
  if (!task.ending) return undefined
  return Math.max(0, Date.parse(task.ending.endedAt) - Date.parse(task.createdAt))
}

export type Step = {
  name: 'waiting' | 'sent' | 'started' | 'ended'
  reached: boolean
  /** It stands here. */
  now: boolean
  at: string | undefined
  /** Time until the next step of which the time is known. */
  tookMs: number | undefined
}

const ORDER = ['waiting', 'sent', 'started', 'ended'] as const

/**
 * The life of a task as steps. The server keeps the times of the request, the start and the end; that it was sent is
 * known, when is not. A task that ended without a start was never begun, or not for certain.
 */
export function lifeLine(task: Task): Step[] {
  const created = task.createdAt
  const started = task.ending?.startedAt ?? undefined
  const ended = task.ending?.endedAt
  const stands = task.state === 'held' ? 'waiting' : task.state
  const at = ORDER.indexOf(stands)
  const began = started !== undefined
  const sent = began || (task.ending ? task.ending.wee != null || task.ending.instance != null : at >= 1)
  const between = (from: string | undefined, to: string | undefined) =>
    from === undefined || to === undefined ? undefined : Math.max(0, Date.parse(to) - Date.parse(from))
  return [
    { name: 'waiting', reached: true, now: at === 0, at: created, tookMs: between(created, started ?? ended) },
    { name: 'sent', reached: sent, now: at === 1, at: undefined, tookMs: undefined },
    { name: 'started', reached: began || at === 2, now: at === 2, at: started, tookMs: between(started, ended) },
    { name: 'ended', reached: at === 3, now: at === 3, at: ended, tookMs: undefined },
  ]
}
