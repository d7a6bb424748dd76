import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { api, body } from '../../api/client'
import { asProblem } from '../../api/problem'
import { Acts, ActButton } from '../../parts/Act'
import { CommandHint } from '../../parts/CommandHint'
import { ConfirmDialog } from '../../parts/ConfirmDialog'
import { Effect } from '../../parts/Effect'
import { JsonText } from '../../parts/JsonText'
import { LogStream } from '../../parts/LogStream'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Loading, Unavailable } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { useAct } from '../../parts/useAct'
import { Chosen } from './Chosen'
import { LifeLine } from './LifeLine'
import { messages } from './messages'
import { Result } from './Result'
import { standingOf, type Task } from './task'
import { Why } from './Why'

const OPEN_REFRESH_MS = 1_000

export function TaskPage() {
  const { id = '' } = useParams()
  useTitle(id)
  const task = useQuery({
    queryKey: ['task', id],
    queryFn: ({ signal }) => body(api.GET('/v1/tasks/{id}', { params: { path: { id } }, signal })),
    refetchInterval: (asked) => (asked.state.data && asked.state.data.state !== 'ended' ? OPEN_REFRESH_MS : false),
  })
  if (task.data) return <One key={id} task={task.data} />
  if (task.error) return <Unavailable title={id} problem={asProblem(task.error)} again={() => void task.refetch()} />
  return <Loading />
}

function One({ task }: { task: Task }) {
  const t = useMessages(messages)
  const open = task.state !== 'ended'
  return (
    <section className="page task">
      <header className="page-head">
        <h1 className="mono">{task.id}</h1>
        <StateBadge state={standingOf(task)} />
        <span>
          <code>{task.action}</code> {t.on}{' '}
          <Link to={`/targets/${encodeURIComponent(task.target)}`}>
            <SafeText text={task.target} max={64} mono still />
          </Link>
        </span>
        <span className="end">
          <CommandHint command={sengu('describe', `task/${task.id}`)} call={{ path: `/v1/tasks/${task.id}` }} />
        </span>
      </header>
      <Why object="task" name={task.id} live={open} />
      <Acts>
        <Cancel task={task} />
      </Acts>
      <LifeLine task={task} />
      <div className="columns">
        <section className="part">
          <h2>{t.what}</h2>
          <dl className="facts">
            <dt>{t.action}</dt>
            <dd>
              <code>
                {task.kind}.{task.action}
              </code>
            </dd>
            <dt>{t.effect}</dt>
            <dd>
              <Effect effect={task.effect} />
            </dd>
            <dt>{t.origin}</dt>
            <dd>
              {task.origin}
              {task.run ? (
                <>
                  {' '}
                  <Link to={`/runs/${task.run}`} className="mono">
                    {task.run}
                  </Link>
                </>
              ) : null}
            </dd>
            <dt>{t.priority}</dt>
            <dd>{task.priority}</dd>
            {task.notBefore ? (
              <>
                <dt>{t.notBefore}</dt>
                <dd>
                  <Time at={task.notBefore} />
                </dd>
              </>
            ) : null}
            <dt>{t.parameters}</dt>
            <dd>{isEmpty(task.params) ? <span className="dim">{t.noParameters}</span> : <JsonText value={task.params} />}</dd>
          </dl>
        </section>
        <Chosen task={task} />
      </div>
      {task.ending ? <Result ending={task.ending} /> : null}
      <section className="part">
        <div className="part-head">
          <h2>{t.logs}</h2>
          <CommandHint command={sengu('logs', task.id, ...(open ? ['-f'] : []))} call={{ path: `/v1/tasks/${task.id}/logs${open ? '?follow=true' : ''}` }} />
        </div>
        <LogStream task={task.id} label={t.logsOf(task.id)} />
        <p className="dim small-print">{task.frames ? t.framesKept : t.framesNot}</p>
      </section>
    </section>
  )
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || (typeof value === 'object' && Object.keys(value).length === 0)
}

function Cancel({ task }: { task: Task }) {
  const t = useMessages(messages)
  const [open, setOpen] = useState(false)
  const act = useAct(() => setOpen(false), t.cancelAsked)
  const call = { method: 'POST', path: `/v1/tasks/${task.id}/cancel` } as const
  return (
    <>
      <ActButton danger onClick={() => setOpen(true)} not={task.state === 'ended' ? t.endedAlready : undefined}>
        {t.cancelTask}
      </ActButton>
      {open ? (
        <ConfirmDialog
          title={t.cancelTask}
          act={t.cancelTask}
          danger
          busy={act.busy}
          problem={act.problem}
          command={sengu('cancel', task.id)}
          call={call}
          onConfirm={() => act.run(call)}
          onClose={() => {
            act.reset()
            setOpen(false)
          }}
        >
          <p>
            <code>{task.action}</code> {t.on} <SafeText text={task.target} max={120} mono /> · <span className="mono">{task.id}</span> · <StateBadge state={task.state} />
          </p>
          <p>{task.state === 'held' || task.state === 'waiting' ? t.cancelWaiting : t.cancelInHand}</p>
        </ConfirmDialog>
      ) : null}
    </>
  )
}
