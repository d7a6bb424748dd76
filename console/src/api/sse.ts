/** One event of a stream, as the HTML standard defines them. */
export type StreamEvent = { event: string; data: string; id: string }

/** A line longer than this ends the stream: the server sends none, and the tab's memory stays flat. */
const LINE_CHARS_MAX = 64 * 1024 * 1024

/** Cuts the text of an event stream into events, however it was chopped up on the way. Pure. */
export class SseParser {
  private rest = ''
  private data: string[] = []
  private event = ''
  lastId = ''
  retryMs: number | undefined

  push(text: string): StreamEvent[] {
    const events: StreamEvent[] = []
    this.rest += text
    if (this.rest.length > LINE_CHARS_MAX) throw new Error('a line of the stream is too long')
    for (;;) {
      const end = this.rest.search(/[\r\n]/)
      if (end < 0) break
      // A CR at the very end may be half of a CRLF.
      if (this.rest[end] === '\r' && end === this.rest.length - 1) break
      const line = this.rest.slice(0, end)
      this.rest = this.rest.slice(end + (this.rest.startsWith('\r\n', end) ? 2 : 1))
      const event = this.line(line)
      if (event) events.push(event)
    }
    return events
  }

  private line(line: string): StreamEvent | undefined {
    if (line === '') return this.dispatch()
    if (line.startsWith(':')) return undefined
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'data') this.data.push(value)
    else if (field === 'event') this.event = value
    else if (field === 'id' && !value.includes('\0')) this.lastId = value
    else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value)
    return undefined
  }

  private dispatch(): StreamEvent | undefined {
    const { data, event } = this
    this.data = []
    this.event = ''
    if (data.length === 0) return undefined
    return { event: event === '' ? 'message' : event, data: data.join('\n'), id: this.lastId }
  }
}
