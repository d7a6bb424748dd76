import { useMessages } from '../../app/messages'
import { Mark, StateBadge } from '../../parts/StateBadge'
import type { Shape, Tone } from '../../parts/states'
import { standingOf } from '../tasks/task'
import { messages } from './messages'
import type { Seen } from './seen'

const LOOKS: Record<Exclude<Seen['what'], 'task'>, readonly [Tone, Shape]> = {
  written: ['busy', 'square'],
  observed: ['idle', 'ring'],
  deleted: ['warn', 'cross'],
  since: ['idle', 'square'],
}

/** What happened, by shape, word and colour. */
export function What({ seen }: { seen: Seen }) {
  const t = useMessages(messages)
  if (seen.what === 'task') return seen.task ? <StateBadge state={standingOf(seen.task)} /> : null
  const [tone, shape] = LOOKS[seen.what]
  return (
    <span className={`badge tone-${tone}`}>
      <Mark tone={tone} shape={shape} />
      <span className="badge-word">{t[seen.what]}</span>
    </span>
  )
}
