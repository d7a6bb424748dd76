import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { api, body } from '../../api/client'
import { asProblem } from '../../api/problem'
import { CommandHint } from '../../parts/CommandHint'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Loading, Problem } from '../../parts/Standing'
import { messages } from './messages'
import type { Task } from './task'

/** Which version of the worker does it, where, and by which rule. */
export function Chosen({ task }: { task: Task }) {
  const t = useMessages(messages)
  const chosen = useQuery({
    queryKey: ['explain', task.id, task.state, task.attempt],
    queryFn: ({ signal }) => body(api.GET('/v1/tasks/{id}/explain', { params: { path: { id: task.id } }, signal })),
    placeholderData: (before) => before,
  })
  return (
    <section className="part">
      <div className="part-head">
        <h2>{t.worker}</h2>
        <CommandHint command={sengu('explain', 'task', task.id)} call={{ path: `/v1/tasks/${task.id}/explain` }} />
      </div>
      {chosen.data ? (
        <dl className="facts">
          <dt>{chosen.data.ended ? t.doneBy : t.wouldBeDoneBy}</dt>
          <dd>
            {chosen.data.version ? (
              <Link to={`/workers/${encodeURIComponent(chosen.data.kind)}`} className="mono">
                {chosen.data.kind}@{chosen.data.version}
              </Link>
            ) : (
              <span className="tone-bad">{t.nobody}</span>
            )}
          </dd>
          <dt>{t.because}</dt>
          <dd>
            <SafeText text={chosen.data.why} max={400} />
          </dd>
          {chosen.data.digest ? (
            <>
              <dt>{t.digest}</dt>
              <dd>
                <SafeText text={chosen.data.digest} max={80} mono />
              </dd>
            </>
          ) : null}
          {chosen.data.instance ? (
            <>
              <dt>{t.instance}</dt>
              <dd>
                <SafeText text={chosen.data.instance} max={80} mono />
              </dd>
            </>
          ) : null}
          {chosen.data.wee ? (
            <>
              <dt>{t.wee}</dt>
              <dd>
                <Link to={`/workers/wees/${encodeURIComponent(chosen.data.wee)}`}>
                  <SafeText text={chosen.data.wee} max={64} mono still />
                </Link>
              </dd>
            </>
          ) : null}
          {chosen.data.ended ? null : (
            <>
              <dt>{t.wees}</dt>
              <dd>
                {Object.keys(chosen.data.wees).length === 0 ? <span className="tone-bad">{t.noWees}</span> : null}
                <ul>
                  {Object.entries(chosen.data.wees).map(([name, said]) => (
                    <li key={name}>
                      <SafeText text={name} max={64} mono still />: <SafeText text={said} max={200} />
                    </li>
                  ))}
                </ul>
              </dd>
            </>
          )}
          <dt>{t.lookedForBy}</dt>
          <dd>
            {Object.entries(chosen.data.facts).map(([name, value]) => (
              <span key={name} className="fact-word">
                <SafeText text={`${name}=${value}`} max={80} mono />
              </span>
            ))}
          </dd>
        </dl>
      ) : chosen.error ? (
        <Problem problem={asProblem(chosen.error)} />
      ) : (
        <Loading />
      )}
    </section>
  )
}
