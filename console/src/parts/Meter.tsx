import { count } from './format'
import type { Tone } from './states'

export type MeterPart = { value: number; tone: Tone; word: string }

type Props = {
  /** What is measured, for those who hear it. */
  label: string
  parts: MeterPart[]
  total: number
  /** A limit that is drawn as a line, such as a failure budget. */
  limit?: number
}

/** Shares of a whole as one bar. The numbers stand beside it in text: the bar is never the only carrier. */
export function Meter({ label, parts, total, limit }: Props) {
  const whole = Math.max(total, 1)
  const said = parts
    .filter((part) => part.value > 0)
    .map((part) => `${part.word} ${part.value}`)
    .join(', ')
  return (
    <span className="meter" role="img" aria-label={`${label}: ${said === '' ? '0' : said} / ${total}`}>
      {parts.map((part) =>
        part.value > 0 ? (
          <span
            key={part.word}
            className={`meter-part tone-${part.tone}`}
            style={{ width: `${Math.min(100, (part.value / whole) * 100)}%` }}
          />
        ) : null,
      )}
      {limit !== undefined && limit <= whole ? (
        <span className="meter-limit" style={{ left: `${(limit / whole) * 100}%` }} />
      ) : null}
    </span>
  )
}

/** How many slots of an execution environment or a zone are taken. */
export function Slots({ used, slots, label, word }: { used: number; slots: number; label: string; word: string }) {
  return (
    <div className="slots">
      <Meter label={label} total={slots} parts={[{ value: used, tone: used >= slots ? 'warn' : 'busy', word }]} />
      <span className="number">
        {count(used)}/{count(slots)}
      </span>
    </div>
  )
}
