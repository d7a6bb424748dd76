import { useMessages } from '../app/messages'
import { actName, lookOfAct } from './audit'
import { actWords } from './audit-messages'
import { SafeText } from './SafeText'
import { Mark } from './StateBadge'

/** What was done, by shape, word and colour. `what` is the server's word. */
export function ActBadge({ what }: { what: string }) {
  const t = useMessages(actWords)
  const name = actName(what)
  const [tone, shape] = lookOfAct(name)
  return (
    <span className={`badge tone-${tone}`}>
      <Mark tone={tone} shape={shape} />
      <span className="badge-word">{name ? t[name] : <SafeText text={what} max={40} still />}</span>
    </span>
  )
}
