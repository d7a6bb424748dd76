import type { Language } from '../../app/settings'
import type { components } from '../../api/openapi'
import { bytes, count, duration } from '../../parts/format'

export type Limit = components['schemas']['LimitInfo']

/** A limit in the unit that is read most easily. Pure. */
export function limitText(limit: Limit, language: Language): string {
  switch (limit.unit) {
    case 'ms':
      return duration(limit.value, language)
    case 'bytes':
      return bytes(limit.value)
    case 'count':
      return count(limit.value)
    default:
      return `${count(limit.value)} ${limit.unit}`
  }
}

/** Those that have every word somewhere. Pure. */
export function found<T>(items: readonly T[], words: string, textOf: (item: T) => string): T[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean)
  return wanted.length === 0 ? [...items] : items.filter((item) => wanted.every((word) => textOf(item).toLowerCase().includes(word)))
}
