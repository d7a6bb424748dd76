import type { components } from '../../../api/openapi'
import type { Target } from '../target'

export type KindLimits = { sessions: number | undefined; ratePerS: number | undefined; cooldownMs: number | undefined }
/** A limit in force, and what the kind alone would allow where the target narrows it. */
export type Limit = { value: number | undefined; kind: number | undefined; narrowed: boolean }

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

/** What a worker declares in its `[limits]`, from the Worker record. Pure. */
export function kindLimits(record: components['schemas']['Record'] | undefined): KindLimits {
  const spec = (record?.spec ?? {}) as { limits?: Record<string, unknown> }
  const limits = spec.limits ?? {}
  return { sessions: number(limits['sessions']), ratePerS: number(limits['rate_per_s']), cooldownMs: number(limits['cooldown_ms']) }
}

/** A target narrows what its kind allows and never widens it. Pure. */
export function limitOf(kind: number | undefined, own: number | undefined): Limit {
  if (own === undefined || (kind !== undefined && kind > 0 && own >= kind)) return { value: kind, kind, narrowed: false }
  return { value: own, kind, narrowed: true }
}

export function limitsOf(kind: KindLimits, target: Target): { sessions: Limit; rate: Limit } {
  return { sessions: limitOf(kind.sessions, target.spec.limits.sessions), rate: limitOf(kind.ratePerS, target.spec.limits.ratePerS) }
}

/** The version of a kind that does most of the work now: the one that gets all, else the one bundled, else any. Pure. */
export function mainVersion(workers: readonly components['schemas']['WorkerView'][], kind: string): string | undefined {
  const own = workers.filter((worker) => worker.kind === kind)
  return (own.find((worker) => worker.gets.includes('all')) ?? own.find((worker) => worker.origin === 'bundled') ?? own[0])?.name
}
