import { useQuery } from '@tanstack/react-query'
import { useMessages } from '../../app/messages'
import { api, body } from '../../api/client'
import type { components } from '../../api/openapi'
import { CommandHint } from '../../parts/CommandHint'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Mark } from '../../parts/StateBadge'
import type { Shape, Tone } from '../../parts/states'
import { Time } from '../../parts/Time'
import { messages } from './messages'

type State = components['schemas']['MoveState']

const REFRESH_MS = 2_000
const LOOKS: Record<State, readonly [Tone, Shape]> = { running: ['busy', 'half'], moved: ['ok', 'dot'], failed: ['bad', 'cross'], cancelled: ['idle', 'dash'] }

/** The move of the store that is on, or was the last one. Nothing is shown when there was none. */
export function Move() {
  const t = useMessages(messages)
  const move = useQuery({
    queryKey: ['move'],
    queryFn: ({ signal }) => body(api.GET('/v1/store/move', { signal })),
    refetchInterval: (asked) => (asked.state.data?.state === 'running' ? REFRESH_MS : 30_000),
  })
  const { data } = move
  if (!data || data.state === 'none') return null
  const [tone, shape] = LOOKS[data.state]
  const word = t[data.state]
  return (
    <section className="part">
      <div className="part-head">
        <h2>{t.move}</h2>
        <CommandHint command={sengu('migrate', '--status')} call={{ path: '/v1/store/move' }} />
      </div>
      <dl className="facts">
        <dt>{t.state}</dt>
        <dd>
          <span className={`badge tone-${tone}`}>
            <Mark tone={tone} shape={shape} />
            <span className="badge-word">{word}</span>
          </span>{' '}
          <SafeText text={t.moveTo(data.from, data.to)} max={200} />
        </dd>
        <dt>{t.phase}</dt>
        <dd>
          <code>{data.phase}</code>
        </dd>
        <dt>{t.began}</dt>
        <dd>
          <Time at={data.beganAt} />
        </dd>
        {data.endedAt ? (
          <>
            <dt>{t.ended}</dt>
            <dd>
              <Time at={data.endedAt} />
            </dd>
          </>
        ) : null}
        {data.error ?? data.undone ? (
          <>
            <dt>{t.reason}</dt>
            <dd>
              <SafeText text={data.error ?? data.undone} max={600} />
            </dd>
          </>
        ) : null}
      </dl>
      <table className="plain-table">
        <thead>
          <tr>
            <th scope="col">{t.part}</th>
            <th scope="col" className="number">
              {t.copied}
            </th>
            <th scope="col" className="number">
              {t.verified}
            </th>
          </tr>
        </thead>
        <tbody>
          {data.parts.map((part) => (
            <tr key={part.part}>
              <th scope="row">
                <SafeText text={part.part} max={60} mono still />
              </th>
              <td className="number">{part.total == null ? count(part.copied) : t.ofAll(count(part.copied), count(part.total))}</td>
              <td className="number">{part.rows == null ? '–' : count(part.rows)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
