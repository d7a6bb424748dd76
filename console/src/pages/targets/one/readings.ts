import type { components } from '../../../api/openapi'
import { measured, unitWord } from '../../../parts/format'
import { type Reading, readingName } from '../target'

type Series = components['schemas']['ReadingSeries']

export type ReadingRow = {
  /** Unique: the name with its labels. */
  key: string
  name: string
  labels: string
  value: number
  unit: string
  /** Earlier values, oldest first; empty when none are kept. */
  values: number[]
  from: string | undefined
  least: number | undefined
  most: number | undefined
}

/** The latest readings with what is kept of each, in the order of the names. Pure. */
export function readingRows(readings: readonly Reading[], history: readonly Series[]): ReadingRow[] {
  const kept = new Map(history.map((series) => [series.name, series]))
  const rows = new Map<string, ReadingRow>()
  for (const reading of readings) {
    const key = readingName(reading)
    const series = kept.get(key)
    const values = series?.value ?? []
    rows.set(key, {
      key,
      name: reading.name,
      labels: Object.entries(reading.labels ?? {})
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([label, of]) => `${label}=${of}`)
        .join(' '),
      value: reading.value,
      unit: unitWord(reading.unit),
      values,
      from: series?.at[0],
      least: values.length > 0 ? Math.min(...values) : undefined,
      most: values.length > 0 ? Math.max(...values) : undefined,
    })
  }
  const order = new Intl.Collator('en', { numeric: true })
  return [...rows.values()].sort((a, b) => order.compare(a.name, b.name) || order.compare(a.labels, b.labels))
}

/** Rows whose name or labels contain every word. Pure. */
export function matching(rows: readonly ReadingRow[], text: string): ReadingRow[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  return rows.filter((row) => words.every((word) => `${row.name} ${row.labels}`.toLowerCase().includes(word)))
}

/** The least and the most, or one of them where they read alike. Pure. */
export function rangeText(least: number, most: number): string {
  const [from, to] = [measured(least), measured(most)]
  return from === to ? from : `${from} – ${to}`
}
