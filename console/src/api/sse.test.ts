import { describe, expect, test } from 'vitest'
import { SseParser } from './sse'

const STREAM = 'id: 1\nevent: log\ndata: one\n\ndata: a\ndata:b\n\n: a comment\nid: 2\n\nretry: 1500\ndata\n\n'
const EVENTS = [
  { event: 'log', data: 'one', id: '1' },
  { event: 'message', data: 'a\nb', id: '1' },
  { event: 'message', data: '', id: '2' },
]

function all(chunks: readonly string[]): { events: unknown[]; parser: SseParser } {
  const parser = new SseParser()
  return { events: chunks.flatMap((chunk) => parser.push(chunk)), parser }
}

describe('an event stream', () => {
  test.each([
    ['whole', [STREAM]],
    ['a character at a time', Array.from(STREAM)],
    ['with CRLF', [STREAM.replaceAll('\n', '\r\n')]],
    ['with CRLF, a character at a time', Array.from(STREAM.replaceAll('\n', '\r\n'))],
  ])('is cut into the same events: %s', (_, chunks) => {
    const { events, parser } = all(chunks)
    expect(events).toEqual(EVENTS)
    expect(parser.lastId).toBe('2')
    expect(parser.retryMs).toBe(1500)
  })

  test.each([
    ['an end that is missing', 'data: x\n', []],
    ['an event without data', 'event: ping\n\n', []],
    ['one space is taken away, no more', 'data:  x\n\n', [{ event: 'message', data: ' x', id: '' }]],
    ['a field nobody knows', 'colour: red\ndata: x\n\n', [{ event: 'message', data: 'x', id: '' }]],
    ['an id with NUL', 'id: a\0b\ndata: x\n\n', [{ event: 'message', data: 'x', id: '' }]],
    ['CR alone ends lines', 'data: x\r\rdata: y\r\r\n', [{ event: 'message', data: 'x', id: '' }, { event: 'message', data: 'y', id: '' }]],
    ['the event name holds for one event', 'event: a\ndata: x\n\ndata: y\n\n', [{ event: 'a', data: 'x', id: '' }, { event: 'message', data: 'y', id: '' }]],
    ['markup is data', 'data: <script>alert(1)</script>\n\n', [{ event: 'message', data: '<script>alert(1)</script>', id: '' }]],
  ])('%s', (_, text, events) => {
    expect(all([text]).events).toEqual(events)
  })

  test('goes on with the id it was given', () => {
    const parser = new SseParser()
    parser.lastId = '41'
    expect(parser.push('data: x\n\n')).toEqual([{ event: 'message', data: 'x', id: '41' }])
  })
})
