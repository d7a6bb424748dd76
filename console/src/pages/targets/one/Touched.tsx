import { SafeText } from '../../../parts/SafeText'
import { StateBadge } from '../../../parts/StateBadge'
import { placeOf, stateOf, type Target } from '../target'

/** The target a dialog is about, told apart from its neighbours. */
export function Touched({ target }: { target: Target }) {
  return (
    <p>
      <b>
        <SafeText text={target.name} max={128} mono />
      </b>{' '}
      · <SafeText text={target.spec.kind} max={64} mono /> · <SafeText text={target.spec.address} max={120} mono />
      {placeOf(target) === '' ? null : (
        <>
          {' '}
          · <SafeText text={placeOf(target)} max={120} mono />
        </>
      )}{' '}
      · <StateBadge state={stateOf(target)} />
    </p>
  )
}
