import { describe, expect, test } from 'vitest'
import { LETTER_ORDER, LETTERS, scaleSwatches, stateSwatches, stepOf, STEPS, wordSwatches, WORDS_MAX } from './colours'
import { layout, neighbour, type Places, RACK_NAME, SIZES, tileAt, unitOf } from './layout'
import { type Tiles, TileStore } from './store'

/** Places from rows of site, row, rack, unit. */
function places(rows: [string, string, string, string | null][]): Places {
  const dictionary = (at: 0 | 1 | 2) => [...new Set(rows.map((row) => row[at]))]
  const [sites, aisles, racks] = [dictionary(0), dictionary(1), dictionary(2)]
  return {
    sites,
    rows: aisles,
    racks,
    site: rows.map((row) => sites.indexOf(row[0])),
    row: rows.map((row) => aisles.indexOf(row[1])),
    rack: rows.map((row) => racks.indexOf(row[2])),
    unit: rows.map((row) => row[3]),
  }
}

describe('units', () => {
  test.each([
    ['7', 7],
    ['U07', 7],
    ['1-2', 1],
    ['0', undefined],
    ['61', undefined],
    ['9999999999', undefined],
    ['top', undefined],
    ['', undefined],
    [null, undefined],
  ])('%j', (text, unit) => {
    expect(unitOf(text)).toBe(unit)
  })
})

describe('racks', () => {
  test('stand in natural order, those without a name last', () => {
    const placed = layout(places([['s', 'a', 'r10', '1'], ['s', 'a', 'r2', '1'], ['s', '', 'x', '1'], ['s', 'a', '', '1']]), 800, 'medium')
    expect(placed.racks.map((rack) => [rack.row, rack.rack])).toEqual([['a', 'r2'], ['a', 'r10'], ['a', ''], ['', 'x']])
    expect(placed.headings.map((heading) => [heading.row, heading.count])).toEqual([['a', 3], ['', 1]])
  })

  test('have unit 1 at the bottom', () => {
    const placed = layout(places([['s', 'a', 'r', '1'], ['s', 'a', 'r', '42']]), 800, 'medium')
    const [rack] = placed.racks
    expect(placed.y[1]).toBe((rack?.y ?? 0) + RACK_NAME)
    expect((placed.y[0] ?? 0) - (placed.y[1] ?? 0)).toBe(41 * SIZES.medium.unit)
    expect(rack?.tiles).toEqual([1, 0])
  })

  test('have room for two in one unit, and for those without one at the top', () => {
    const placed = layout(places([['s', 'a', 'r', '42'], ['s', 'a', 'r', '42'], ['s', 'a', 'r', null], ['s', 'a', 'r', 'nonsense']]), 800, 'large')
    expect(placed.y[0]).toBe(placed.y[1])
    expect((placed.x[0] ?? 0) + (placed.w[0] ?? 0)).toBeLessThanOrEqual(placed.x[1] ?? 0)
    expect(placed.y[2]).toBe((placed.y[0] ?? 0) + SIZES.large.unit)
    expect(placed.y[3]).toBe((placed.y[0] ?? 0) + 2 * SIZES.large.unit)
  })

  test.each(['small', 'medium', 'large'] as const)('no tile covers another or leaves its rack, %s', (zoom) => {
    const rows = Array.from({ length: 300 }, (_, i): [string, string, string, string | null] => ['s', `w${i % 3}`, i % 7 === 0 ? '' : `r${i % 11}`, i % 5 === 0 ? null : String(1 + (i % 42))])
    const placed = layout(places(rows), 400, zoom)
    expect(placed.racks.flatMap((rack) => rack.tiles).sort((a, b) => a - b)).toEqual(rows.map((_, i) => i))
    for (const rack of placed.racks) {
      expect(rack.x + rack.w).toBeLessThanOrEqual(Math.max(400, rack.w))
      for (const tile of rack.tiles) {
        const [x, y, w, h] = [placed.x[tile] ?? 0, placed.y[tile] ?? 0, placed.w[tile] ?? 0, placed.h[tile] ?? 0]
        expect(x >= rack.x && y >= rack.y && x + w <= rack.x + rack.w + 0.01 && y + h <= rack.y + rack.h).toBe(true)
        expect(tileAt(placed, x + w / 2, y + h / 2)).toBe(tile)
      }
    }
  })

  test('more in one rack than it has units still have a place each', () => {
    const placed = layout(places(Array.from({ length: 80 }, () => ['s', 'a', 'r', null])), 800, 'small')
    expect(new Set(placed.y).size).toBe(80)
  })

  test('nothing is a layout too', () => {
    const placed = layout(places([]), 800, 'medium')
    expect(placed).toMatchObject({ racks: [], headings: [] })
    expect(tileAt(placed, 1, 1)).toBeUndefined()
  })

  const three = layout(places([['s', 'a', 'r1', '1'], ['s', 'a', 'r2', '1'], ['s', 'a', 'r1', '2']]), 800, 'medium')
  test.each([
    [0, 'ArrowRight', 1],
    [1, 'ArrowLeft', 0],
    [0, 'ArrowUp', 2],
    [2, 'ArrowDown', 0],
    [2, 'ArrowUp', undefined],
    [1, 'ArrowRight', undefined],
  ])('from tile %i by %s', (from, key, to) => {
    expect(neighbour(three, from, key)).toBe(to)
  })

  test.each([[-5, -5], [0, 0], [9999, 50]])('no tile at %i, %i', (x, y) => {
    expect(tileAt(three, x, y)).toBeUndefined()
  })
})

describe('colours', () => {
  test.each([
    [0, 0, 80, 0],
    [9.99, 0, 80, 0],
    [10, 0, 80, 1],
    [80, 0, 80, STEPS - 1],
    [-1, 0, 80, 0],
    [99, 0, 80, STEPS - 1],
    [5, 5, 5, STEPS / 2],
  ])('%d between %d and %d', (value, least, most, step) => {
    expect(stepOf(value, least, most)).toBe(step)
  })

  test.each([false, true])('states differ in pattern or colour, and no two in colour alone when both are bad (dark %s)', (dark) => {
    const swatches = stateSwatches(dark)
    expect(swatches).toHaveLength(LETTER_ORDER.length + 1)
    expect(new Set(swatches.slice(0, LETTER_ORDER.length).map((swatch) => swatch.pattern)).size).toBe(LETTER_ORDER.length)
    expect(scaleSwatches(dark)).toHaveLength(STEPS + 1)
    expect(wordSwatches(dark)).toHaveLength(WORDS_MAX + 2)
  })

  test('every letter has a word', () => {
    expect(LETTER_ORDER.map((letter) => LETTERS[letter])).not.toContain(undefined)
    expect([...LETTER_ORDER].sort()).toEqual(Object.keys(LETTERS).sort())
  })
})

describe('tiles as they change', () => {
  const whole = (more: Partial<Tiles['tiles']>, words: string[] = []): Tiles => ({
    revision: 1,
    total: 3,
    truncated: false,
    colour: 'state',
    sites: [''],
    rows: [''],
    racks: [''],
    kinds: ['echo'],
    words,
    tiles: { name: ['a', 'b', 'c'], site: [0, 0, 0], row: [0, 0, 0], rack: [0, 0, 0], unit: [null, null, null], kind: [0, 0, 0], state: 'rru', ...more },
  })

  test('by state', () => {
    const store = new TileStore(whole({}))
    expect([...store.swatch]).toEqual([0, 0, LETTER_ORDER.indexOf('u')])
    store.change({ i: [0, 2, 99], state: 'qrr' })
    expect(store.counts()).toEqual({ r: 2, u: 0, '?': 0, q: 1, m: 0, b: 0, f: 0 })
    expect([...store.swatch]).toEqual([LETTER_ORDER.indexOf('q'), 0, 0])
  })

  test('by a reading: a new greatest value moves the scale', () => {
    const store = new TileStore(whole({ value: [0, 10, null] }))
    expect([...store.swatch]).toEqual([0, STEPS - 1, STEPS])
    store.change({ i: [2], state: 'r', value: [100] })
    expect(store.colouring).toMatchObject({ by: 'reading', least: 0, most: 100 })
    expect([...store.swatch]).toEqual([0, 0, STEPS - 1])
  })

  test('by a word: new words come with the change', () => {
    const store = new TileStore(whole({ word: [0, 0, null] }, ['1.0']))
    expect([...store.swatch]).toEqual([0, 0, WORDS_MAX + 1])
    store.change({ i: [1, 2], state: 'rr', word: [1, 1], words: ['2.0'] })
    expect(store.whole.words).toEqual(['1.0', '2.0'])
    // The word that most have is first.
    expect([...store.swatch]).toEqual([1, 0, 0])
  })

  test('more words than colours share one', () => {
    const n = WORDS_MAX + 3
    const names = Array.from({ length: n }, (_, i) => `t${i}`)
    const zeros = names.map(() => 0)
    const words = names.map((_, i) => i)
    const store = new TileStore(whole({ name: names, site: zeros, row: zeros, rack: zeros, kind: zeros, unit: names.map(() => null), state: 'r'.repeat(n), word: words }, names))
    expect([...store.swatch].filter((at) => at === WORDS_MAX)).toHaveLength(3)
  })
})
