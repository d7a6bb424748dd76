import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import type { components } from '../../api/openapi'
import { Slots } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import { Empty } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { messages } from './messages'
import { WeeActs } from './WeeActs'

type Schemas = components['schemas']

export function WeeTable({ wees }: { wees: { announced: Schemas['WeeAnnouncement'][]; seen: Schemas['WeeSeen'][] } }) {
  const t = useMessages(messages)
  if (wees.seen.length === 0) return <Empty title={t.noWees} />
  const announced = new Map(wees.announced.map((wee) => [wee.name, wee]))
  return (
    <div className="scrolls" role="region" aria-label={t.wees} tabIndex={0}>
      <table className="plain-table wees">
        <thead>
          <tr>
            <th scope="col">{t.name}</th>
            <th scope="col">{t.state}</th>
            <th scope="col">{t.zone}</th>
            <th scope="col">{t.runtimes}</th>
            <th scope="col">{t.slots}</th>
            <th scope="col">{t.senguVersion}</th>
            <th scope="col">{t.acts}</th>
          </tr>
        </thead>
        <tbody>
          {wees.seen.map((wee) => (
            <tr key={wee.name}>
              <th scope="row">
                <Link to={`/workers/wees/${encodeURIComponent(wee.name)}`}>
                  <SafeText text={wee.name} max={48} mono still />
                </Link>
              </th>
              <td>
                <StateBadge state={wee.state} />
              </td>
              <td>
                <SafeText text={wee.zone} max={32} mono still />
              </td>
              <td>
                <SafeText text={announced.get(wee.name)?.runtimes.join(' ')} max={48} mono still />
              </td>
              <td>
                <Slots used={wee.slotsUsed} slots={wee.slots} label={wee.name} word={t.slots} />
              </td>
              <td className="mono">{wee.version}</td>
              <td>
                <WeeActs wee={wee} embedded={announced.get(wee.name)?.embedded ?? false} small />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
