import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import { api, body } from '../../api/client'
import { asProblem } from '../../api/problem'
import { LogStream } from '../../parts/LogStream'
import { SafeText } from '../../parts/SafeText'
import { Loading, Problem } from '../../parts/Standing'
import { StateBadge } from '../../parts/StateBadge'
import { saidOf, standingOf } from '../tasks/task'
import { messages } from './messages'

const REFRESH_MS = 2_000

/** One target of the run: how its task stands and what the worker logs, while the run goes on above. */
export function TargetOfRun({ run, target, onClose }: { run: string; target: string; onClose: () => void }) {
  const t = useMessages(messages)
  const section = useRef<HTMLElement>(null)
  const tasks = useQuery({
    queryKey: ['task-of-run', run, target],
    // A retry makes a new task: the newest is the one that counts.
    queryFn: ({ signal }) => body(api.GET('/v1/tasks', { params: { query: { run, target, limit: 1 } }, signal })),
    refetchInterval: (asked) => (asked.state.data?.items[0]?.state === 'ended' ? false : REFRESH_MS),
  })
  useEffect(() => section.current?.focus(), [])
  const task = tasks.data?.items[0]
  return (
    <section ref={section} className="part target-of-run" tabIndex={-1} aria-label={target}>
      <div className="part-head">
        <h2>
          <SafeText text={target} max={80} mono still />
        </h2>
        <button type="button" className="plain small" onClick={onClose}>
          {t.close}
        </button>
      </div>
      {tasks.error ? <Problem problem={asProblem(tasks.error)} /> : null}
      {task ? (
        <>
          <p className="outcome">
            <StateBadge state={standingOf(task)} />
            <Link to={`/tasks/${task.id}`} className="mono">
              {task.id}
            </Link>
            <Link to={`/targets/${encodeURIComponent(target)}`}>{t.toTarget}</Link>
            {task.ending ? <SafeText text={saidOf(task.ending.outcome)} max={400} /> : null}
          </p>
          <LogStream task={task.id} label={t.logsOf(task.id)} />
        </>
      ) : tasks.isPending ? (
        <Loading />
      ) : null}
    </section>
  )
}
