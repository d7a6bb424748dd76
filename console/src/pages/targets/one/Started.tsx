import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { Link } from 'react-router'
import { useMessages } from '../../../app/messages'
import { api, body } from '../../../api/client'
import { asProblem } from '../../../api/problem'
import { LogStream } from '../../../parts/LogStream'
import { SafeText } from '../../../parts/SafeText'
import { Loading, Problem } from '../../../parts/Standing'
import { StateBadge } from '../../../parts/StateBadge'
import { Result } from '../../tasks/Result'
import { saidOf, standingOf } from '../../tasks/task'
import { Why } from '../../tasks/Why'
import { messages } from './messages'

const REFRESH_MS = 700

/** A task that was started on this page, as it goes: where it stands, why it waits, what its worker logs, how it ended. */
export function Started({ task: id, newest, onClose }: { task: string; newest: boolean; onClose: () => void }) {
  const t = useMessages(messages)
  const section = useRef<HTMLElement>(null)
  const task = useQuery({
    queryKey: ['task', id],
    queryFn: ({ signal }) => body(api.GET('/v1/tasks/{id}', { params: { path: { id } }, signal })),
    refetchInterval: (asked) => (asked.state.data?.state === 'ended' ? false : REFRESH_MS),
  })
  useEffect(() => {
    if (newest) section.current?.scrollIntoView({ block: 'nearest' })
    // Once, as it comes.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [])
  const open = task.data !== undefined && task.data.state !== 'ended'
  return (
    <section ref={section} className="started" aria-label={id}>
      <p className="outcome" aria-live="polite">
        {task.data ? <StateBadge state={standingOf(task.data)} /> : null}
        <Link to={`/tasks/${id}`} className="mono">
          {id}
        </Link>
        {task.data ? <code>{task.data.action}</code> : null}
        {task.data?.ending && !newest ? <SafeText text={saidOf(task.data.ending.outcome)} max={300} /> : null}
        <button type="button" className="plain small" onClick={onClose}>
          {t.close}
        </button>
      </p>
      {task.error ? <Problem problem={asProblem(task.error)} /> : null}
      {task.isPending ? <Loading /> : null}
      {newest && open ? <Why object="task" name={id} live /> : null}
      {newest && task.data?.ending ? <Result ending={task.data.ending} /> : null}
      {newest ? <LogStream task={id} label={t.logOf(id)} /> : null}
    </section>
  )
}
