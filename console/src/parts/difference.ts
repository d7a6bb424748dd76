/** One place where two values differ; `undefined` on the side where it was not there. */
export type Place = { path: string; before: unknown; after: unknown }

/** More places than this are not read by anybody. */
export const PLACES_MAX = 300
const DEPTH_MAX = 20
/** Places named in one line. */
export const SAID_MAX = 6

/** Places that change with every write and say nothing by themselves. */
const NOISE = new Set(['metadata.revision', 'status.observedAt'])

/** Where two JSON values differ, in the order of the later one. Lists of named things are compared by name. Pure. */
export function difference(before: unknown, after: unknown): Place[] {
  const places: Place[] = []
  compare('', before, after, places, 0)
  return places
}

/** Without what changes at every write. Pure. */
export function telling(places: Place[]): Place[] {
  return places.filter((place) => !NOISE.has(place.path))
}

function compare(path: string, before: unknown, after: unknown, places: Place[], depth: number): void {
  if (places.length >= PLACES_MAX || same(before, after)) return
  const from = depth < DEPTH_MAX ? entries(before) : undefined
  const to = depth < DEPTH_MAX ? entries(after) : undefined
  if (!from || !to) {
    places.push({ path, before, after })
    return
  }
  for (const [key, value] of to) compare(joined(path, key), from.get(key), value, places, depth + 1)
  for (const [key, value] of from) if (!to.has(key)) compare(joined(path, key), value, undefined, places, depth + 1)
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  // Equal text is equal content; another order of keys is found to be the same by looking at each.
  return typeof a === 'object' && typeof b === 'object' && JSON.stringify(a) === JSON.stringify(b)
}

/** What is in a map or a list, by key; undefined for anything else. */
function entries(value: unknown): Map<string, unknown> | undefined {
  if (Array.isArray(value)) {
    const found = new Map<string, unknown>()
    for (const [at, each] of (value as unknown[]).entries()) {
      const name = nameOf(each)
      const key = name === undefined || found.has(`[${name}]`) ? `[${at}]` : `[${name}]`
      found.set(key, each)
    }
    return found
  }
  return isMap(value) ? new Map(Object.entries(value)) : undefined
}

/** Readings, conditions and rules are named; a reading by its labels too. */
function nameOf(value: unknown): string | undefined {
  if (!isMap(value)) return undefined
  const name = value['name'] ?? value['type']
  if (typeof name !== 'string') return undefined
  const labels = isMap(value['labels']) ? Object.values(value['labels']).map((each) => (typeof each === 'string' ? each : '?')) : []
  return [name, ...labels].join(' ')
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function joined(path: string, key: string): string {
  if (path === '') return key
  return key.startsWith('[') ? `${path}${key}` : `${path}.${key}`
}

/** A value in one line. Pure. */
export function oneLine(value: unknown): string {
  if (value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** What changed, in one line. Pure. */
export function saidOfPlaces(places: readonly Place[]): string {
  return places
    .slice(0, SAID_MAX)
    .map((place) => `${place.path.replace(/^(status|spec)\./, '')}: ${clip(oneLine(place.before))} → ${clip(oneLine(place.after))}`)
    .join(', ')
}

const clip = (value: string) => (value === '' ? '–' : value.length > 40 ? `${value.slice(0, 40)}…` : value)
