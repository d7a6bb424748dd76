import { useMessages } from '../../app/messages'
import type { components } from '../../api/openapi'
import { measured } from '../../parts/format'
import { JsonText } from '../../parts/JsonText'
import { SafeText } from '../../parts/SafeText'
import { StateBadge } from '../../parts/StateBadge'
import { messages } from './messages'
import { saidOf } from './task'

type Ending = components['schemas']['Ending']
type Reading = { name: string; unit?: string; value: number; labels?: Record<string, string> }

/** How it ended and what came of it. */
export function Result({ ending }: { ending: Ending }) {
  const t = useMessages(messages)
  const { outcome } = ending
  const parts: [string, unknown][] =
    outcome.status === 'done'
      ? [
          [t.result, outcome.result],
          [t.before, outcome.before],
          [t.after, outcome.after],
        ]
      : outcome.status === 'failed'
        ? [[t.detail, outcome.detail]]
        : []
  const there = parts.filter(([, value]) => value !== undefined && value !== null)
  const readings = Array.isArray(ending.readings) ? (ending.readings as Reading[]) : []
  const said = saidOf(outcome)
  return (
    <section className="part">
      <h2>{t.outcome}</h2>
      <p className="outcome">
        <StateBadge state={outcome.status} /> {outcome.status === 'done' ? (outcome.changed === true ? t.changed : t.notChanged) : null}
        <SafeText text={said} max={1000} />
      </p>
      {there.length > 0 ? (
        <div className="columns">
          {there.map(([name, value]) => (
            <div key={name}>
              <h3>{name}</h3>
              <JsonText value={value} />
            </div>
          ))}
        </div>
      ) : null}
      {ending.facts && Object.keys(ending.facts).length > 0 ? (
        <details className="more">
          <summary>{t.facts(Object.keys(ending.facts).length)}</summary>
          <JsonText value={ending.facts} max={8000} />
        </details>
      ) : null}
      {readings.length > 0 ? (
        <details className="more">
          <summary>{t.readings(readings.length)}</summary>
          <ul className="readings">
            {readings.slice(0, 500).map((reading, at) => (
              <li key={at}>
                <SafeText text={[reading.name, ...Object.values(reading.labels ?? {})].join(' ')} max={100} mono />{' '}
                <b>{measured(reading.value)}</b> <SafeText text={reading.unit ?? ''} max={16} still />
              </li>
            ))}
          </ul>
        </details>
      ) : null}
    </section>
  )
}
