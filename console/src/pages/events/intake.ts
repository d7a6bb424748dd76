import type { StreamEvent } from '../../api/stream'

/** Events read in one turn; what comes faster is counted and not read. */
export const READ_MAX = 200

/** What is counted while a stream is followed. */
export type Counts = { came: number; notRead: number }

/**
 * Takes events as fast as they come and gives them out in turns. Reading one costs far more than counting it, so of
 * more than a page can show only a part is read, spread over what came. With a name, what cannot have it is not read.
 */
export class Intake {
  private kept: StreamEvent[] = []
  private candidates = 0
  came = 0
  notRead = 0

  constructor(
    private readonly name = '',
    private readonly random: () => number = Math.random,
  ) {}

  push(event: StreamEvent): void {
    this.came += 1
    if (this.name !== '' && !event.data.includes(this.name)) return
    this.candidates += 1
    if (this.kept.length < READ_MAX) {
      this.kept.push(event)
      return
    }
    this.notRead += 1
    // Each that came in this turn is as likely as any other to be read.
    const at = Math.floor(this.random() * this.candidates)
    if (at < READ_MAX) {
      this.kept.splice(at, 1)
      this.kept.push(event)
    }
  }

  take(): StreamEvent[] {
    const taken = this.kept
    this.kept = []
    this.candidates = 0
    return taken
  }
}
