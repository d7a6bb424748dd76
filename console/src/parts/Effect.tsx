import { useMessages } from '../app/messages'
import { messages } from './messages'
import { Mark } from './StateBadge'

/** What an action does to the device when something goes wrong on the way: the first thing to know before running it. */
export function Effect({ effect, short = false }: { effect: string; short?: boolean }) {
  const t = useMessages(messages)
  const long =
    effect === 'read'
      ? t.effectRead
      : effect === 'idempotent'
        ? t.effectIdempotent
        : effect === 'probe'
          ? t.effectProbe
          : effect === 'once'
            ? t.effectOnce
            : effect
  const tone = effect === 'read' ? 'idle' : effect === 'idempotent' ? 'busy' : 'warn'
  const shape = effect === 'read' ? 'ring' : effect === 'idempotent' ? 'dot' : 'triangle'
  return (
    <span className={`badge tone-${tone}`} title={short ? long : undefined}>
      <Mark tone={tone} shape={shape} />
      <span className="badge-word">{short ? effect : long}</span>
    </span>
  )
}
