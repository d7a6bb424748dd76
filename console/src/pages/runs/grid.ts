import type { components } from '../../api/openapi'
import type { StateName } from '../../parts/states'

export type Grid = components['schemas']['RunGrid']
export type GridChanged = components['schemas']['GridChanged']

/** The letters of the grid, as the API has them, in the order of a target's life. */
export const LETTERS = ['h', 'w', 'a', 'd', 'c', 'f', 'u', 'x', 'e'] as const
export type Letter = (typeof LETTERS)[number]

export const STATE_OF: Record<Letter, StateName> = {
  h: 'held',
  w: 'waiting',
  a: 'active',
  d: 'done',
  c: 'changed',
  f: 'failed',
  u: 'unknown',
  x: 'cancelled',
  e: 'expired',
}

export const CELL = 14
const BATCH_GAP = 8
/** Room for the number of a batch, left of its cells. */
export const LABEL = 44
/** With more batches than this they are not set apart: most of the picture would be gaps. */
const BATCHES_APART_MAX = 400

export type GridLayout = {
  columns: number
  height: number
  /** Position of each target's cell, in pixels. */
  x: Float32Array
  y: Float32Array
  labels: { batch: number; y: number; from: number; to: number }[]
}

/** Where each target stands: batch by batch, left to right. Pure. */
export function layout(batch: readonly number[], width: number): GridLayout {
  const columns = Math.max(1, Math.floor((width - LABEL) / CELL))
  const x = new Float32Array(batch.length)
  const y = new Float32Array(batch.length)
  const labels: GridLayout['labels'] = []
  const apart = new Set(batch).size <= BATCHES_APART_MAX
  let column = 0
  let top = 0
  for (let i = 0; i < batch.length; i++) {
    const begins = i === 0 || (apart && batch[i] !== batch[i - 1])
    if (begins) {
      if (i > 0) top += CELL + BATCH_GAP
      column = 0
      labels.push({ batch: batch[i] ?? 0, y: top, from: i, to: i + 1 })
    } else if (column === columns) {
      column = 0
      top += CELL
    }
    x[i] = LABEL + column * CELL
    y[i] = top
    column += 1
    const label = labels[labels.length - 1]
    if (label) label.to = i + 1
  }
  return { columns, height: batch.length === 0 ? 0 : top + CELL, x, y, labels: apart ? labels : [] }
}

/** The target at a point, if there is one. Pure. */
export function targetAt(placed: GridLayout, x: number, y: number): number | undefined {
  // Cells are in order of y, then x: the last one that begins at or before the point.
  let low = 0
  let high = placed.y.length - 1
  let found = -1
  while (low <= high) {
    const middle = (low + high) >> 1
    const [cx, cy] = [placed.x[middle] ?? 0, placed.y[middle] ?? 0]
    if (cy + CELL <= y || (cy <= y && cx <= x)) {
      found = middle
      low = middle + 1
    } else {
      high = middle - 1
    }
  }
  if (found < 0) return undefined
  const [foundX, foundY] = [placed.x[found] ?? 0, placed.y[found] ?? 0]
  return x >= foundX && x < foundX + CELL && y >= foundY && y < foundY + CELL ? found : undefined
}

/** The cell that an arrow key goes to. Pure. */
export function stepped(placed: GridLayout, from: number, key: string): number | undefined {
  const last = placed.x.length - 1
  if (last < 0) return undefined
  switch (key) {
    case 'ArrowRight':
      return Math.min(last, from + 1)
    case 'ArrowLeft':
      return Math.max(0, from - 1)
    case 'Home':
      return 0
    case 'End':
      return last
    case 'ArrowDown':
    case 'ArrowUp': {
      const by = key === 'ArrowDown' ? 1 : -1
      const [x, y] = [placed.x[from] ?? 0, placed.y[from] ?? 0]
      let best: number | undefined
      // The nearest row that way, and in it the cell at or before this column.
      for (let i = from; i >= 0 && i <= last; i += by) {
        const row = placed.y[i] ?? 0
        if (row === y) continue
        if (best !== undefined && row !== placed.y[best]) break
        if (best === undefined || Math.abs((placed.x[i] ?? 0) - x) <= Math.abs((placed.x[best] ?? 0) - x)) best = i
      }
      return best ?? from
    }
    default:
      return undefined
  }
}

export function tally(state: string): Record<Letter, number> {
  const counts = Object.fromEntries(LETTERS.map((letter) => [letter, 0])) as Record<Letter, number>
  for (const letter of state) if (letter in counts) counts[letter as Letter] += 1
  return counts
}

/** The grid after a change. Places that do not exist are left alone. Pure. */
export function changedGrid(grid: Grid, change: GridChanged): Grid {
  const letters = Array.from(grid.state)
  for (const [at, place] of change.i.entries()) {
    const letter = change.state[at]
    if (letter !== undefined && place >= 0 && place < letters.length) letters[place] = letter
  }
  return { ...grid, state: letters.join('') }
}
