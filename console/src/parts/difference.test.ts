import { describe, expect, it } from 'vitest'
import { difference, oneLine, PLACES_MAX, saidOfPlaces, telling } from './difference'

describe('difference', () => {
  it.each([
    ['equal', { a: 1 }, { a: 1 }, []],
    ['another order of keys', { a: 1, b: 2 }, { b: 2, a: 1 }, []],
    ['changed', { a: { b: 1 } }, { a: { b: 2 } }, ['a.b']],
    ['added', {}, { a: { b: 2 } }, ['a']],
    ['taken away', { a: 1, b: 2 }, { b: 2 }, ['a']],
    ['another type', { a: [1] }, { a: { 0: 1 } }, ['a[0]', 'a.0']],
    ['null is something', { a: null }, {}, ['a']],
    ['readings by name and labels, moved', [{ name: 'x', value: 1 }, { name: 't', labels: { s: 'cpu' }, value: 2 }], [{ name: 't', labels: { s: 'cpu' }, value: 3 }, { name: 'x', value: 1 }], ['[t cpu].value']],
    ['the same name twice', [{ name: 'x' }, { name: 'x', v: 1 }], [{ name: 'x' }, { name: 'x', v: 2 }], ['[1].v']],
    ['plain lists by place', { l: ['a', 'b'] }, { l: ['a', 'c', 'd'] }, ['l[1]', 'l[2]']],
  ])('%s', (_, before, after, paths) => {
    expect(difference(before, after).map((place) => place.path).sort()).toEqual([...paths].sort())
  })

  it('is bounded', () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`k${at}`, at]))
    expect(difference({}, { many }).length).toBe(1)
    expect(difference({ many: {} }, { many }).length).toBe(PLACES_MAX)
  })

  it('leaves out what changes at every write', () => {
    const places = difference({ metadata: { revision: 1 }, status: { observedAt: 'a', up: 1 } }, { metadata: { revision: 2 }, status: { observedAt: 'b', up: 2 } })
    expect(telling(places).map((place) => place.path)).toEqual(['status.up'])
  })

  it.each([
    [undefined, ''],
    ['Off', 'Off'],
    [{ a: 1 }, '{"a":1}'],
    [null, 'null'],
  ])('one line of %j', (value, line) => {
    expect(oneLine(value)).toBe(line)
  })

  it('is said in one line', () => {
    expect(saidOfPlaces([{ path: 'status.facts.power_state', before: 'Off', after: 'On' }, { path: 'spec.zone', before: undefined, after: 'z' }])).toBe('facts.power_state: Off → On, zone: – → z')
  })
})
