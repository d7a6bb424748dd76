import { type Actor as ActorSeen, ownAct, whoOf } from './audit'
import { SafeText } from './SafeText'
import { Mark } from './StateBadge'
import { visibleText } from './visible'

/** Who acted: the role, and the name that the caller gave. What sengu did by itself has a mark, and no name can have it. */
export function Actor({ by, max = 48 }: { by: ActorSeen; max?: number }) {
  const own = ownAct(by)
  return (
    <span className={own ? 'actor own' : 'actor'} title={visibleText(whoOf(by))}>
      {own ? <Mark tone="odd" shape="hexagon" /> : null}
      <span className={own ? undefined : 'dim'}>
        <SafeText text={by.role} max={24} still />
      </span>
      {by.name ? (
        <>
          {' '}
          <b>
            <SafeText text={by.name} max={max} still />
          </b>
        </>
      ) : null}
    </span>
  )
}
