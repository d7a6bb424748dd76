import './overview.css'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useState } from 'react'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { api, body } from '../../api/client'
import type { components } from '../../api/openapi'
import { asProblem } from '../../api/problem'
import { type StreamEvent, useStream } from '../../api/stream'
import { CommandHint } from '../../parts/CommandHint'
import { sengu } from '../../parts/shell-words'
import { Empty, Loading, Problem } from '../../parts/Standing'
import { Mark } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { Environments, Zones } from './Environments'
import { Rollouts, Runs, Slow, TroubleList } from './InProgress'
import { messages } from './messages'
import { Targets } from './TargetCounts'
import { Tasks } from './TaskRates'

export type OverviewData = components['schemas']['Overview']

const KEY = ['overview'] as const

/** How all of it stands, on one screen, live. What needs a person comes first. */
export default function Overview() {
  const t = useMessages(messages)
  useTitle(t.title)
  const client = useQueryClient()
  const [live, setLive] = useState<OverviewData>()
  const first = useQuery({ queryKey: KEY, queryFn: ({ signal }) => body(api.GET('/v1/overview', { signal })) })
  const onEvent = useCallback(
    (event: StreamEvent) => {
      if (event.event !== 'overview') return
      const overview = JSON.parse(event.data) as OverviewData
      setLive(overview)
      client.setQueryData(KEY, overview)
    },
    [client],
  )
  const stream = useStream('/v1/overview/watch', onEvent)
  const overview = live ?? first.data
  const isLive = stream.state === 'live'
  return (
    <section className="page overview">
      <header className="page-head">
        <h1>{t.title}</h1>
        <span className={`badge tone-${isLive ? 'ok' : 'warn'}`}>
          <Mark tone={isLive ? 'ok' : 'warn'} shape={isLive ? 'dot' : 'bars'} />
          <span className="badge-word">{isLive ? t.live : t.notLive}</span>
        </span>
        {overview && !isLive ? (
          <span className="dim">
            {t.asOf} <Time at={overview.at} />
          </span>
        ) : null}
        <span className="end">
          <CommandHint command={sengu('top')} call={{ path: '/v1/overview' }} />
        </span>
      </header>
      {stream.problem && !isLive ? <Problem problem={stream.problem} /> : null}
      {overview ? (
        <Body overview={overview} />
      ) : first.error ? (
        <Problem problem={asProblem(first.error)} again={() => void first.refetch()} />
      ) : (
        <Loading />
      )}
    </section>
  )
}

function Body({ overview }: { overview: OverviewData }) {
  const t = useMessages(messages)
  return (
    <>
      <TroubleList trouble={overview.trouble} />
      <div className="overview-figures">
        {overview.targets.total === 0 ? (
          <section className="part">
            <h2>{t.targets}</h2>
            <Empty title={t.noTargets}>
              {t.noTargetsHow} <code>sengu apply -f targets/</code>
            </Empty>
          </section>
        ) : (
          <Targets targets={overview.targets} />
        )}
        <Tasks tasks={overview.tasks} history={overview.history} />
      </div>
      <div className="columns">
        <Runs runs={overview.runs} />
        <Rollouts rollouts={overview.rollouts} />
      </div>
      <Slow slow={overview.slow} total={overview.slowTotal} at={overview.at} />
      <div className="columns">
        <Environments wees={overview.wees} />
        <Zones zones={overview.zones} />
      </div>
      <p className="dim small-print">{t.sampled}</p>
    </>
  )
}
