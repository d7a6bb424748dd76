import { useMessages } from '../../app/messages'
import { useNow } from '../../parts/clock'
import { exact } from '../../parts/Time'
import { messages } from './messages'
import type { Seen } from './seen'

const DAY_MS = 86_400_000

/** The time of day, with the day when it is not of the last one. What is not certain has a tilde, and says why. */
export function When({ seen }: { seen: Seen }) {
  const t = useMessages(messages)
  const now = useNow()
  if (seen.at === undefined) return <span className="dim">–</span>
  const text = exact(seen.at)
  const old = now - seen.at > DAY_MS
  const why = seen.about ? t.about : seen.what === 'task' ? undefined : t.seenHere
  return (
    <time dateTime={new Date(seen.at).toISOString()} title={why === undefined ? text : `${text}\n${why}`} className={seen.about ? 'mono dim' : 'mono'}>
      {seen.about ? '~' : ''}
      {old ? text.slice(5, 16) : text.slice(11, 23)}
    </time>
  )
}
