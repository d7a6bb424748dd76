import { describe, expect, it } from 'vitest'
import { found, limitText } from './limits'
import { bytesOf, shownBody } from './parked'

const base64 = (bytes: number[]) => btoa(String.fromCharCode(...bytes))

describe('the body of a parked message', () => {
  it.each([
    ['JSON is laid out', btoa('{"a":1}'), { text: '{\n  "a": 1\n}', binary: false, length: 7 }],
    ['text stays text', btoa('hello'), { text: 'hello', binary: false, length: 5 }],
    ['text cut within a character', base64([0x61, 0xe3, 0x81]), { text: 'a', binary: false, length: 3 }],
    ['bytes', base64([0x00, 0xff, 0x41]), { text: '000000  00 ff 41                                         ..A', binary: true, length: 3 }],
    ['nothing', '', { text: '', binary: false, length: 0 }],
    ['no base64', '*', { text: '*', binary: false, length: 1 }],
  ])('%s', (_, body, shown) => {
    expect(shownBody(body)).toEqual(shown)
  })
  it('is no base64', () => {
    expect(bytesOf('%%%')).toBeUndefined()
  })
})

describe('limits', () => {
  it.each([
    [20_000, 'ms', '20s'],
    [43_200_000, 'ms', '12h'],
    [1_048_576, 'bytes', '1.0 MiB'],
    [100_000, 'count', '100,000'],
    [5, 'furlong', '5 furlong'],
  ])('%i %s', (value, unit, text) => {
    expect(limitText({ name: 'x', value, unit, why: '' }, 'en')).toBe(text)
  })
  it('are found by all words', () => {
    const all = ['lease_ms a task', 'beat_ms a worker']
    expect(found(all, ' MS task ', (each) => each)).toEqual(['lease_ms a task'])
    expect(found(all, '', (each) => each)).toEqual(all)
  })
})
