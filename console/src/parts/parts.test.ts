import { describe, expect, test } from 'vitest'
import { moved } from './DataTable'
import { pathOf, pathOfId } from './paths'
import { line } from './Sparkline'
import { lookOf, stateName, words } from './states'

test.each([
  ['target/bmc-1', '/targets/bmc-1'],
  ['Task/t-1', '/tasks/t-1'],
  ['worker/redfish@1.1.0', '/workers/redfish'],
  ['wee/a b', '/workers/wees/a%20b'],
  ['target/../../evil', '/targets/..%2F..%2Fevil'],
  ['system', undefined],
  ['zone/x', undefined],
  ['javascript:alert(1)', undefined],
])('the page of %s', (link, path) => {
  expect(pathOf(link)).toBe(path)
})

test.each([
  ['t-1m8k', '/tasks/t-1m8k'],
  ['r-1m8k', '/runs/r-1m8k'],
  ['t-', undefined],
  ['t-1/../x', undefined],
])('the page of the id %s', (id, path) => {
  expect(pathOfId(id)).toBe(path)
})

describe('a line of values', () => {
  test.each<[string, (number | null)[], boolean, string]>([
    ['one value is no line', [1], false, ''],
    ['none', [null, null], false, ''],
    ['from the least to the most', [0, 10], false, 'M1.0 8.5L9.0 1.5'],
    ['a flat one is in the middle', [5, 5], false, 'M1.0 5.0L9.0 5.0'],
    ['flat at zero is at the bottom', [0, 0], true, 'M1.0 8.5L9.0 8.5'],
    ['a gap', [0, null, 10, 0], false, 'M1.0 8.5M6.3 1.5L9.0 8.5'],
    ['nothing that is no number', [0, Infinity, 10], false, 'M1.0 8.5M9.0 1.5'],
  ])('%s', (_, values, fromZero, path) => {
    expect(line(values, 10, 10, fromZero)).toBe(path)
  })
})

test.each<[string, number, number | undefined]>([
  ['ArrowDown', -1, 0],
  ['j', 4, 5],
  ['k', 0, 0],
  ['PageDown', 5, 9],
  ['PageUp', 5, 0],
  ['Home', 7, 0],
  ['End', 0, 9],
  ['x', 3, undefined],
])('the key %s from row %i of ten', (key, from, to) => {
  expect(moved(key, from, 10, 6)).toBe(to)
})

test('no row, no move', () => {
  expect(moved('End', -1, 0, 6)).toBeUndefined()
})

test.each([
  ['Reachable', 'reachable'],
  ['CellRolledBack', undefined],
  ['cell-rolled-back', 'cell-rolled-back'],
  ['constructor', undefined],
  ['', undefined],
])('the state %s', (word, name) => {
  expect(stateName(word)).toBe(name)
})

test('every state has a look and a word in both languages, and no two neighbours of one page look alike', () => {
  for (const [name, word] of Object.entries(words)) {
    expect(word.en.length * word.ja.length, name).toBeGreaterThan(0)
    expect(lookOf(stateName(name))).toHaveLength(2)
  }
  const looks = ['held', 'waiting', 'sent', 'started', 'done', 'changed', 'failed', 'unknown', 'cancelled', 'expired'].map((name) => lookOf(stateName(name)).join())
  expect(new Set(looks).size).toBe(looks.length)
})
