import type { components } from '../../api/openapi'
import type { MeterPart } from '../../parts/Meter'
import { commandWords } from '../../parts/schema'
import { sengu } from '../../parts/shell-words'

type Schemas = components['schemas']
export type RunSpec = Schemas['RunSpec']
export type RunStatus = Schemas['RunStatus']
export type Run = { name: string; createdAt: string | undefined; spec: RunSpec; status: RunStatus | undefined }

export function runOf(record: Schemas['Record']): Run {
  return {
    name: record.metadata.name,
    createdAt: record.metadata.createdAt ?? undefined,
    spec: (record.spec ?? { action: '' }) as RunSpec,
    status: (record.status ?? undefined) as RunStatus | undefined,
  }
}

const OVER = new Set(['Succeeded', 'Failed', 'Cancelled'])

export function isOver(status: RunStatus | undefined): boolean {
  return status !== undefined && OVER.has(status.phase)
}

/** Targets that count against the failure budget. */
export function spent(counts: Schemas['RunCounts']): number {
  return counts.failed + counts.unknown + counts.expired
}

export function over(counts: Schemas['RunCounts']): number {
  return counts.done + spent(counts) + counts.cancelled
}

/** Targets that a retry would take: those that ended and are not done. */
export function unfinished(counts: Schemas['RunCounts']): number {
  return counts.failed + counts.cancelled + counts.expired
}

export function runParts(counts: Schemas['RunCounts'], words: Record<'done' | 'failed' | 'unknown' | 'cancelled' | 'expired' | 'active', string>): MeterPart[] {
  return [
    { value: counts.done, tone: 'ok', word: words.done },
    { value: counts.failed, tone: 'bad', word: words.failed },
    { value: counts.unknown, tone: 'odd', word: words.unknown },
    { value: counts.expired, tone: 'warn', word: words.expired },
    { value: counts.cancelled, tone: 'idle', word: words.cancelled },
    { value: counts.active, tone: 'busy', word: words.active },
  ]
}

/** What a run was asked to touch, as its spec says it. */
export function scopeOf(spec: RunSpec): string {
  const parts = [
    ...(spec.selector !== undefined && spec.selector !== '' ? [spec.selector] : []),
    ...((spec.targets ?? []).length > 0 ? [(spec.targets ?? []).join(' ')] : []),
    ...((spec.exclude ?? []).length > 0 ? [`- ${(spec.exclude ?? []).join(' ')}`] : []),
  ]
  return parts.join(' + ')
}

/** The `sengu` command that starts the same run. */
export function command(spec: RunSpec): string {
  const params = (spec.params ?? {}) as Record<string, unknown>
  const shaped = [
    ...(spec.batch ? ['--batch', spec.batch] : []),
    ...(spec.maxFail ? ['--max-fail', spec.maxFail] : []),
    ...(spec.timeout ? ['--attempt-timeout', spec.timeout] : []),
    ...(spec.version ? ['--version', spec.version] : []),
    ...(spec.effect ? ['--effect', spec.effect] : []),
    ...(spec.frames ? ['--frames'] : []),
  ]
  const observes = spec.action === 'observe' && Object.keys(params).length === 0 && shaped.length === 0
  return sengu(
    ...(observes ? ['observe'] : ['run', spec.action, ...commandWords(params)]),
    ...(spec.targets ?? []),
    ...(spec.selector === undefined ? [] : spec.selector === '' ? ['--all'] : ['-l', spec.selector]),
    ...((spec.exclude ?? []).length > 0 ? ['--exclude', (spec.exclude ?? []).join(',')] : []),
    ...(spec.limit ? ['--limit', String(spec.limit)] : []),
    ...shaped,
  )
}
