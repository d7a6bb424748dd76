import { expect, test } from 'vitest'
import { exact } from './Time'

test('a time to the millisecond, with the zone of the reader', () => {
  const text = exact(Date.UTC(2026, 10, 29, 8, 47, 17, 21))
  expect(text).toMatch(/^2026-11-(?:28|29|30) \d\d:\d\d:17\.021 [+-]\d\d:\d\d$/)
  expect(Date.parse(text.replace(' ', 'T').replace(' ', ''))).toBe(Date.UTC(2026, 10, 29, 8, 47, 17, 21))
})
