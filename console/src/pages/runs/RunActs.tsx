import { useState } from 'react'
import { useMessages } from '../../app/messages'
import { Acts, ActButton } from '../../parts/Act'
import type { ApiCall } from '../../parts/CommandHint'
import { ConfirmDialog } from '../../parts/ConfirmDialog'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { StateBadge } from '../../parts/StateBadge'
import { useAct } from '../../parts/useAct'
import { messages } from './messages'
import { isOver, over, type Run, type RunStatus, scopeOf, unfinished } from './run'

type Doing = 'pause' | 'resume' | 'cancel' | 'retry'

/** Pause, resume, cancel, retry: each says what it will touch before it does. */
export function RunActs({ run, status }: { run: Run; status: RunStatus }) {
  const t = useMessages(messages)
  const [doing, setDoing] = useState<Doing>()
  const { phase, counts } = status
  const retriable = unfinished(counts) + counts.unknown
  const notRunning = phase === 'Running' ? undefined : t.notRunning
  return (
    <>
      <Acts>
        {phase === 'Paused' ? (
          <ActButton primary onClick={() => setDoing('resume')}>
            {t.resume}
          </ActButton>
        ) : (
          <ActButton onClick={() => setDoing('pause')} not={notRunning}>
            {t.pause}
          </ActButton>
        )}
        <ActButton onClick={() => setDoing('retry')} not={!isOver(status) ? t.notOver : retriable === 0 ? t.allDone : undefined}>
          {t.retry}
        </ActButton>
        <ActButton danger onClick={() => setDoing('cancel')} not={isOver(status) || phase === 'Cancelling' ? t.isOver : undefined}>
          {t.cancelRun}
        </ActButton>
      </Acts>
      {doing ? <Confirm doing={doing} run={run} status={status} onClose={() => setDoing(undefined)} /> : null}
    </>
  )
}

function Confirm({ doing, run, status, onClose }: { doing: Doing; run: Run; status: RunStatus; onClose: () => void }) {
  const t = useMessages(messages)
  const [unknownToo, setUnknownToo] = useState(false)
  const act = useAct(onClose, t.asked)
  const { counts } = status
  const path = `/v1/runs/${run.name}/${doing}${doing === 'retry' && unknownToo ? '?unknownToo=true' : ''}`
  const call: ApiCall = { method: 'POST', path }
  const command =
    doing === 'retry'
      ? sengu('retry', run.name, ...(unknownToo ? ['--unknown-too'] : []), '--no-wait')
      : doing === 'cancel'
        ? sengu('cancel', run.name)
        : sengu(doing, `run/${run.name}`)
  const titles: Record<Doing, string> = { pause: t.pause, resume: t.resume, cancel: t.cancelRun, retry: t.retry }
  const left = count(status.targets - over(counts))
  const active = count(counts.active)
  const means: Record<Doing, string> = {
    pause: t.pauseMeans(active, left),
    resume: t.resumeMeans(left),
    cancel: t.cancelMeans(active, left),
    retry: t.retryMeans(count(unfinished(counts) + (unknownToo ? counts.unknown : 0))),
  }
  return (
    <ConfirmDialog
      title={titles[doing]}
      act={titles[doing]}
      danger={doing === 'cancel'}
      busy={act.busy}
      problem={act.problem}
      command={command}
      call={call}
      onConfirm={() => act.run(call)}
      onClose={onClose}
    >
      <p>
        <span className="mono">{run.name}</span> · <code>{run.spec.action}</code> · <SafeText text={scopeOf(run.spec)} max={300} mono /> ·{' '}
        <StateBadge state={status.phase} />
      </p>
      <p>{means[doing]}</p>
      {doing === 'retry' && counts.unknown > 0 ? (
        <label>
          <input type="checkbox" checked={unknownToo} onChange={(event) => setUnknownToo(event.target.checked)} />
          {t.unknownToo(count(counts.unknown))}
        </label>
      ) : null}
    </ConfirmDialog>
  )
}
