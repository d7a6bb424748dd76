import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import type { components } from '../../api/openapi'
import { count } from '../../parts/format'
import { Slots } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import { Mark, StateBadge } from '../../parts/StateBadge'
import { messages } from './messages'

type Schemas = components['schemas']

export function Environments({ wees }: { wees: Schemas['WeeSeen'][] }) {
  const t = useMessages(messages)
  return (
    <section className="part">
      <h2>{t.wees}</h2>
      {wees.length === 0 ? (
        <p className="none tone-bad">{t.weesNone}</p>
      ) : (
        <table className="plain-table">
          <thead>
            <tr>
              <th scope="col">{t.name}</th>
              <th scope="col">{t.state}</th>
              <th scope="col">{t.zone}</th>
              <th scope="col">{t.slots}</th>
              <th scope="col">{t.version}</th>
            </tr>
          </thead>
          <tbody>
            {wees.map((wee) => (
              <tr key={wee.name}>
                <td>
                  <Link to={`/workers/wees/${encodeURIComponent(wee.name)}`}>
                    <SafeText text={wee.name} max={40} mono still />
                  </Link>
                </td>
                <td>
                  <StateBadge state={wee.state} />
                </td>
                <td>
                  <SafeText text={wee.zone} max={32} mono still />
                </td>
                <td>
                  <Slots used={wee.slotsUsed} slots={wee.slots} label={wee.name} word={t.slots} />
                </td>
                <td className="mono">{wee.version}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}

export function Zones({ zones }: { zones: Schemas['ZoneSeen'][] }) {
  const t = useMessages(messages)
  return (
    <section className="part">
      <h2>{t.zones}</h2>
      <table className="plain-table">
        <thead>
          <tr>
            <th scope="col">{t.zone}</th>
            <th scope="col" className="number">
              {t.targetCount}
            </th>
            <th scope="col" className="number">
              {t.weeCount}
            </th>
            <th scope="col">{t.slots}</th>
          </tr>
        </thead>
        <tbody>
          {zones.map((zone) => (
            <tr key={zone.zone}>
              <td>
                <Link to={`/targets?view=table&selector=${encodeURIComponent(`zone=${zone.zone}`)}`}>
                  <SafeText text={zone.zone} max={40} mono still />
                </Link>
              </td>
              <td className="number">{count(zone.targets)}</td>
              <td className="number">
                {zone.wees === 0 ? (
                  <span className="tone-bad">
                    <Mark tone="bad" shape="triangle" /> {t.zoneUnserved}
                  </span>
                ) : (
                  count(zone.wees)
                )}
              </td>
              <td>
                <Slots used={zone.slotsUsed} slots={zone.slots} label={zone.zone} word={t.slots} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
