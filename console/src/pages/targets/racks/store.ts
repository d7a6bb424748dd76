import type { components } from '../../../api/openapi'
import { LETTER_ORDER, type Letter, STEPS, stepOf, WORDS_MAX } from './colours'

type Wire = components['schemas']['Tiles']
/** The document says only that these are arrays; what is in them is said beside it in words. */
export type Tiles = Omit<Wire, 'tiles'> & {
  tiles: Omit<Wire['tiles'], 'value' | 'word'> & { value?: (number | null)[] | null; word?: (number | null)[] | null }
}
export type TilesChanged = {
  i: number[]
  state: string
  value?: (number | null)[] | null
  word?: (number | null)[] | null
  words?: string[]
}

export type Colouring =
  | { by: 'state' }
  | { by: 'reading'; unit: string | undefined; least: number; most: number }
  | { by: 'word'; words: string[]; order: Map<number, number> }

/**
 * All tiles of one view, kept outside of React: twice a second some of thousands change, and a canvas shows them.
 * Who paints asks for `swatch`; who counts is told at the same pace.
 */
export class TileStore {
  readonly whole: Tiles
  readonly letters: Letter[]
  colouring: Colouring
  /** Index of each tile's swatch. */
  swatch: Uint8Array
  version = 0

  constructor(whole: Tiles) {
    this.whole = whole
    this.letters = Array.from(whole.tiles.state, (letter) => letter as Letter)
    this.colouring = this.colour()
    this.swatch = this.paintAll()
  }

  get length(): number {
    return this.whole.tiles.name.length
  }

  change(changed: TilesChanged): void {
    const { tiles, words } = this.whole
    if (changed.words) words.push(...changed.words)
    for (const [at, i] of changed.i.entries()) {
      if (i >= this.letters.length) continue
      this.letters[i] = (changed.state[at] ?? '?') as Letter
      if (tiles.value && changed.value) tiles.value[i] = changed.value[at] ?? null
      if (tiles.word && changed.word) tiles.word[i] = changed.word[at] ?? null
    }
    this.version += 1
    // A new scale or a new word may move every tile; a state moves only its own.
    if (this.colouring.by === 'state') {
      for (const i of changed.i) this.swatch[i] = this.swatchOf(i)
    } else {
      this.colouring = this.colour()
      this.swatch = this.paintAll()
    }
  }

  /** How many tiles have each letter. */
  counts(): Record<Letter, number> {
    const counts = { r: 0, u: 0, '?': 0, q: 0, m: 0, b: 0, f: 0 }
    for (const letter of this.letters) counts[letter] += 1
    return counts
  }

  private colour(): Colouring {
    const { value, word } = this.whole.tiles
    if (value) {
      let least = Infinity
      let most = -Infinity
      for (const each of value) {
        if (each === null) continue
        least = Math.min(least, each)
        most = Math.max(most, each)
      }
      return { by: 'reading', unit: this.whole.unit ?? undefined, least, most }
    }
    if (word) {
      const seen = new Map<number, number>()
      for (const each of word) if (each !== null) seen.set(each, (seen.get(each) ?? 0) + 1)
      const most = [...seen].sort((a, b) => b[1] - a[1]).slice(0, WORDS_MAX)
      return { by: 'word', words: this.whole.words, order: new Map(most.map(([index], at) => [index, at])) }
    }
    return { by: 'state' }
  }

  private paintAll(): Uint8Array {
    const swatch = new Uint8Array(this.letters.length)
    for (let i = 0; i < swatch.length; i++) swatch[i] = this.swatchOf(i)
    return swatch
  }

  private swatchOf(i: number): number {
    const { colouring } = this
    if (colouring.by === 'state') {
      const at = LETTER_ORDER.indexOf(this.letters[i] ?? '?')
      return at < 0 ? LETTER_ORDER.length : at
    }
    if (colouring.by === 'reading') {
      const value = this.whole.tiles.value?.[i]
      return value === null || value === undefined ? STEPS : stepOf(value, colouring.least, colouring.most)
    }
    const word = this.whole.tiles.word?.[i]
    if (word === null || word === undefined) return WORDS_MAX + 1
    return colouring.order.get(word) ?? WORDS_MAX
  }
}
