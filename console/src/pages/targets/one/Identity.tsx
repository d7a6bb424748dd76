import { Link } from 'react-router'
import { useMessages } from '../../../app/messages'
import { JsonText } from '../../../parts/JsonText'
import { SafeText } from '../../../parts/SafeText'
import { Time } from '../../../parts/Time'
import { placeOf, selectorOf, type Target } from '../target'
import { messages } from './messages'

const PLACE = ['site', 'row', 'rack', 'unit']

/** What it is and where: as its record says, with a way to those beside it. */
export function Identity({ target }: { target: Target }) {
  const t = useMessages(messages)
  const { spec, labels, status } = target
  const place = placeOf(target)
  const beside = selectorOf([
    ['site', labels['site']],
    ['row', labels['row']],
    ['rack', labels['rack']],
  ])
  const others = Object.entries(labels).filter(([key]) => !PLACE.includes(key))
  const annotations = Object.entries(target.annotations)
  const identity = Object.entries(spec.identity)
  return (
    <section className="part">
      <h2>{t.identity}</h2>
      <dl className="facts">
        <dt>{t.kind}</dt>
        <dd>
          <Link to={`/workers/${encodeURIComponent(spec.kind)}`}>
            <SafeText text={spec.kind} max={64} mono still />
          </Link>
        </dd>
        <dt>{t.place}</dt>
        <dd>
          {place === '' ? <span className="dim">{t.noPlace}</span> : beside === undefined ? <SafeText text={place} max={120} mono /> : <ToTargets selector={beside} text={place} />}
        </dd>
        {others.length > 0 ? (
          <>
            <dt>{t.labels}</dt>
            <dd className="words">
              {others.map(([key, value]) => {
                const selector = selectorOf([[key, value]])
                const text = value === '' ? key : `${key}=${value}`
                return <span key={key}>{selector === undefined ? <SafeText text={text} max={120} mono /> : <ToTargets selector={selector} text={text} />}</span>
              })}
            </dd>
          </>
        ) : null}
        <dt>{t.address}</dt>
        <dd>
          <SafeText text={spec.address} max={200} mono />
        </dd>
        <dt>{t.zone}</dt>
        <dd>
          <SafeText text={spec.zone} max={64} mono />
        </dd>
        {spec.secret === undefined ? null : (
          <>
            <dt>{t.secret}</dt>
            <dd>
              <SafeText text={spec.secret} max={64} mono />
            </dd>
          </>
        )}
        {identity.length > 0 ? (
          <>
            <dt>{t.mustBe}</dt>
            <dd className="words">
              {identity.map(([key, value]) => (
                <SafeText key={key} text={`${key} ${value}`} max={100} mono />
              ))}
            </dd>
          </>
        ) : null}
        {Object.keys(spec.config).length > 0 ? (
          <>
            <dt>{t.config}</dt>
            <dd>
              <JsonText value={spec.config} max={1000} />
            </dd>
          </>
        ) : null}
        {annotations.length > 0 ? (
          <>
            <dt>{t.annotations}</dt>
            <dd className="words">
              {annotations.map(([key, value]) => (
                <SafeText key={key} text={`${key}: ${value}`} max={200} />
              ))}
            </dd>
          </>
        ) : null}
        <dt>{t.observed}</dt>
        <dd>
          {status.observedAt === undefined ? <span className="dim">{t.never}</span> : <Time at={status.observedAt} />}
          {status.observe.failures ? (
            <span className="tone-bad">
              {' · '}
              {t.failures(status.observe.failures)}, {t.nextAt} <Time at={status.observe.nextAt} />
            </span>
          ) : null}
        </dd>
        <dt>{t.created}</dt>
        <dd>
          <Time at={target.createdAt} /> <span className="dim">· {t.revision} {target.revision}</span>
        </dd>
      </dl>
    </section>
  )
}

function ToTargets({ selector, text }: { selector: string; text: string }) {
  return (
    <Link to={`/targets?selector=${encodeURIComponent(selector)}`}>
      <SafeText text={text} max={120} mono still />
    </Link>
  )
}
