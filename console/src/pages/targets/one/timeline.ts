import type { Task } from '../../tasks/task'
import type { Target } from '../target'

export type Moment =
  | { key: string; at: string; is: 'task'; task: Task }
  /** A condition stands as it does since then. */
  | { key: string; at: string; is: 'condition'; state: string; reason: string; message: string }
  | { key: string; at: string; is: 'described' }

/** What is known of the target itself with a time: since when it stands as it does, and since when it is known. Pure. */
export function momentsOf(target: Target): Moment[] {
  const moments: Moment[] = target.status.conditions.map((condition) => ({
    key: condition.type,
    at: condition.lastTransitionTime,
    is: 'condition',
    state: conditionWord(condition.type, condition.status),
    reason: condition.reason,
    message: condition.message ?? '',
  }))
  if (target.createdAt !== undefined) moments.push({ key: 'described', at: target.createdAt, is: 'described' })
  return moments
}

/** `Reachable` that is false is `unreachable`; any other condition is its own word. Pure. */
export function conditionWord(type: string, status: string): string {
  if (type === 'Reachable') return status === 'True' ? 'reachable' : status === 'False' ? 'unreachable' : 'unknown'
  if (type === 'Quarantined' && status === 'True') return 'quarantined'
  return `${type} ${status}`
}

/**
 * Tasks and moments as one, newest first. While older tasks have not been asked for (`more`), moments before the
 * oldest one that is known are kept back: what belongs between is not known yet. Pure.
 */
export function timeline(tasks: readonly Task[], moments: readonly Moment[], more: boolean): Moment[] {
  const oldest = tasks[tasks.length - 1]
  const shown = more && oldest ? moments.filter((moment) => Date.parse(moment.at) >= Date.parse(oldest.createdAt)) : moments
  const all: Moment[] = [...tasks.map((task): Moment => ({ key: task.id, at: task.createdAt, is: 'task', task })), ...shown]
  return all.sort((a, b) => Date.parse(b.at) - Date.parse(a.at))
}
