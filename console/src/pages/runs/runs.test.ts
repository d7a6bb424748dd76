import { describe, expect, test } from 'vitest'
import type { components } from '../../api/openapi'
import { actionsOf } from './actions'
import { CELL, changedGrid, type Grid, LABEL, layout, LETTERS, stepped, STATE_OF, tally, targetAt } from './grid'
import { command, isOver, over, runOf, runParts, type RunSpec, type RunStatus, scopeOf, spent, unfinished } from './run'

const COUNTS = { held: 1, waiting: 2, active: 3, done: 10, changed: 4, failed: 5, unknown: 6, cancelled: 7, expired: 8, retries: 9 }

test('counts of a run', () => {
  expect({ spent: spent(COUNTS), over: over(COUNTS), unfinished: unfinished(COUNTS) }).toEqual({ spent: 19, over: 36, unfinished: 20 })
  const word = { done: 'd', failed: 'f', unknown: 'u', cancelled: 'x', expired: 'e', active: 'a' }
  expect(runParts(COUNTS, word).reduce((all, part) => all + part.value, 0)).toBe(over(COUNTS) + COUNTS.active)
})

test.each([
  ['Running', false],
  ['Paused', false],
  ['Stopping', false],
  ['Cancelling', false],
  ['Succeeded', true],
  ['Failed', true],
  ['Cancelled', true],
])('a run that is %s is over: %s', (phase, is) => {
  expect(isOver({ phase } as RunStatus)).toBe(is)
})

test('a run of which nothing is known yet is not over', () => {
  expect(isOver(undefined)).toBe(false)
  expect(runOf({ apiVersion: 'sengu/v1', kind: 'Run', metadata: { name: 'r-1' } })).toEqual({ name: 'r-1', createdAt: undefined, spec: { action: '' }, status: undefined })
})

test.each<[Partial<RunSpec>, string]>([
  [{ selector: 'rack=r1' }, 'rack=r1'],
  [{ selector: '', targets: ['a', 'b'] }, 'a b'],
  [{ selector: 'rack=r1', targets: ['a'], exclude: ['b', 'c'] }, 'rack=r1 + a + - b c'],
  [{ selector: '' }, ''],
])('the scope of %j', (spec, scope) => {
  expect(scopeOf({ action: 'observe', ...spec })).toBe(scope)
})

test.each<[RunSpec, string]>([
  [{ action: 'observe', selector: '', limit: 5 }, 'sengu observe --all --limit 5'],
  [{ action: 'observe', selector: 'rack=r1', frames: true }, 'sengu run observe -l rack=r1 --frames'],
  [{ action: 'power.set', targets: ['a'], exclude: ['b', 'c'], params: { state: 'on' }, batch: '10%', maxFail: '2', limit: 5 }, 'sengu run power.set state=on a --exclude b,c --limit 5 --batch 10% --max-fail 2'],
  [{ action: 'exec', selector: 'os=debian', timeout: '30s', version: '1.2.0', effect: 'read' }, 'sengu run exec -l os=debian --attempt-timeout 30s --version 1.2.0 --effect read'],
])('the command of %j', (spec, wanted) => {
  expect(command({ allowEmpty: false, ...spec })).toBe(wanted)
})

describe('actions of all kinds', () => {
  const explained = (kind: string, actions?: unknown[]) => ({ kind, description: '', fields: [], ...(actions ? { actions } : {}) }) as components['schemas']['Explained']

  test('are named by kind; those that sengu keeps for itself are left out', () => {
    const found = actionsOf([
      explained('Target'),
      explained('redfish', [
        { name: 'power.cycle', description: 'Restarts.', effect: 'probe', timeout_ms: 180_000, internal: false },
        { name: 'power.cycle.probe', effect: 'read', internal: true },
      ]),
      explained('ssh', [{ name: 'exec', effect: 'once', effect_by_caller: true, params: { type: 'object' } }]),
    ])
    expect(found).toEqual([
      { id: 'redfish.power.cycle', kind: 'redfish', name: 'power.cycle', description: 'Restarts.', effect: 'probe', effectByCaller: false, timeoutMs: 180_000, params: {} },
      { id: 'ssh.exec', kind: 'ssh', name: 'exec', description: '', effect: 'once', effectByCaller: true, timeoutMs: undefined, params: { type: 'object' } },
    ])
  })

  test('nonsense of a worker is an action without anything', () => {
    expect(actionsOf([explained('x', [{ name: 1, description: null, effect: {}, timeout_ms: '1', params: null }])])).toMatchObject([{ id: 'x.', name: '', effect: '', timeoutMs: undefined, params: {} }])
  })
})

describe('the grid of a run', () => {
  /** Four cells in a line. */
  const WIDTH = LABEL + 4 * CELL

  test('goes line by line, and batches are apart', () => {
    const placed = layout([1, 1, 1, 1, 1, 2, 2], WIDTH)
    expect(placed.columns).toBe(4)
    expect([...placed.x].map((x) => (x - LABEL) / CELL)).toEqual([0, 1, 2, 3, 0, 0, 1])
    expect(placed.y[4]).toBe(CELL)
    expect(placed.y[5]).toBeGreaterThan(2 * CELL)
    expect(placed.labels).toMatchObject([
      { batch: 1, from: 0, to: 5 },
      { batch: 2, from: 5, to: 7 },
    ])
    expect(placed.height).toBe((placed.y[6] ?? 0) + CELL)
  })

  test('with very many batches they are not apart', () => {
    const placed = layout(Array.from({ length: 500 }, (_, i) => i), WIDTH)
    expect(placed.labels).toEqual([])
    expect(placed.height).toBe((500 / 4) * CELL)
  })

  test.each([0, 1, 10])('is never without a column, however narrow: %i', (width) => {
    expect(layout([1, 1], width).columns).toBe(1)
  })

  test('of nothing is nothing', () => {
    const placed = layout([], WIDTH)
    expect(placed.height).toBe(0)
    expect(targetAt(placed, 50, 5)).toBeUndefined()
    expect(stepped(placed, 0, 'End')).toBeUndefined()
  })

  const placed = layout([1, 1, 1, 1, 1, 2, 2], WIDTH)
  test('every cell is found by its middle, and nothing beside', () => {
    for (let i = 0; i < 7; i++) expect(targetAt(placed, (placed.x[i] ?? 0) + CELL / 2, (placed.y[i] ?? 0) + CELL / 2)).toBe(i)
    for (const [x, y] of [[0, 5], [LABEL + 4 * CELL + 1, 5], [LABEL + 1.5 * CELL, 1.5 * CELL], [LABEL + 5, 2 * CELL + 2], [LABEL + 5, 999]] as const) {
      expect(targetAt(placed, x, y), `${x}, ${y}`).toBeUndefined()
    }
  })

  test.each<[number, string, number | undefined]>([
    [-1, 'ArrowRight', 0],
    [6, 'ArrowRight', 6],
    [0, 'ArrowLeft', 0],
    [3, 'ArrowDown', 4],
    [4, 'ArrowDown', 5],
    [6, 'ArrowUp', 4],
    [5, 'ArrowDown', 5],
    [3, 'Home', 0],
    [3, 'End', 6],
    [3, 'x', undefined],
  ])('from %i by %s', (from, key, to) => {
    expect(stepped(placed, from, key)).toBe(to)
  })

  test('counts its letters and leaves out what it does not know', () => {
    expect(tally('hwwdd?')).toMatchObject({ h: 1, w: 2, d: 2, f: 0 })
    expect(LETTERS.map((letter) => STATE_OF[letter])).not.toContain(undefined)
  })

  test('changes where it is told to, and nowhere else', () => {
    const grid = { revision: 1, targets: ['a', 'b'], batch: [1, 1], state: 'ww', truncated: false } as Grid
    expect(changedGrid(grid, { i: [1, 7, -1], state: 'dff' }).state).toBe('wd')
    expect(changedGrid(grid, { i: [0, 1], state: 'a' }).state).toBe('aw')
    expect(grid.state).toBe('ww')
  })
})
