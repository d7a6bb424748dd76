import './system.css'
import { useQuery } from '@tanstack/react-query'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { api, body } from '../../api/client'
import type { components } from '../../api/openapi'
import { asProblem } from '../../api/problem'
import { CommandHint } from '../../parts/CommandHint'
import { bytes, count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { Said } from '../../parts/Said'
import { sengu } from '../../parts/shell-words'
import { Loading, Problem } from '../../parts/Standing'
import { Mark } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { Licences } from './Licences'
import { Limits } from './Limits'
import { messages } from './messages'
import { Move } from './Move'
import { ParkedList } from './ParkedList'
import { Queues } from './Queues'
import { Section } from './Section'

type Version = components['schemas']['Version']
type Trouble = components['schemas']['Trouble']

const REFRESH_MS = 3_000

/** How sengu itself stands: its engines, its queues, what it bears. */
export default function System() {
  const t = useMessages(messages)
  useTitle(t.title)
  const version = useQuery({ queryKey: ['version'], queryFn: ({ signal }) => body(api.GET('/v1/version', { signal })), refetchInterval: REFRESH_MS })
  const overview = useQuery({ queryKey: ['overview'], queryFn: ({ signal }) => body(api.GET('/v1/overview', { signal })), refetchInterval: REFRESH_MS })
  const trouble = (overview.data?.trouble ?? []).filter((each) => each.link?.startsWith('system') ?? false)
  return (
    <section className="page system">
      <header className="page-head">
        <h1>{t.title}</h1>
        <span className="end">
          <CommandHint command={sengu('version')} call={{ path: '/v1/version' }} />
        </span>
      </header>
      {version.error ? <Problem problem={asProblem(version.error)} again={() => void version.refetch()} /> : null}
      <Troubles trouble={trouble} />
      {version.data ? <Engines version={version.data} answers={version.error === null} /> : version.error ? null : <Loading />}
      <Move />
      <Queues />
      <ParkedList />
      <Section name="limits" title={t.limits}>
        {() => <Limits />}
      </Section>
      <Section name="licences" title={t.licences}>
        {() => <Licences />}
      </Section>
    </section>
  )
}

function Troubles({ trouble }: { trouble: Trouble[] }) {
  if (trouble.length === 0) return null
  return (
    <ul className="system-trouble">
      {trouble.map((each, at) => (
        <li key={at} className={each.level === 'error' ? 'bad' : 'warn'}>
          <Mark tone={each.level === 'error' ? 'bad' : 'warn'} shape={each.level === 'error' ? 'cross' : 'triangle'} /> <Said text={each.text} saying={each} max={400} />
        </li>
      ))}
    </ul>
  )
}

/** The figures of the store come from the store itself: when they come, it answers. */
function Engines({ version, answers }: { version: Version; answers: boolean }) {
  const t = useMessages(messages)
  const { interconnect, store } = version
  return (
    <>
      <div className="columns">
        <section className="part">
          <h2>{t.process}</h2>
          <dl className="facts">
            <dt>{t.version}</dt>
            <dd className="mono">{version.version}</dd>
            <dt>{t.roles}</dt>
            <dd>
              <code>{version.roles.join(', ')}</code>
            </dd>
            <dt>{t.startedAt}</dt>
            <dd>
              <Time at={version.startedAt} />
            </dd>
            <dt title={t.lifeMeans}>{t.life}</dt>
            <dd className="mono">{version.epoch}</dd>
            <dt>{t.eventsTo}</dt>
            <dd>{version.eventsTo.length === 0 ? <span className="dim">{t.nobody}</span> : <SafeText text={version.eventsTo.join(', ')} max={300} />}</dd>
          </dl>
        </section>
        <section className="part">
          <h2>{t.interconnect}</h2>
          <dl className="facts">
            <dt>{t.engine}</dt>
            <dd>
              <SafeText text={interconnect.engine} max={80} />
            </dd>
            <dt>{t.state}</dt>
            <dd>
              <Well well={answers && interconnect.connected} yes={t.connected} no={answers ? t.notConnected : t.notKnown} />
            </dd>
            {interconnect.since ? (
              <>
                <dt>{t.since}</dt>
                <dd>
                  <Time at={interconnect.since} />
                </dd>
              </>
            ) : null}
            {interconnect.message ? (
              <>
                <dt>{t.reason}</dt>
                <dd>
                  <SafeText text={interconnect.message} max={400} />
                </dd>
              </>
            ) : null}
          </dl>
        </section>
        <section className="part">
          <h2>{t.store}</h2>
          <dl className="facts">
            <dt>{t.engine}</dt>
            <dd>
              <SafeText text={store.engine} max={80} />
            </dd>
            <dt>{t.state}</dt>
            <dd>
              <Well well={answers} yes={t.answers} no={t.noAnswer} />
            </dd>
            <dt>{t.records}</dt>
            <dd>{count(store.records)}</dd>
            <dt>{t.revision}</dt>
            <dd>{count(store.revision)}</dd>
            <dt>{t.tasksOpen}</dt>
            <dd>{count(store.tasksOpen)}</dd>
            <dt>{t.tasksEnded}</dt>
            <dd>{count(store.tasksEnded)}</dd>
            <dt>{t.size}</dt>
            <dd>{bytes(store.bytes)}</dd>
          </dl>
        </section>
      </div>
      <section className="part">
        <h2>{t.lacks}</h2>
        {version.lacks.length === 0 ? (
          <p className="none">{t.lacksNothing}</p>
        ) : (
          <ul className="lacks" lang="en">
            {version.lacks.map((each) => (
              <li key={each}>
                <Mark tone="warn" shape="triangle" /> <SafeText text={each} max={300} />
              </li>
            ))}
          </ul>
        )}
      </section>
    </>
  )
}

function Well({ well, yes, no }: { well: boolean; yes: string; no: string }) {
  const tone = well ? 'ok' : 'bad'
  return (
    <span className={`badge tone-${tone}`}>
      <Mark tone={tone} shape={well ? 'dot' : 'triangle'} />
      <span className="badge-word">{well ? yes : no}</span>
    </span>
  )
}
