import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { curl, quote, sengu } from './shell-words'

const WORDS = ['plain', '', 'two words', "it's", '$(reboot)', '`reboot`', '"', '\\', 'a\nb', '\x1b[31m', '\u202Egnp', '!history', '-l', '~', 'ü 東京', "$'x'", '*']

describe('a word for the shell', () => {
  test.each(WORDS.map((word) => [word]))('%j comes back as it was', (word) => {
    const said = execFileSync('bash', ['-c', `printf '%s' ${quote(word)}`], { encoding: 'utf8' })
    expect(said).toBe(word)
  })

  test.each([
    ['bmc-1', 'bmc-1'],
    ['rack=r1', 'rack=r1'],
    ['a b', "'a b'"],
    ["it's", "'it'\\''s'"],
    ['a\nb', "$'a\\x0ab'"],
  ])('%j is quoted as little as can be', (word, quoted) => {
    expect(quote(word)).toBe(quoted)
  })

  test('nothing that acts in a terminal is left in a command', () => {
    expect(sengu('why', undefined, 'target/\x1b]0;x\x07\u202E')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  })

  test('a call names its method and body, and no token', () => {
    const text = curl('http://h', 'POST', '/v1/tasks', { targets: ["a'b"] })
    expect(text).toContain('-X POST')
    expect(text).toContain(`'{"targets":["a'\\''b"]}'`)
    expect(text).toContain('$SENGU_TOKEN_FILE')
    expect(curl('http://h', 'GET', '/v1/why/task/t-1')).not.toContain('-X')
  })
})
