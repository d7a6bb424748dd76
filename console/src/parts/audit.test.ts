import { describe, expect, test } from 'vitest'
import { actName, type Actor, ACTS, auditCommand, auditOf, auditPath, howOf, lookOfAct, ownAct, pageOf, whoOf } from './audit'
import { actWords } from './audit-messages'

const changed = (count: number) => Array.from({ length: count }, (_, at) => ({ path: `labels.l${at}`, before: 'a', after: 'b' }))

test.each<[string, Parameters<typeof howOf>[0], string]>([
  ['nothing is said', {}, ''],
  ['a field that changed', { fields: [{ path: 'labels.rack', before: 'r1', after: 'r2' }] }, 'labels.rack: r1 → r2'],
  ['one that is new, one that is gone', { fields: [{ path: 'labels.new', after: 'n' }, { path: 'spec.port', before: 22 }] }, 'labels.new: – → n, port: 22 → –'],
  ['a note and the targets', { note: 'power-on on 2 targets', targets: ['a', 'b'] }, 'power-on on 2 targets: a, b'],
  ['more targets than are named', { note: 'noop', targets: ['a', 'b', 'c', 'd'] }, 'noop: a, b, c, …'],
  ['targets alone', { targets: ['a'] }, 'a'],
  ['a note goes before what changed', { note: '1.5.0: gets 60% of all', fields: changed(1) }, '1.5.0: gets 60% of all'],
  ['more fields than are named', { fields: changed(7) }, `${[0, 1, 2, 3, 4, 5].map((at) => `labels.l${at}: a → b`).join(', ')}, …`],
  ['more than is kept', { fields: changed(1), cut: true }, 'labels.l0: a → b, …'],
])('how, in one line: %s', (_, entry, line) => {
  expect(howOf(entry)).toBe(line)
})

test.each<[string, string, string, string | undefined]>([
  ['Target', 'bmc-1', 'configured', '/targets/bmc-1'],
  ['Target', 'bmc-1', 'deleted', undefined],
  ['Run', 'r-1', 'paused', '/runs/r-1'],
  ['Task', 't-1', 'cancelled', '/tasks/t-1'],
  ['Release', 'redfish', 'promoted', '/workers/redfish'],
  ['Worker', 'redfish@1.5.0', 'pushed', '/workers/redfish'],
  ['Wee', 'local', 'drained', '/workers/wees/local'],
  ['Store', 'store', 'move-asked', '/system'],
  ['Secret', 'bmc-account', 'created', undefined],
  ['javascript:alert(1)', 'x', 'created', undefined],
  ['Target', '../../evil', 'created', '/targets/..%2F..%2Fevil'],
])('the page of %s %s that was %s', (kind, name, what, path) => {
  expect(pageOf({ kind, name, what })).toBe(path)
})

describe('who', () => {
  test.each<[Actor, string, boolean]>([
    [{ role: 'operator', name: 'alice@ops1', via: 'token' }, 'operator (alice@ops1)', false],
    [{ role: 'operator', via: 'cookie' }, 'operator', false],
    [{ role: 'operator', name: '' }, 'operator', false],
    [{ role: 'operator', name: null }, 'operator', false],
    [{ role: 'sengu' }, 'sengu', true],
    // A name proves nothing.
    [{ role: 'operator', name: 'sengu' }, 'operator (sengu)', false],
  ])('%j', (by, line, own) => {
    expect(whoOf(by)).toBe(line)
    expect(ownAct(by)).toBe(own)
  })
})

test('every act that is known has a word in both languages, and one that is not has a look', () => {
  expect(Object.keys(actWords).sort()).toEqual([...ACTS].sort())
  expect(ACTS.every((each) => actWords[each].en === each)).toBe(true)
  expect(actName('rolled-back')).toBe('rolled-back')
  for (const other of ['reticulated', 'constructor', '__proto__']) expect(lookOfAct(actName(other))).toEqual(['idle', 'ring'])
})

test.each([
  [auditOf('Target', 'bmc-1'), '/events/audit?name=bmc-1', 'sengu audit target/bmc-1'],
  [auditOf('Release', 'redfish'), '/events/audit?kind=Release&name=redfish', 'sengu audit release/redfish'],
  [{}, '/events/audit', 'sengu audit'],
  [{ kind: 'Task', name: '' }, '/events/audit?kind=Task', 'sengu audit task'],
  [{ by: "a'b c", what: 'deleted' }, '/events/audit?what=deleted&who=a%27b+c', "sengu audit --by 'a'\\''b c' --act deleted"],
  // As a bare word it would be a kind.
  [{ name: 'targets' }, '/events/audit?name=targets', 'sengu audit target/targets'],
])('%j has a page and a command', (filter, path, command) => {
  expect(auditPath(filter)).toBe(path)
  expect(auditCommand(filter)).toBe(command)
})
