import { describe, expect, test } from 'vitest'
import { canRollBack, cellWords, failedShare, phaseOf, releaseOf, type Release, standingOf, statusOf } from './release'

function release(spec: unknown, status: unknown = {}): Release {
  return releaseOf({ apiVersion: 'sengu/v1', kind: 'Release', metadata: { name: 'redfish', revision: 5 }, spec, status })
}
const RULE = { name: 'canary', version: '1.1.0' }

test('a release of which little is said is one with nothing on its way', () => {
  expect(releaseOf({ apiVersion: 'sengu/v1', kind: 'Release', metadata: { name: 'ssh' } })).toEqual({
    kind: 'ssh',
    revision: undefined,
    version: '',
    rules: [],
    status: { rules: [], held: [], history: [], followsBundled: false, before: undefined, previous: undefined },
  })
})

test.each([
  ['by its status', RULE, { phase: 'Rolling' }, 'Rolling'],
  ['of a shadow nobody has looked at', { ...RULE, shadow: true }, undefined, 'Shadow'],
  ['of a rule nobody has looked at', RULE, undefined, 'Rolling'],
])('the phase %s', (_, rule, status, phase) => {
  expect(phaseOf(rule, status as Parameters<typeof phaseOf>[1])).toBe(phase)
})

describe('how a release stands', () => {
  test.each<[string, unknown, unknown, string]>([
    ['nothing moves', { version: '1.0.0' }, {}, 'settled'],
    ['a rule moves', { rules: [RULE] }, { rules: [{ name: 'canary', phase: 'Rolling' }] }, 'Rolling'],
    ['one of two moves', { rules: [{ ...RULE, name: 'a' }, { ...RULE, name: 'b' }] }, { rules: [{ name: 'a', phase: 'Settled' }, { name: 'b', phase: 'Shadow' }] }, 'Shadow'],
    ['all have settled', { rules: [RULE] }, { rules: [{ name: 'canary', phase: 'Settled' }] }, 'settled'],
    ['the last move was taken back', {}, { history: [{ what: 'promoted' }, { what: 'rolled-back' }] }, 'rolled-back'],
    ['an earlier one was', {}, { history: [{ what: 'rolled-back' }, { what: 'promoted' }] }, 'settled'],
  ])('%s', (_, spec, status, standing) => {
    expect(standingOf(release(spec, status))).toBe(standing)
  })

  test('the status of a rule is found by its name', () => {
    const of = release({ rules: [RULE] }, { rules: [{ name: 'other' }, { name: 'canary', phase: 'Settled' }] })
    expect(statusOf(of, RULE)).toMatchObject({ phase: 'Settled' })
    expect(statusOf(of, { ...RULE, name: 'none' })).toBeUndefined()
  })
})

test.each<[string, unknown, unknown, boolean]>([
  ['nothing to take back', {}, {}, false],
  ['a rule on its way', { rules: [RULE] }, {}, true],
  ['a version before', {}, { before: { version: '1.0.0' } }, true],
  ['a move before', {}, { previous: { version: '1.0.0' } }, true],
])('rolling back: %s', (_, spec, status, can) => {
  expect(canRollBack(release(spec, status))).toBe(can)
})

test.each([
  [undefined, '- / - / - / -'],
  [{ vendor: 'Contoso', firmware: '3.14.1' }, 'Contoso / - / 3.14.1 / -'],
])('a cell %j', (cell, words) => {
  expect(cellWords(cell)).toBe(words)
})

test.each([
  [undefined, undefined],
  [{ tasks: 0, failed: 0 }, undefined],
  [{ tasks: 66, failed: 6 }, 6 / 66],
  [{ tasks: 10 }, 0],
])('the failed share of %j', (sample, share) => {
  expect(failedShare(sample)).toBe(share)
})
