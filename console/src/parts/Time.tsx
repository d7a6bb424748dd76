import { useMessages } from '../app/messages'
import { useSettings } from '../app/settings'
import { useNow } from './clock'
import { duration } from './format'
import { messages } from './messages'

/** A moment: how long ago, with the full time and zone in its title. */
export function Time({ at, bare = false }: { at: string | null | undefined; bare?: boolean }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  const now = useNow()
  const then = at ? Date.parse(at) : NaN
  if (!at || Number.isNaN(then)) return <span className="dim">–</span>
  const past = now - then
  const long = duration(Math.floor(Math.abs(past) / 1000) * 1000, language)
  const text = Math.abs(past) < 1500 ? t.now : bare ? long : past > 0 ? t.ago(long) : t.inFuture(long)
  return (
    <time dateTime={at} title={exact(then)} className="time">
      {text}
    </time>
  )
}

/** Local time to the millisecond with its offset, so that it can be laid beside a log. */
export function exact(at: number): string {
  const date = new Date(at)
  const offset = -date.getTimezoneOffset()
  const pad = (n: number, width = 2) => String(Math.abs(n)).padStart(width, '0')
  const zone = `${offset < 0 ? '-' : '+'}${pad(Math.trunc(offset / 60))}:${pad(offset % 60)}`
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)} ${zone}`
}

/** The time of day, for columns where all is of today. */
export function Clock({ at }: { at: string }) {
  const text = exact(Date.parse(at))
  return (
    <time dateTime={at} title={text} className="mono">
      {text.slice(11, 23)}
    </time>
  )
}
