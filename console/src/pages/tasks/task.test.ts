import { describe, expect, test } from 'vitest'
import { lifeLine, type Outcome, saidOf, standingOf, type Task, tookMs } from './task'

const CREATED = '2026-11-29T08:00:00.000Z'
const STARTED = '2026-11-29T08:00:02.500Z'
const ENDED = '2026-11-29T08:00:10.000Z'

function task(state: Task['state'], ending?: Partial<NonNullable<Task['ending']>>): Task {
  return { id: 't-1', state, createdAt: CREATED, attempt: 1, ...(ending ? { ending } : {}) } as Task
}

test.each<[string, Task, string]>([
  ['one that waits', task('waiting'), 'waiting'],
  ['done', task('ended', { outcome: { status: 'done', changed: false } as Outcome }), 'done'],
  ['done, with a change', task('ended', { outcome: { status: 'done', changed: true } as Outcome }), 'changed'],
  ['failed', task('ended', { outcome: { status: 'failed', code: 'busy' } as Outcome }), 'failed'],
  ['unknown', task('ended', { outcome: { status: 'unknown', why: 'lost' } as Outcome }), 'unknown'],
])('where it stands: %s', (_, of, standing) => {
  expect(standingOf(of)).toBe(standing)
})

test.each([
  [{ status: 'done', changed: true }, ''],
  [{ status: 'failed', code: 'busy', message: 'come back' }, 'busy: come back'],
  [{ status: 'failed', code: 'busy', message: '' }, 'busy'],
  [{ status: 'unknown', why: 'the lease ran out' }, 'the lease ran out'],
  [{ status: 'expired', why: 'not begun' }, 'not begun'],
])('what is said of %j', (outcome, said) => {
  expect(saidOf(outcome as Outcome)).toBe(said)
})

test('how long it took is known once it has ended, and is never less than nothing', () => {
  expect(tookMs(task('started'))).toBeUndefined()
  expect(tookMs(task('ended', { endedAt: ENDED }))).toBe(10_000)
  expect(tookMs(task('ended', { endedAt: '2026-11-29T07:59:59.000Z' }))).toBe(0)
})

describe('the life of a task', () => {
  const reached = (of: Task) =>
    lifeLine(of)
      .filter((step) => step.reached)
      .map((step) => (step.now ? `${step.name}!` : step.name))
  const done = { status: 'done', changed: false } as Outcome

  test.each<[string, Task, string[]]>([
    ['held', task('held'), ['waiting!']],
    ['waiting', task('waiting'), ['waiting!']],
    ['sent', task('sent'), ['waiting', 'sent!']],
    ['started', task('started'), ['waiting', 'sent', 'started!']],
    ['ended after a start', task('ended', { outcome: done, startedAt: STARTED, endedAt: ENDED }), ['waiting', 'sent', 'started', 'ended!']],
    ['cancelled before it was sent', task('ended', { outcome: { status: 'cancelled', why: 'x' } as Outcome, endedAt: ENDED }), ['waiting', 'ended!']],
    ['lost on the way', task('ended', { outcome: { status: 'unknown', why: 'x' } as Outcome, endedAt: ENDED, wee: 'local' }), ['waiting', 'sent', 'ended!']],
  ])('%s', (_, of, steps) => {
    expect(reached(of)).toEqual(steps)
  })

  test('times lie between the steps of which the time is kept', () => {
    const [waiting, sent, started, ended] = lifeLine(task('ended', { outcome: done, startedAt: STARTED, endedAt: ENDED }))
    expect([waiting?.tookMs, sent?.tookMs, started?.tookMs, ended?.tookMs]).toEqual([2500, undefined, 7500, undefined])
    expect(sent?.at).toBeUndefined()
    const [waited] = lifeLine(task('ended', { outcome: done, endedAt: ENDED }))
    expect(waited?.tookMs).toBe(10_000)
  })
})
