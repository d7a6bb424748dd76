import { isScalar } from '../target'

export type Fact = { name: string; value: string | number | boolean } | { name: string; nested: unknown }

/** A nested fact with more than this many values is shown as it is. */
const FLAT_MAX = 24

/** Facts in the order of their names; an object of plain values becomes `name.part`. Pure. */
export function factRows(facts: Record<string, unknown>): Fact[] {
  const order = new Intl.Collator('en', { numeric: true })
  return Object.entries(facts)
    .flatMap(([name, value]): Fact[] => {
      if (isScalar(value)) return [{ name, value }]
      if (value === null || value === undefined) return []
      const parts = Array.isArray(value) ? [] : Object.entries(value as Record<string, unknown>)
      if (parts.length > 0 && parts.length <= FLAT_MAX && parts.every(([, part]) => isScalar(part))) {
        return parts.map(([part, of]) => ({ name: `${name}.${part}`, value: of as string | number | boolean }))
      }
      return [{ name, nested: value }]
    })
    .sort((a, b) => order.compare(a.name, b.name))
}
