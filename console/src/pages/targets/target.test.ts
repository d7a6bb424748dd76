import { describe, expect, test } from 'vitest'
import type { components } from '../../api/openapi'
import { placeOf, readingName, selectorOf, stateOf, targetOf } from './target'

type Record = components['schemas']['Record']
const SINCE = '2026-11-29T08:47:17.000Z'

function record(spec: unknown, status: unknown, labels: { [key: string]: string } = {}): Record {
  return { apiVersion: 'sengu/v1', kind: 'Target', metadata: { name: 'bmc-1', labels, revision: 17 }, spec, status }
}

function condition(type: string, status: string) {
  return { type, status, reason: 'R', lastTransitionTime: SINCE }
}

test.each<[string, unknown, unknown]>([
  ['nothing at all', undefined, undefined],
  ['null', null, null],
  ['other types', 'spec', ['status']],
  ['fields of other types', { kind: 1, limits: [], config: null }, { conditions: {}, readings: 'x', facts: [] }],
])('a record of %s is a target with nothing known', (_, spec, status) => {
  const target = targetOf(record(spec, status))
  expect(target.spec).toMatchObject({ kind: '', address: '', zone: 'default', limits: {}, identity: {}, config: {} })
  expect(target.status).toMatchObject({ conditions: [], facts: {}, readings: [], observe: {} })
  expect(stateOf(target)).toBe('unknown')
})

test.each<[unknown[], string | undefined, string]>([
  [[], undefined, 'unknown'],
  [[condition('Reachable', 'True')], undefined, 'reachable'],
  [[condition('Reachable', 'False')], undefined, 'unreachable'],
  [[condition('Reachable', 'True')], 'fan swap', 'maintenance'],
  [[condition('Reachable', 'False'), condition('Quarantined', 'True')], 'fan swap', 'quarantined'],
  [[condition('Quarantined', 'False'), condition('Reachable', 'True')], undefined, 'reachable'],
])('what matters most of %j and maintenance %s', (conditions, maintenance, state) => {
  expect(stateOf(targetOf(record({ kind: 'redfish', maintenance }, { conditions })))).toBe(state)
})

test.each<[{ [key: string]: string }, string]>([
  [{ site: 'demo', row: 'w1', rack: 'r01', unit: '7' }, 'demo / w1 / r01 / U7'],
  [{ rack: 'r01' }, 'r01'],
  [{ site: '', owner: 'x' }, ''],
  [{}, ''],
])('the place of %j', (labels, place) => {
  expect(placeOf(targetOf(record({}, {}, labels)))).toBe(place)
})

describe('the name of a reading is as the history has it', () => {
  test.each<[{ [key: string]: string } | undefined, string]>([
    [undefined, 'temperature_celsius'],
    [{}, 'temperature_celsius'],
    [{ sensor: 'Inlet', context: 'Intake' }, 'temperature_celsius{context="Intake",sensor="Inlet"}'],
    [{ sensor: 'a "b" \\ c' }, 'temperature_celsius{sensor="a \\"b\\" \\\\ c"}'],
    [{ sensor: 'a\nb\x1b' }, 'temperature_celsius{sensor="a\\nb\\u{1b}"}'],
  ])('%j', (labels, name) => {
    expect(readingName({ name: 'temperature_celsius', ...(labels ? { labels } : {}) })).toBe(name)
  })
})

test.each<[[string, string | undefined][], string | undefined]>([
  [[['site', 'demo'], ['row', undefined], ['rack', 'r01']], 'site=demo,rack=r01'],
  [[['model', 'PowerRack R650']], 'model=PowerRack R650'],
  [[['site', '']], undefined],
  [[], undefined],
  [[['owner', '<script>']], undefined],
  [[['owner', 'a,b']], undefined],
  [[['owner', 'a)']], undefined],
  [[['owner', ' a']], undefined],
  [[['a b', 'c']], undefined],
])('a selector for %j', (terms, selector) => {
  expect(selectorOf(terms)).toBe(selector)
})
