import { describe, expect, test } from 'vitest'
import { address } from './client'
import { backoffMs } from './stream'

describe('the wait before another try', () => {
  test.each([
    [0, 0, 250],
    [0, 1, 500],
    [1, 1, 1000],
    [4, 0, 4000],
    [5, 1, 15_000],
    [400, 1, 15_000],
  ])('attempt %i, random %d', (attempt, random, ms) => {
    expect(backoffMs(attempt, random)).toBe(ms)
  })
})

test.each([
  ['/v1/tasks', {}, '/v1/tasks'],
  ['/v1/tasks', { target: 'bmc-1', state: '', limit: 20, cursor: undefined }, '/v1/tasks?target=bmc-1&limit=20'],
  ['/v1/tiles', { selector: 'rack in (r1,r2),a=ü&b' }, '/v1/tiles?selector=rack+in+%28r1%2Cr2%29%2Ca%3D%C3%BC%26b'],
])('an address of %s', (path, query, whole) => {
  expect(address(path, query)).toBe(whole)
})
