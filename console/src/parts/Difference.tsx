import { useMessages } from '../app/messages'
import { oneLine, type Place } from './difference'
import { messages } from './messages'
import { SafeText } from './SafeText'

/** Places where something differs, each with what it was and what it became. */
export function Difference({ places }: { places: readonly Place[] }) {
  const t = useMessages(messages)
  return (
    <table className="plain-table difference">
      <thead>
        <tr>
          <th scope="col">{t.place}</th>
          <th scope="col">{t.before}</th>
          <th scope="col">{t.after}</th>
        </tr>
      </thead>
      <tbody>
        {places.map((place) => (
          <tr key={place.path}>
            <th scope="row">
              <SafeText text={place.path} max={160} mono />
            </th>
            <Side value={place.before} />
            <Side value={place.after} />
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Side({ value }: { value: unknown }) {
  const t = useMessages(messages)
  return <td>{value === undefined ? <span className="dim">{t.absent}</span> : <SafeText text={oneLine(value)} max={240} mono />}</td>
}
