import { useState } from 'react'
import { useMessages } from '../../../app/messages'
import { useSettings } from '../../../app/settings'
import { api, body } from '../../../api/client'
import type { components } from '../../../api/openapi'
import { ConfirmDialog } from '../../../parts/ConfirmDialog'
import { Effect } from '../../../parts/Effect'
import { count, duration } from '../../../parts/format'
import { JsonText } from '../../../parts/JsonText'
import { SafeText } from '../../../parts/SafeText'
import { Time } from '../../../parts/Time'
import { useAct } from '../../../parts/useAct'
import type { Action } from '../../runs/actions'
import { stateOf, type Target } from '../target'
import { limitsOf } from './limits'
import { messages } from './messages'
import { needsTyping, taskCommand, type TaskRequest } from './request'
import { Touched } from './Touched'
import { useKindLimits } from './useKind'
import { useOpenTasks } from './useOpenTasks'

type Props = { request: TaskRequest; action: Action; target: Target; onStarted: (task: string) => void; onClose: () => void }

/** Says once more what will be done to which device and what is in its way; the button starts it. */
export function Confirm({ request, action, target, onStarted, onClose }: Props) {
  const t = useMessages(messages)
  const { language } = useSettings()
  // One key for this dialog: a second press, or a retry after a lost answer, starts nothing twice.
  const [key] = useState(() => crypto.randomUUID())
  const kind = useKindLimits(target.spec.kind)
  const open = useOpenTasks(target.name)
  const act = useAct<components['schemas']['CreatedTasks']>(
    (created) => {
      const [task] = created.tasks
      if (task) onStarted(task.id)
    },
    t.started,
    () => body(api.POST('/v1/tasks', { params: { header: { 'Idempotency-Key': key } }, body: request as components['schemas']['TaskRequest'] })),
  )
  const effect = request.effect ?? action.effect
  const call = { method: 'POST', path: '/v1/tasks', body: request } as const
  const state = stateOf(target)
  const waiting = open.data?.tasks.length ?? 0
  const limits = kind ? limitsOf(kind, target) : undefined
  return (
    <ConfirmDialog
      title={t.confirm(action.name, target.name)}
      act={t.start(action.name)}
      danger={effect !== 'read'}
      {...(needsTyping(effect) ? { typed: target.name } : {})}
      busy={act.busy}
      problem={act.problem}
      command={taskCommand(request)}
      call={call}
      onConfirm={() => act.run(call)}
      onClose={onClose}
    >
      <Touched target={target} />
      {state === 'quarantined' || state === 'maintenance' ? <p className="tone-warn">{t.notSent}</p> : null}
      <dl className="facts">
        <dt>{t.action}</dt>
        <dd>
          <code>{action.id}</code>{' '}
          <span className="dim">
            <SafeText text={action.description} max={200} />
          </span>
        </dd>
        <dt>{t.effect}</dt>
        <dd>
          <Effect effect={effect} />
        </dd>
        <dt>{t.parameters}</dt>
        <dd>{request.params === undefined ? <span className="dim">{t.noParameters}</span> : <JsonText value={request.params} />}</dd>
        <dt>{t.timeout}</dt>
        <dd>{request.timeout ?? (action.timeoutMs === undefined ? '–' : duration(action.timeoutMs, language))}</dd>
        {request.startWithin == null ? null : (
          <>
            <dt>{t.startWithin}</dt>
            <dd>{request.startWithin}</dd>
          </>
        )}
        {request.version == null ? null : (
          <>
            <dt>{t.version}</dt>
            <dd>
              <code>{request.version}</code>
            </dd>
          </>
        )}
        {request.frames ? (
          <>
            <dt>{t.framesShort}</dt>
            <dd>{t.framesKept}</dd>
          </>
        ) : null}
        {limits ? (
          <>
            <dt>{t.bears}</dt>
            <dd>
              {t.sessions}: {limits.sessions.value || t.noLimit} · {t.rate}: {limits.rate.value || t.noLimit}
            </dd>
          </>
        ) : null}
        <dt>{t.inFront}</dt>
        <dd>{waiting === 0 ? <span className="dim">{t.inFrontNothing}</span> : <span className="tone-warn">{t.inFrontCount(`${count(waiting)}${open.data?.more ? '+' : ''}`)}</span>}</dd>
        <dt>{t.lastSeen}</dt>
        <dd>
          <Time at={target.status.observedAt} />
        </dd>
      </dl>
      <p className="dim small-print">{t.commandMakesRun}</p>
    </ConfirmDialog>
  )
}
