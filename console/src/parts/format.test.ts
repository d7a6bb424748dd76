import { expect, test } from 'vitest'
import { bytes, count, duration, measured, percent, rate, unitWord } from './format'

test.each([
  [0, '0ms', '0ミリ秒'],
  [-5, '0ms', '0ミリ秒'],
  [999, '999ms', '999ミリ秒'],
  [2440, '2.4s', '2.4秒'],
  [9999, '9.9s', '9.9秒'],
  [10_000, '10s', '10秒'],
  [200_000, '3min 20s', '3分20秒'],
  [600_000, '10min', '10分'],
  [629_000, '10min', '10分'],
  [7_200_000, '2h', '2時間'],
  [353_000_000, '4d 2h', '4日2時間'],
])('a duration of %i ms', (ms, en, ja) => {
  expect(duration(ms)).toBe(en)
  expect(duration(ms, 'ja')).toBe(ja)
})

test.each([
  [0, 0, '–'],
  [0, 10, '0%'],
  [10, 10, '100%'],
  [1, 100_000, '<0.1%'],
  [99_999, 100_000, '>99.9%'],
  [1, 3, '33.3%'],
  [1, 50, '2.0%'],
])('%i of %i', (part, whole, text) => {
  expect(percent(part, whole)).toBe(text)
})

test.each([
  [0, '0'],
  [1, '1'],
  [0.956_12, '0.9561'],
  [1839.4, '1,839'],
  [3_688_200_000, '3.69e+9'],
  [0.0001, '1.00e-4'],
  [-24.5, '-24.5'],
  [NaN, 'NaN'],
  [Infinity, 'Infinity'],
])('a measured value %d', (value, text) => {
  expect(measured(value)).toBe(text)
})

test.each([
  ['Cel', '°C'],
  ['{rev}/min', 'rpm'],
  ['1', ''],
  ['W', 'W'],
  ['furlong', 'furlong'],
  ['constructor', 'constructor'],
  [undefined, ''],
  [null, ''],
])('a unit %s', (unit, word) => {
  expect(unitWord(unit)).toBe(word)
})

test.each([
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [153_600, '150 KiB'],
  [5 * 1024 ** 5, '5120 TiB'],
])('%i bytes', (n, text) => {
  expect(bytes(n)).toBe(text)
})

test.each([
  [0, '0'],
  [0.25, '0.3'],
  [9.94, '9.9'],
  [1234.5, '1,235'],
])('a rate %d', (perSecond, text) => {
  expect(rate(perSecond)).toBe(text)
})

test('numbers are grouped', () => {
  expect(count(100_000)).toBe('100,000')
})
