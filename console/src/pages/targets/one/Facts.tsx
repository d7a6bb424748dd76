import { useMemo } from 'react'
import { useMessages } from '../../../app/messages'
import { JsonText } from '../../../parts/JsonText'
import { SafeText } from '../../../parts/SafeText'
import type { Target } from '../target'
import { factRows } from './facts'
import { messages } from './messages'

/** What was observed of the device. All of it is the device's own text. */
export function Facts({ target }: { target: Target }) {
  const t = useMessages(messages)
  const rows = useMemo(() => factRows(target.status.facts), [target.status.facts])
  return (
    <section className="part">
      <h2>
        {t.facts} <span className="dim">{rows.length > 0 ? rows.length : null}</span>
      </h2>
      {rows.length === 0 ? <p className="none dim">{t.noFacts}</p> : null}
      <dl className="facts one-facts">
        {rows.map((row) => (
          <div key={row.name} className="fact">
            <dt>
              <SafeText text={row.name} max={80} still />
            </dt>
            <dd>{'nested' in row ? <JsonText value={row.nested} max={1000} /> : <SafeText text={String(row.value)} max={200} mono />}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
