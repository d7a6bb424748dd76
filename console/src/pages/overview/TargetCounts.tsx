import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import type { components } from '../../api/openapi'
import { count, percent } from '../../parts/format'
import { Meter } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import type { Shape, Tone } from '../../parts/states'
import { Mark } from '../../parts/StateBadge'
import { messages } from './messages'

type Counts = components['schemas']['TargetCounts']
type Seen = components['schemas']['TargetsSeen']
type Figure = { key: keyof Counts & ('reachable' | 'unreachable' | 'unknown' | 'quarantined' | 'maintenance' | 'failing'); tone: Tone; shape: Shape; where: string }

const FIGURES: Figure[] = [
  { key: 'reachable', tone: 'ok', shape: 'dot', where: 'reachable=true' },
  { key: 'unreachable', tone: 'bad', shape: 'triangle', where: 'reachable=false' },
  { key: 'unknown', tone: 'odd', shape: 'diamond', where: 'reachable=unknown' },
  { key: 'quarantined', tone: 'bad', shape: 'hexagon', where: 'quarantined=true' },
  { key: 'maintenance', tone: 'idle', shape: 'square', where: 'maintenance=true' },
  { key: 'failing', tone: 'warn', shape: 'cross', where: 'failing=true' },
]

function to(where: string): string {
  return `/targets?view=table&selector=${encodeURIComponent(where)}`
}

/** Targets by how they stand: the whole, then by kind and by zone. Each number leads to its list. */
export function Targets({ targets }: { targets: Seen }) {
  const t = useMessages(messages)
  return (
    <section className="part">
      <h2>{t.targets}</h2>
      <ul className="figures">
        <li>
          <Link to="/targets">
            <b>{count(targets.total)}</b>
            <span>{t.total}</span>
          </Link>
        </li>
        {FIGURES.map(({ key, tone, shape, where }) => (
          <li key={key} className={targets[key] === 0 ? 'zero' : undefined}>
            <Link to={to(where)}>
              <b className={targets[key] > 0 && tone === 'bad' ? 'tone-bad' : undefined}>{count(targets[key])}</b>
              <span>
                <span className={`tone-${tone}`}>
                  <Mark tone={tone} shape={shape} />
                </span>{' '}
                {t[key]}
              </span>
            </Link>
          </li>
        ))}
      </ul>
      <Split by="kind" rows={targets.byKind.map((row) => [row.kind, row])} />
      {targets.byZone.length > 1 ? <Split by="zone" rows={targets.byZone.map((row) => [row.zone, row])} /> : null}
    </section>
  )
}

function Split({ by, rows }: { by: 'kind' | 'zone'; rows: [string, Counts][] }) {
  const t = useMessages(messages)
  return (
    <table className="plain-table split">
      <thead>
        <tr>
          <th scope="col">{t[by]}</th>
          <th scope="col" className="number">
            {t.total}
          </th>
          <th scope="col" className="wide-only">
            {t.share}
          </th>
          <th scope="col" className="number">
            {t.reachable}
          </th>
          <th scope="col" className="number">
            {t.unreachable}
          </th>
          <th scope="col" className="number">
            {t.quarantined}
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, counts]) => (
          <tr key={name}>
            <td>
              <Link to={to(`${by}=${name}`)}>
                <SafeText text={name} max={40} mono still />
              </Link>
            </td>
            <td className="number">{count(counts.total)}</td>
            <td className="wide-only">
              <Meter
                label={name}
                total={counts.total}
                parts={[
                  { value: counts.reachable, tone: 'ok', word: t.reachable },
                  { value: counts.unreachable, tone: 'bad', word: t.unreachable },
                  { value: counts.unknown, tone: 'odd', word: t.unknown },
                ]}
              />
            </td>
            <td className="number">{percent(counts.reachable, counts.total)}</td>
            <td className={counts.unreachable > 0 ? 'number tone-bad' : 'number dim'}>{count(counts.unreachable)}</td>
            <td className={counts.quarantined > 0 ? 'number tone-bad' : 'number dim'}>{count(counts.quarantined)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
