import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { useSettings } from '../../app/settings'
import { useTitle } from '../../app/title'
import { api, body } from '../../api/client'
import { asProblem } from '../../api/problem'
import { AuditOf } from '../../parts/AuditOf'
import { useNow } from '../../parts/clock'
import { CommandHint } from '../../parts/CommandHint'
import { count, duration } from '../../parts/format'
import { JsonText } from '../../parts/JsonText'
import { Meter } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Loading, Problem, Unavailable } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { words } from '../../parts/states'
import { Time } from '../../parts/Time'
import { Why } from '../tasks/Why'
import { GridView } from './GridView'
import { messages } from './messages'
import { isOver, over, type Run, runOf, runParts, type RunStatus, scopeOf, spent } from './run'
import { RunActs } from './RunActs'
import { RunTargets } from './RunTargets'
import { TargetOfRun } from './TargetOfRun'
import { useGrid } from './useGrid'

export function RunPage() {
  const { name = '' } = useParams()
  useTitle(name)
  const run = useQuery({
    queryKey: ['run', name],
    queryFn: async ({ signal }) => runOf(await body(api.GET('/v1/runs/{name}', { params: { path: { name } }, signal }))),
  })
  if (run.data) return <One key={name} run={run.data} />
  if (run.error) return <Unavailable title={name} problem={asProblem(run.error)} again={() => void run.refetch()} />
  return <Loading />
}

function One({ run }: { run: Run }) {
  const t = useMessages(messages)
  const { grid, status: live, problem } = useGrid(run.name)
  const [chosen, setChosen] = useState<string>()
  const status = live ?? run.status
  return (
    <section className="page run">
      <header className="page-head">
        <h1 className="mono">{run.name}</h1>
        {status ? <StateBadge state={status.phase} /> : null}
        <code>{run.spec.action}</code>
        <SafeText text={scopeOf(run.spec)} max={120} mono />
        <span className="end">
          <CommandHint command={sengu('describe', `run/${run.name}`)} call={{ path: `/v1/runs/${run.name}` }} />
        </span>
      </header>
      {status && !isOver(status) ? <Why object="run" name={run.name} live /> : null}
      {status ? <RunActs run={run} status={status} /> : null}
      {status ? <Progress run={run} status={status} /> : null}
      <section className="part">
        <div className="part-head">
          <h2>{t.grid}</h2>
          <CommandHint command={sengu('get', `run/${run.name}`, '-w')} call={{ path: `/v1/runs/${run.name}/grid/watch` }} />
        </div>
        {problem ? <Problem problem={problem} /> : null}
        {grid ? <GridView grid={grid} chosen={chosen} onChoose={setChosen} /> : <Loading />}
      </section>
      {chosen === undefined ? null : <TargetOfRun key={chosen} run={run.name} target={chosen} onClose={() => setChosen(undefined)} />}
      <RunTargets run={run.name} live={!isOver(status)} onChoose={setChosen} />
      <AuditOf kind="Run" name={run.name} />
    </section>
  )
}

function Progress({ run, status }: { run: Run; status: RunStatus }) {
  const t = useMessages(messages)
  const w = useMessages(words)
  const { language } = useSettings()
  const now = useNow()
  const { counts, targets, batch = 0, batches = 0, maxFail, startedAt, endedAt } = status
  const lost = spent(counts)
  const end = endedAt ? Date.parse(endedAt) : now
  return (
    <div className="columns">
      <section className="part">
        <h2>{t.progress}</h2>
        <p>
          <Meter label={t.progress} parts={runParts(counts, w)} total={targets} />
        </p>
        <dl className="facts">
          <dt>{t.ended}</dt>
          <dd>
            {count(over(counts))} / {count(targets)}
            {counts.changed ? ` · ${t.changedCount(count(counts.changed))}` : ''}
          </dd>
          <dt>{t.batch}</dt>
          <dd>{t.batchOf(batch, batches)}</dd>
          {counts.retries ? (
            <>
              <dt>{t.retries}</dt>
              <dd>{count(counts.retries)}</dd>
            </>
          ) : null}
          <dt>{t.begun}</dt>
          <dd>
            <Time at={startedAt} />
            {startedAt ? ` · ${t.lasts(duration(Math.max(0, end - Date.parse(startedAt)), language))}` : ''}
          </dd>
          {status.message ? (
            <>
              <dt>{t.said}</dt>
              <dd>
                <SafeText text={status.message} max={400} />
              </dd>
            </>
          ) : null}
        </dl>
      </section>
      <section className="part">
        <h2>{t.budget}</h2>
        {maxFail === null || maxFail === undefined ? (
          <p className="none">{t.budgetNone(count(lost))}</p>
        ) : (
          <>
            <p>
              <Meter
                label={t.budget}
                parts={[{ value: lost, tone: lost > maxFail ? 'bad' : 'warn', word: t.notDone }]}
                total={Math.max(maxFail + 1, lost)}
                limit={maxFail}
              />
            </p>
            <p className={lost > maxFail ? 'none tone-bad' : 'none'}>
              {lost > maxFail ? t.budgetOver(count(lost), count(maxFail)) : t.budgetLeft(count(lost), count(maxFail))}
            </p>
          </>
        )}
        <details className="more">
          <summary>{t.spec}</summary>
          <JsonText value={run.spec} />
        </details>
      </section>
    </div>
  )
}
