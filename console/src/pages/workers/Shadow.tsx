import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { count } from '../../parts/format'
import { Meter } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import { messages } from './messages'
import { cellWords, type ShadowStatus } from './release'

/** What reading everything a second time by the new version has found. */
export function Shadow({ shadow, version, replaces }: { shadow: ShadowStatus; version: string; replaces: string }) {
  const t = useMessages(messages)
  const [compared, same, skipped] = [shadow.compared ?? 0, shadow.same ?? 0, shadow.skipped ?? 0]
  const differences = shadow.differences ?? []
  return (
    <>
      <div className="rule-share">
        <Meter
          label={t.compared}
          total={Math.max(1, compared)}
          parts={[
            { value: same, tone: 'ok', word: t.alike },
            { value: compared - same, tone: 'bad', word: t.differ },
          ]}
        />
        <span>{t.comparedOf(count(compared), count(same), count(skipped))}</span>
      </div>
      {differences.length === 0 ? (
        <p className="none dim">{t.noDifference}</p>
      ) : (
        <div className="scrolls" role="region" aria-label={t.differences} tabIndex={0}>
          <table className="plain-table">
            <thead>
              <tr>
                <th scope="col" className="number">{t.times}</th>
                <th scope="col">{t.field}</th>
                <th scope="col">{replaces}</th>
                <th scope="col">{version}</th>
                <th scope="col">{t.target}</th>
                <th scope="col">{t.cell}</th>
              </tr>
            </thead>
            <tbody>
              {differences.map((each, at) => (
                <tr key={at}>
                  <td className="number">{count(each.count)}</td>
                  <td>
                    <SafeText text={each.field} max={80} mono />
                  </td>
                  <td>
                    <SafeText text={each.stable} max={120} />
                  </td>
                  <td>
                    <SafeText text={each.candidate} max={160} />
                  </td>
                  <td>
                    <Link to={`/targets/${encodeURIComponent(each.target)}`}>
                      <SafeText text={each.target} max={48} mono still />
                    </Link>
                  </td>
                  <td>
                    <SafeText text={cellWords(each.cell)} max={120} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}
