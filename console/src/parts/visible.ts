/** A stretch of text as it is, or the visible stand-in of something that would act instead of being seen. */
export type Piece = { text: string; mark: boolean }

const BIDI: Record<number, string> = {
  0x061c: 'ALM',
  0x200e: 'LRM',
  0x200f: 'RLM',
  0x202a: 'LRE',
  0x202b: 'RLE',
  0x202c: 'PDF',
  0x202d: 'LRO',
  0x202e: 'RLO',
  0x2066: 'LRI',
  0x2067: 'RLI',
  0x2068: 'FSI',
  0x2069: 'PDI',
}
const INVISIBLE: Record<number, string> = {
  0x00ad: 'SHY',
  0x034f: 'CGJ',
  0x115f: 'U+115F',
  0x1160: 'U+1160',
  0x180e: 'U+180E',
  0x200b: 'ZWSP',
  0x200c: 'ZWNJ',
  0x200d: 'ZWJ',
  0x2028: 'LS',
  0x2029: 'PS',
  0x2060: 'WJ',
  0x3164: 'U+3164',
  0xfeff: 'BOM',
  0xfff9: 'U+FFF9',
  0xfffa: 'U+FFFA',
  0xfffb: 'U+FFFB',
}
/** More combining marks in a row than any script needs: the rest would paint over its neighbours. */
const COMBINING_MAX = 4

/**
 * Text of devices and logs, with everything in it that would act made visible: control characters and ANSI sequences,
 * marks that turn the direction of text, invisible characters, stacks of combining marks. Pure.
 * `keepLines`: line ends and tabs stay what they are.
 */
export function visible(text: string, keepLines = false): Piece[] {
  const pieces: Piece[] = []
  let plain = ''
  let combining = 0
  const flush = () => {
    if (plain !== '') pieces.push({ text: plain, mark: false })
    plain = ''
  }
  const mark = (shown: string) => {
    flush()
    const last = pieces[pieces.length - 1]
    if (last?.mark) last.text += shown
    else pieces.push({ text: shown, mark: true })
  }
  for (let i = 0; i < text.length; ) {
    const code = text.codePointAt(i) ?? 0
    const char = String.fromCodePoint(code)
    if (code === 0x1b || code === 0x9b) {
      const sequence = ansi(text, i)
      mark(code === 0x1b ? `␛${sequence}` : `CSI${sequence}`)
      i += 1 + sequence.length
      continue
    }
    i += char.length
    if (/\p{M}/u.test(char)) {
      combining += 1
      if (combining > COMBINING_MAX) continue
    } else {
      combining = 0
    }
    const shown = standIn(code, keepLines)
    if (shown === undefined) plain += char
    else mark(shown)
  }
  flush()
  return pieces
}

/** The same as one text, for titles and for what is read aloud. */
export function visibleText(text: string): string {
  return visible(text)
    .map((piece) => piece.text)
    .join('')
}

function standIn(code: number, keepLines: boolean): string | undefined {
  if (keepLines && (code === 0x0a || code === 0x09)) return undefined
  if (code < 0x20) return String.fromCodePoint(0x2400 + code)
  if (code === 0x7f) return '␡'
  if (code >= 0x80 && code < 0xa0) return `\\x${code.toString(16)}`
  if (code >= 0xd800 && code <= 0xdfff) return `\\u${code.toString(16)}`
  const bidi = BIDI[code]
  if (bidi !== undefined) return `⟦${bidi}⟧`
  const invisible = INVISIBLE[code]
  if (invisible !== undefined) return `⟦${invisible}⟧`
  // Whatever else Unicode says is not to be drawn; marks that belong to a letter before them are counted by their caller.
  const char = String.fromCodePoint(code)
  if (/\p{DI}/u.test(char) && (code >= 0xe0000 || !/\p{M}/u.test(char))) return `⟦U+${code.toString(16).toUpperCase()}⟧`
  return undefined
}

/** What follows ESC (or C1 CSI) at `at` and belongs to it, at most 32 characters: enough for any that means something. */
function ansi(text: string, at: number): string {
  const rest = text.slice(at + 1, at + 33)
  // Only ASCII that can be printed: whatever else is in it is shown by itself.
  const csi = /^\[?[0-9;:<=>?]*[ -/]*[@-~]/
  const osc = /^\][ -~]*/
  return (osc.exec(rest) ?? csi.exec(rest))?.[0] ?? ''
}
