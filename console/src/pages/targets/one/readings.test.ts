import { describe, expect, test } from 'vitest'
import { matching, rangeText, readingRows } from './readings'

const AT = ['2026-11-29T08:47:18.195Z', '2026-11-29T08:47:40.161Z']
const READINGS = [
  { name: 'fan_speed_rpm', value: 0, unit: '{rev}/min', labels: { fan: 'Fan10' } },
  { name: 'fan_speed_rpm', value: 0, unit: '{rev}/min', labels: { fan: 'Fan2' } },
  { name: 'power_watts', value: 12, unit: 'W' },
  { name: 'new_one', value: 3 },
]
const HISTORY = [
  { name: 'fan_speed_rpm{fan="Fan2"}', unit: '{rev}/min', at: AT, value: [5430, 0] },
  { name: 'power_watts', unit: 'W', at: AT, value: [382.8, 12] },
  { name: 'gone', at: AT, value: [1, 2] },
]

describe('readings with what is kept of them', () => {
  const rows = readingRows(READINGS, HISTORY)

  test('stand in the order of their names, Fan2 before Fan10', () => {
    expect(rows.map((row) => row.key)).toEqual(['fan_speed_rpm{fan="Fan2"}', 'fan_speed_rpm{fan="Fan10"}', 'new_one', 'power_watts'])
  })

  test.each([
    ['power_watts', { value: 12, unit: 'W', values: [382.8, 12], least: 12, most: 382.8, from: AT[0], labels: '' }],
    ['fan_speed_rpm{fan="Fan10"}', { value: 0, unit: 'rpm', values: [], least: undefined, most: undefined, from: undefined, labels: 'fan=Fan10' }],
    ['new_one', { unit: '', values: [] }],
  ])('%s', (key, row) => {
    expect(rows.find((each) => each.key === key)).toMatchObject(row)
  })

  test.each([
    ['', 4],
    ['fan', 2],
    ['FAN fan2', 1],
    ['power fan', 0],
    ['.*', 0],
  ])('looked for by %j: %i', (text, found) => {
    expect(matching(rows, text)).toHaveLength(found)
  })

  test('one that a worker gives twice is there once', () => {
    expect(readingRows([{ name: 'a', value: 1 }, { name: 'a', value: 2 }], [])).toMatchObject([{ key: 'a', value: 2 }])
  })
})

test.each([
  [0, 5430, '0 – 5,430'],
  [1, 1, '1'],
  [3.6e9, 3.6e9 + 1, '3.60e+9'],
])('from %d to %d', (least, most, text) => {
  expect(rangeText(least, most)).toBe(text)
})
