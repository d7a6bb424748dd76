import { describe, expect, test } from 'vitest'
import type { components } from '../../../api/openapi'
import type { Task } from '../../tasks/task'
import { targetOf } from '../target'
import { factRows } from './facts'
import { kindLimits, limitOf, mainVersion } from './limits'
import { withMaintenance } from './maintenance'
import { needsTyping, taskCommand, taskRequest, UNSHAPED } from './request'
import { conditionWord, momentsOf, timeline } from './timeline'

type Record = components['schemas']['Record']

test('facts: nested plain ones become rows, others are shown as they are, nothing is left out but null', () => {
  const facts = { vendor: 'x', cpus: 2, on: false, none: null, inventory: { BIOS: '1', 'NIC.1': '2' }, list: ['a'], deep: { a: { b: 1 } }, empty: {} }
  expect(factRows(facts)).toEqual([
    { name: 'cpus', value: 2 },
    { name: 'deep', nested: { a: { b: 1 } } },
    { name: 'empty', nested: {} },
    { name: 'inventory.BIOS', value: '1' },
    { name: 'inventory.NIC.1', value: '2' },
    { name: 'list', nested: ['a'] },
    { name: 'on', value: false },
    { name: 'vendor', value: 'x' },
  ])
})

test('facts: a large nested one stays whole', () => {
  const large = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`k${i}`, i]))
  expect(factRows({ large })).toEqual([{ name: 'large', nested: large }])
})

describe('limits', () => {
  test.each([
    ['the kind’s', 4, undefined, { value: 4, kind: 4, narrowed: false }],
    ['narrowed', 4, 2, { value: 2, kind: 4, narrowed: true }],
    ['never widened', 4, 9, { value: 4, kind: 4, narrowed: false }],
    ['narrowed where the kind has none', 0, 3, { value: 3, kind: 0, narrowed: true }],
    ['none', undefined, undefined, { value: undefined, kind: undefined, narrowed: false }],
  ])('%s', (_, kind, own, limit) => {
    expect(limitOf(kind, own)).toEqual(limit)
  })

  test.each<[string, unknown, unknown]>([
    ['declared', { limits: { sessions: 4, rate_per_s: 10, cooldown_ms: 5000 } }, { sessions: 4, ratePerS: 10, cooldownMs: 5000 }],
    ['not declared', {}, { sessions: undefined, ratePerS: undefined, cooldownMs: undefined }],
    ['nonsense', { limits: { sessions: 'four', rate_per_s: null } }, { sessions: undefined, ratePerS: undefined, cooldownMs: undefined }],
  ])('of a worker: %s', (_, spec, limits) => {
    expect(kindLimits({ apiVersion: 'sengu/v1', kind: 'Worker', metadata: { name: 'x@1' }, spec })).toEqual(limits)
  })

  test('come from the version that does the work', () => {
    const worker = (version: string, origin: string, gets: string[]) => ({ name: `redfish@${version}`, kind: 'redfish', version, origin, gets }) as components['schemas']['WorkerView']
    const [bundled, pushed] = [worker('1.0.0', 'bundled', ['10%']), worker('1.1.0', 'pushed', ['all'])]
    expect(mainVersion([bundled, pushed], 'redfish')).toBe('redfish@1.1.0')
    expect(mainVersion([{ ...pushed, gets: [] }, bundled], 'redfish')).toBe('redfish@1.0.0')
    expect(mainVersion([pushed], 'ssh')).toBeUndefined()
  })
})

describe('maintenance', () => {
  const record: Record = {
    apiVersion: 'sengu/v1',
    kind: 'Target',
    metadata: { name: 'a', labels: { site: 'x' }, uid: 'u-1', revision: 7, createdAt: '2026-11-29T08:47:17Z' },
    spec: { kind: 'echo', address: 'x', maintenance: 'old' },
    status: { facts: {} },
  }

  test.each([
    ['fan swap', { kind: 'echo', address: 'x', maintenance: 'fan swap' }],
    [undefined, { kind: 'echo', address: 'x' }],
  ])('%s is written at the revision that was read, without what is the server’s', (reason, spec) => {
    expect(withMaintenance(record, reason)).toEqual({ apiVersion: 'sengu/v1', kind: 'Target', metadata: { name: 'a', labels: { site: 'x' }, revision: 7 }, spec })
    expect(record.spec).toHaveProperty('maintenance', 'old')
  })
})

describe('a task from a form', () => {
  test.each([
    ['observe', {}, {}, 'sengu observe bmc-1'],
    ['observe', {}, { timeout: '5s' }, 'sengu run observe bmc-1 --attempt-timeout 5s'],
    ['power.set', { state: 'on' }, {}, 'sengu run power.set state=on bmc-1'],
    ['exec', { command: 'echo "a b"' }, { effect: 'read', version: '1.1.0' }, `sengu run exec 'command=echo "a b"' bmc-1 --version 1.1.0 --effect read`],
    ['observe', {}, { frames: true }, 'sengu run observe bmc-1 --frames'],
  ])('%s %j %j', (action, params, shape, command) => {
    expect(taskCommand(taskRequest('bmc-1', action, params, { ...UNSHAPED, ...shape }))).toBe(command)
  })

  test('sends what was typed and nothing else', () => {
    expect(taskRequest('a', 'noop', {}, UNSHAPED)).toEqual({ targets: ['a'], action: 'noop' })
    expect(taskRequest('a', 'set', { n: 1 }, { ...UNSHAPED, startWithin: '1m' })).toEqual({ targets: ['a'], action: 'set', params: { n: 1 }, startWithin: '1m' })
  })

  test('what is done once has to be typed', () => {
    expect(['read', 'idempotent', 'probe', 'once'].map(needsTyping)).toEqual([false, false, false, true])
  })
})

describe('the timeline', () => {
  const target = targetOf({
    apiVersion: 'sengu/v1',
    kind: 'Target',
    metadata: { name: 'a', createdAt: '2026-11-29T08:00:00Z' },
    status: {
      conditions: [
        { type: 'Reachable', status: 'False', reason: 'Unreachable', message: 'no answer', lastTransitionTime: '2026-11-29T08:10:00Z' },
        { type: 'Quarantined', status: 'True', reason: 'AuthFailed', lastTransitionTime: '2026-11-29T08:20:00Z' },
      ],
    },
  })
  const task = (id: string, createdAt: string) => ({ id, createdAt }) as Task
  const tasks = [task('t-3', '2026-11-29T08:25:00Z'), task('t-2', '2026-11-29T08:15:00Z'), task('t-1', '2026-11-29T08:05:00Z')]

  test('has tasks and moments, newest first', () => {
    expect(timeline(tasks, momentsOf(target), false).map((moment) => moment.key)).toEqual(['t-3', 'Quarantined', 't-2', 'Reachable', 't-1', 'described'])
  })

  test('keeps back what is older than the tasks that are known', () => {
    expect(timeline(tasks.slice(0, 2), momentsOf(target), true).map((moment) => moment.key)).toEqual(['t-3', 'Quarantined', 't-2'])
    expect(timeline([], momentsOf(target), true)).toHaveLength(3)
  })

  test.each([
    ['Reachable', 'True', 'reachable'],
    ['Reachable', 'False', 'unreachable'],
    ['Reachable', 'Unknown', 'unknown'],
    ['Quarantined', 'True', 'quarantined'],
    ['Quarantined', 'False', 'Quarantined False'],
    ['Odd', 'True', 'Odd True'],
  ])('%s %s', (type, status, word) => {
    expect(conditionWord(type, status)).toBe(word)
  })
})
