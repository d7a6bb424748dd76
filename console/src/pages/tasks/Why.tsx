import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { api, body } from '../../api/client'
import { asProblem } from '../../api/problem'
import { CommandHint } from '../../parts/CommandHint'
import { SafeText } from '../../parts/SafeText'
import { Said } from '../../parts/Said'
import { sengu } from '../../parts/shell-words'
import { Loading, Problem } from '../../parts/Standing'
import { messages } from './messages'

const REFRESH_MS = 2_000

/** Why something stands where it stands: one sentence, who is in the way, and what else bears on it. */
export function Why({ object, name, live }: { object: 'task' | 'run' | 'target'; name: string; live: boolean }) {
  const t = useMessages(messages)
  const why = useQuery({
    queryKey: ['why', object, name, live],
    queryFn: ({ signal }) => body(api.GET('/v1/why/{object}/{name}', { params: { path: { object, name } }, signal })),
    refetchInterval: live ? REFRESH_MS : false,
    placeholderData: (before) => before,
  })
  if (!why.data) return why.error ? <Problem problem={asProblem(why.error)} /> : <Loading />
  const { sentence, holder, details = [] } = why.data
  return (
    <section className="why" aria-label={t.why}>
      <p className="why-sentence">
        <b>{t.why}</b> <Said text={sentence} saying={why.data} max={500} />
        {holder ? (
          <>
            {' '}
            <Link to={`/tasks/${encodeURIComponent(holder)}`} className="mono">
              {t.toHolder(holder)}
            </Link>
          </>
        ) : null}
      </p>
      {details.length > 0 ? (
        <ul className="dim" lang="en">
          {details.map((line, at) => (
            <li key={at}>
              <SafeText text={line} max={400} />
            </li>
          ))}
        </ul>
      ) : null}
      <CommandHint command={sengu('why', object === 'task' || object === 'run' ? name : `${object}/${name}`)} call={{ path: `/v1/why/${object}/${encodeURIComponent(name)}` }} />
    </section>
  )
}
