import { describe, expect, it } from 'vitest'
import { Intake, READ_MAX } from './intake'
import { changeWhat, type Filter, latestTime, matches, merged, ofRecordEvent, type RecordSeen, saidOfRecord, type Seen, streamsOf, type Task } from './seen'

const record = (kind: string, name: string, revision: number, more: Partial<RecordSeen> = {}): RecordSeen => ({
  apiVersion: 'sengu/v1',
  kind,
  metadata: { name, revision },
  ...more,
})
const seenRecord = (kind: string, name: string, what: Seen['what'] = 'written', spec: unknown = {}): Seen => ({
  key: name,
  what,
  kind,
  name,
  at: 1,
  about: false,
  record: record(kind, name, 1, { spec }),
})
const seenTask = (kind: string, target: string, status: string): Seen => ({
  key: 't-1',
  what: 'task',
  kind,
  name: target,
  at: 1,
  about: false,
  task: { id: 't-1', target, kind, run: 'r-7', ending: { outcome: { status } } } as unknown as Task,
})
const KINDS = ['Target', 'Run', 'Release']
const filter = (more: Partial<Filter>): Filter => ({ what: '', kind: '', name: '', ...more })

describe('what a change was', () => {
  it.each([
    ['put', 7, record('Target', 'a', 7), 'written'],
    ['put', 9, record('Target', 'a', 7), 'observed'],
    ['put', 5, record('Target', 'a', 7), 'since'],
    ['delete', 5, undefined, 'deleted'],
    ['put', 5, null, 'deleted'],
  ] as const)('%s at %i', (op, revision, now, what) => {
    expect(changeWhat({ op, revision, record: now ?? null })).toBe(what)
  })

  it('is told by the stream with the revision as its id', () => {
    const data = JSON.stringify({ kind: 'Run', metadata: { name: 'r-1' } })
    expect(ofRecordEvent({ event: 'delete', data, id: '12' }, 5)).toEqual({ key: 'r12', what: 'deleted', kind: 'Run', name: 'r-1', at: 5, about: false, revision: 12 })
  })
})

describe('filters', () => {
  it.each([
    [{}, seenRecord('Run', 'r-1'), true],
    [{ what: 'tasks' }, seenRecord('Run', 'r-1'), false],
    [{ what: 'records' }, seenTask('redfish', 'a', 'done'), false],
    [{ what: 'written' }, seenRecord('Target', 'a', 'observed'), false],
    [{ what: 'written' }, seenRecord('Target', 'a', 'deleted'), true],
    [{ what: 'notDone' }, seenTask('redfish', 'a', 'done'), false],
    [{ what: 'notDone' }, seenTask('redfish', 'a', 'expired'), true],
    [{ kind: 'Target' }, seenRecord('Target', 'a'), true],
    [{ kind: 'redfish' }, seenRecord('Target', 'a', 'written', { kind: 'redfish' }), true],
    [{ kind: 'redfish' }, seenRecord('Target', 'a', 'written', { kind: 'ssh' }), false],
    [{ kind: 'redfish' }, seenRecord('Worker', 'redfish@1.0.0'), true],
    [{ kind: 'redfish' }, seenRecord('Run', 'redfish'), false],
    [{ kind: 'redfish' }, seenTask('redfish', 'a', 'done'), true],
    [{ name: 'BMC-1' }, seenTask('redfish', 'bmc-12', 'done'), true],
    [{ name: 'r-7' }, seenTask('redfish', 'bmc-12', 'done'), true],
    [{ name: 'bmc-2' }, seenRecord('Target', 'bmc-12'), false],
  ] as const)('%j on %j', (some, seen, found) => {
    expect(matches(seen, filter(some))).toBe(found)
  })

  it.each([
    [{}, { records: true, results: true, kinds: '' }],
    [{ kind: 'Run' }, { records: true, results: false, kinds: 'Run' }],
    [{ kind: 'ssh' }, { records: true, results: true, kinds: 'Target,Release,Worker' }],
    [{ what: 'notDone' }, { records: false, results: true, kinds: '' }],
    [{ what: 'written' }, { records: true, results: false, kinds: '' }],
  ] as const)('streams for %j', (some, streams) => {
    expect(streamsOf(filter(some), KINDS)).toEqual(streams)
  })
})

describe('in one line', () => {
  it.each([
    [record('Run', 'r', 1, { status: { phase: 'Succeeded', message: 'every target is done' } }), 'Succeeded: every target is done'],
    [record('Release', 'r', 1, { status: { history: [{ what: 'promoted', version: '1', message: 'old' }, { what: 'settled', version: '1.1', message: 'all' }] } }), 'settled 1.1 all'],
    [record('Target', 'a', 1, { status: { conditions: [{ type: 'Reachable', status: 'False', reason: 'NoAnswer', message: '' }] } }), 'Reachable=False (NoAnswer)'],
    [record('Secret', 's', 1), ''],
  ])('%j', (of, said) => {
    expect(saidOfRecord(of)).toBe(said)
  })
})

describe('order', () => {
  it('takes the latest time that a record names', () => {
    const of = record('Release', 'r', 1, { status: { history: [{ at: '2026-01-02T00:00:00Z' }, { at: 'nonsense' }] } })
    of.metadata.createdAt = '2026-01-01T00:00:00Z'
    expect(latestTime(of)).toBe(Date.parse('2026-01-02T00:00:00Z'))
    expect(latestTime(record('Secret', 's', 1))).toBeUndefined()
  })

  it('never shows an older change as newer, whatever its record says', () => {
    const change = (revision: number, at: number | undefined): Seen => ({ key: `r${revision}`, what: 'written', kind: 'Run', name: 'r', about: true, at, revision })
    const task = { ...seenTask('ssh', 'a', 'done'), at: 15 }
    const all = merged([change(1, 30), change(2, 20), change(3, undefined), change(4, 10)], [task])
    expect(all.map((each) => each.key)).toEqual(['t-1', 'r4', 'r3', 'r2', 'r1'])
    expect(all.map((each) => each.at)).toEqual([15, 10, 10, 10, 10])
  })
})

describe('intake', () => {
  const event = (data: string) => ({ event: 'result', data, id: '' })
  it('counts what it does not read', () => {
    const intake = new Intake('', () => 0.999)
    for (let at = 0; at < READ_MAX + 50; at++) intake.push(event(`${at}`))
    expect(intake.take().length).toBe(READ_MAX)
    expect([intake.came, intake.notRead]).toEqual([READ_MAX + 50, 50])
    expect(intake.take()).toEqual([])
  })
  it('passes over what cannot have the name', () => {
    const intake = new Intake('bmc-1')
    intake.push(event('{"target":"bmc-12"}'))
    intake.push(event('{"target":"host"}'))
    expect(intake.take().length).toBe(1)
    expect([intake.came, intake.notRead]).toEqual([2, 0])
  })
})
