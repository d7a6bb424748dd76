/** How a tile is filled: its pattern tells states apart without colour. */
export type Pattern = 'full' | 'outline' | 'dot' | 'half' | 'hole' | 'bars' | 'notch'
export type Swatch = { colour: string; pattern: Pattern }

/** Letters of `GET /v1/tiles` and the states that they mean. */
export const LETTERS = {
  r: 'reachable',
  u: 'unreachable',
  '?': 'unknown',
  q: 'quarantined',
  m: 'maintenance',
  b: 'busy',
  f: 'taskFailed',
} as const
export type Letter = keyof typeof LETTERS
/** In the order of a legend: well first, then what needs a look. */
export const LETTER_ORDER: Letter[] = ['r', 'b', 'u', 'q', 'f', 'm', '?']

const PATTERNS: Record<Letter, Pattern> = { r: 'full', u: 'hole', '?': 'outline', q: 'bars', m: 'dot', b: 'half', f: 'notch' }
const STATE_LIGHT: Record<Letter, string> = {
  r: '#5aa06c',
  u: '#b3261e',
  '?': '#6b3fb5',
  q: '#b3261e',
  m: '#56606a',
  b: '#1b5a9e',
  f: '#a36200',
}
const STATE_DARK: Record<Letter, string> = {
  r: '#3f8f58',
  u: '#ff8a80',
  '?': '#c5a1ff',
  q: '#ff8a80',
  m: '#9ca7b0',
  b: '#79b5f2',
  f: '#e3ad45',
}

/** From low to high by lightness first: it reads without telling hues apart. */
const SCALE_LIGHT = ['#c9dff2', '#a3c8e6', '#78abd6', '#5590c6', '#3a75b0', '#295b94', '#1c4274', '#122b52']
const SCALE_DARK = ['#1d3347', '#24496a', '#2f618d', '#4079ab', '#5a93c4', '#7eafd8', '#a9cdea', '#dcedfa']
const WORDS_LIGHT = ['#1b5a9e', '#c0651a', '#1a7f6b', '#a0377f', '#7a6a10', '#5b48b0', '#3d7a26', '#a33b3b', '#4a6b7c', '#8a5a3c']
const WORDS_DARK = ['#79b5f2', '#f0a266', '#58c9b1', '#ec8fcb', '#d6c552', '#a99bf5', '#93cf7a', '#f59a9a', '#9cbfd0', '#d3ab8c']
const NONE: Swatch = { colour: '#88919a', pattern: 'outline' }
export const WORDS_MAX = WORDS_LIGHT.length
export const STEPS = SCALE_LIGHT.length

/** What each swatch index means is up to the colouring; the last one is always "no value". */
export function stateSwatches(dark: boolean): Swatch[] {
  const colours = dark ? STATE_DARK : STATE_LIGHT
  return [...LETTER_ORDER.map((letter): Swatch => ({ colour: colours[letter], pattern: PATTERNS[letter] })), NONE]
}

export function scaleSwatches(dark: boolean): Swatch[] {
  return [...(dark ? SCALE_DARK : SCALE_LIGHT).map((colour): Swatch => ({ colour, pattern: 'full' })), NONE]
}

/** Ten words have a colour of their own; all further ones share the half pattern. */
export function wordSwatches(dark: boolean): Swatch[] {
  const own = (dark ? WORDS_DARK : WORDS_LIGHT).map((colour): Swatch => ({ colour, pattern: 'full' }))
  return [...own, { colour: dark ? '#9ca7b0' : '#56606a', pattern: 'half' }, NONE]
}

/** The step of a value between the least and the most, 0 to STEPS - 1. Pure. */
export function stepOf(value: number, least: number, most: number): number {
  if (most <= least) return STEPS >> 1
  return Math.max(0, Math.min(STEPS - 1, Math.floor(((value - least) / (most - least)) * STEPS)))
}
