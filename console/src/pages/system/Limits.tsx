import { useQuery } from '@tanstack/react-query'
import { Fragment, type ReactNode, useState } from 'react'
import { useMessages } from '../../app/messages'
import { useSettings } from '../../app/settings'
import { api, body } from '../../api/client'
import { asProblem } from '../../api/problem'
import { CommandHint } from '../../parts/CommandHint'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { Loading, Problem } from '../../parts/Standing'
import { found, limitText } from './limits'
import { messages } from './messages'

/** Every limit, with why it is what it is. */
export function Limits() {
  const t = useMessages(messages)
  const { language } = useSettings()
  const [words, setWords] = useState('')
  const limits = useQuery({ queryKey: ['limits'], queryFn: ({ signal }) => body(api.GET('/v1/limits', { signal })), staleTime: Infinity })
  if (!limits.data) return limits.error ? <Problem problem={asProblem(limits.error)} again={() => void limits.refetch()} /> : <Loading />
  const shown = found(limits.data, words, (limit) => `${limit.name} ${limit.why}`)
  return (
    <>
      <div className="section-bar">
        <p className="dim">{t.limitsMeans}</p>
        <CommandHint call={{ path: '/v1/limits' }} />
      </div>
      <div className="section-bar">
        <label className="filter">
          <span>{t.find}</span>
          <input value={words} maxLength={80} onChange={(event) => setWords(event.target.value)} />
        </label>
        <span className="dim" role="status">
          {shown.length === 0 ? t.noneMatch : t.ofAll(count(shown.length), count(limits.data.length))}
        </span>
      </div>
      <table className="plain-table limits">
        <thead>
          <tr>
            <th scope="col">{t.limit}</th>
            <th scope="col" className="number">
              {t.value}
            </th>
            <th scope="col">{t.why}</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((limit) => (
            <tr key={limit.name}>
              <th scope="row">
                <code>{breakable(limit.name)}</code>
              </th>
              <td className="number" title={`${limit.value} ${limit.unit}`}>
                {limitText(limit, language)}
              </td>
              <td lang="en">
                <SafeText text={limit.why} max={600} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}

/** A long name that may be broken where its words are joined. */
function breakable(name: string): ReactNode {
  return name.split(/(?<=_)/).map((word, at) => (
    <Fragment key={at}>
      {at > 0 ? <wbr /> : null}
      {word}
    </Fragment>
  ))
}
