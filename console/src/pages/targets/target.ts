import type { components } from '../../api/openapi'

export type Reading = { name: string; value: number; unit?: string; labels?: Record<string, string> }
export type Condition = components['schemas']['Condition']

/** A Target record, read once at the border: whatever is missing is empty, never undefined. */
export type Target = {
  name: string
  revision: number | undefined
  createdAt: string | undefined
  labels: Record<string, string>
  annotations: Record<string, string>
  spec: {
    kind: string
    address: string
    zone: string
    secret: string | undefined
    maintenance: string | undefined
    limits: { sessions?: number; ratePerS?: number }
    identity: Record<string, string>
    config: Record<string, unknown>
  }
  status: {
    conditions: Condition[]
    facts: Record<string, unknown>
    readings: Reading[]
    observedAt: string | undefined
    observe: { failures?: number; nextAt?: string }
  }
}

type Loose = Record<string, unknown>

function object(value: unknown): Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Loose) : {}
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

export function targetOf(record: components['schemas']['Record']): Target {
  const spec = object(record.spec)
  const status = object(record.status)
  return {
    name: record.metadata.name,
    revision: record.metadata.revision ?? undefined,
    createdAt: record.metadata.createdAt ?? undefined,
    labels: record.metadata.labels ?? {},
    annotations: record.metadata.annotations ?? {},
    spec: {
      kind: text(spec['kind']) ?? '',
      address: text(spec['address']) ?? '',
      zone: text(spec['zone']) ?? 'default',
      secret: text(spec['secret']),
      maintenance: text(spec['maintenance']),
      limits: object(spec['limits']),
      identity: object(spec['identity']) as Record<string, string>,
      config: object(spec['config']),
    },
    status: {
      conditions: Array.isArray(status['conditions']) ? (status['conditions'] as Condition[]) : [],
      facts: object(status['facts']),
      readings: Array.isArray(status['readings']) ? (status['readings'] as Reading[]) : [],
      observedAt: text(status['observedAt']),
      observe: object(status['observe']),
    },
  }
}

/** What matters most about a target, in the words of `StateBadge`. */
export function stateOf(target: Target): string {
  const condition = (type: string) => target.status.conditions.find((each) => each.type === type)
  if (condition('Quarantined')?.status === 'True') return 'quarantined'
  if (target.spec.maintenance !== undefined) return 'maintenance'
  const reachable = condition('Reachable')
  if (!reachable) return 'unknown'
  return reachable.status === 'True' ? 'reachable' : 'unreachable'
}

/** Where it stands, as far as its labels say. */
export function placeOf(target: Target): string {
  const { site, row, rack, unit } = target.labels
  return [site, row, rack, unit === undefined ? undefined : `U${unit}`].filter((part) => part !== undefined && part !== '').join(' / ')
}

export function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

/** The name of a reading with its labels, as the history has it: `temperature_celsius{sensor="CPU1"}`. */
export function readingName(reading: Pick<Reading, 'name' | 'labels'>): string {
  const labels = Object.entries(reading.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  if (labels.length === 0) return reading.name
  return `${reading.name}{${labels.map(([key, value]) => `${key}="${escaped(value)}"`).join(',')}}`
}

const ESCAPES: Record<string, string> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0' }

/** As the server writes a label's value between its quotes. */
function escaped(value: string): string {
  return value.replace(/["\\\p{Cc}]/gu, (char) => ESCAPES[char] ?? `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`)
}

/** A selector for all targets that have this, where the language of selectors can say it: it has no quotes. */
export function selectorOf(terms: readonly (readonly [key: string, value: string | undefined])[]): string | undefined {
  const said = terms.filter(([, value]) => value !== undefined && value !== '')
  const sayable = said.every(([key, value]) => /^[A-Za-z0-9._/-]+$/.test(key) && /^[A-Za-z0-9._:/@+-]+(?: [A-Za-z0-9._:/@+-]+)*$/.test(value ?? ''))
  return said.length > 0 && sayable ? said.map(([key, value]) => `${key}=${value ?? ''}`).join(',') : undefined
}
