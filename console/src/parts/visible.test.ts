import { describe, expect, test } from 'vitest'
import { visible, visibleText } from './visible'

describe('hostile text', () => {
  test.each([
    ['plain', 'bmc-1', 'bmc-1'],
    ['Japanese', '東京データセンター', '東京データセンター'],
    ['markup stays text', '<script>alert(1)</script>', '<script>alert(1)</script>'],
    ['turned right to left', 'a\u202Egnp.exe', 'a⟦RLO⟧gnp.exe'],
    ['an isolate left open', '\u2067x', '⟦RLI⟧x'],
    ['letters that run right to left are letters', 'שלום', 'שלום'],
    ['an ANSI colour', '\x1b[31mred\x1b[0m', '␛[31mred␛[0m'],
    ['an ANSI title', '\x1b]0;owned\x07', '␛]0;owned␇'],
    ['C1 CSI', '\x9b2J', 'CSI2J'],
    ['ESC at the end', 'x\x1b', 'x␛'],
    ['line end and tab', 'a\nb\tc', 'a␊b␉c'],
    ['NUL, DEL, NEL', 'a\0b\x7fc\x85d', 'a␀b␡c\\x85d'],
    ['nothing between', 'a\u200Bb\uFEFFc', 'a⟦ZWSP⟧b⟦BOM⟧c'],
    ['tags', '\u{E0041}', '⟦U+E0041⟧'],
    ['an operator that is not drawn', 'a\u2062b', 'a⟦U+2062⟧b'],
    ['the colour of a sign', '❤\uFE0F', '❤\uFE0F'],
    ['half a pair', 'a\uD800b', 'a\\ud800b'],
    ['a whole pair', '😀', '😀'],
    ['empty', '', ''],
  ])('%s', (_, text, shown) => {
    expect(visibleText(text)).toBe(shown)
  })

  test('keeps lines where it is asked to', () => {
    expect(visible('a\n\tb\r', true)).toEqual([
      { text: 'a\n\tb', mark: false },
      { text: '␍', mark: true },
    ])
  })

  test('a tower of marks is cut down to what scripts need', () => {
    expect(visibleText(`a${'\u0301'.repeat(200)}b`)).toBe(`a${'\u0301'.repeat(4)}b`)
  })

  test('nothing that acts is left, whatever the character', () => {
    const acting = /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u
    const left: string[] = []
    for (let code = 0; code < 0x3000; code++) if (acting.test(visibleText(String.fromCodePoint(code)))) left.push(code.toString(16))
    expect(left).toEqual([])
  })

  test('what a sequence hides is seen by itself', () => {
    expect(visibleText('\x1b[\u202E31m')).toBe('␛[⟦RLO⟧31m')
  })
})
