import { useState } from 'react'
import { useMessages } from '../../../app/messages'
import type { components } from '../../../api/openapi'
import { Acts, ActButton } from '../../../parts/Act'
import type { ApiCall } from '../../../parts/CommandHint'
import { ConfirmDialog } from '../../../parts/ConfirmDialog'
import { SafeText } from '../../../parts/SafeText'
import { sengu } from '../../../parts/shell-words'
import { Mark } from '../../../parts/StateBadge'
import { Time } from '../../../parts/Time'
import { useAct } from '../../../parts/useAct'
import type { Target } from '../target'
import { withMaintenance } from './maintenance'
import { messages } from './messages'
import { Touched } from './Touched'

type Record = components['schemas']['Record']
type Doing = 'release' | 'begin' | 'end'

/** Quarantine and maintenance: why nothing is sent to the target, and the way out of it or into it. */
export function Held({ target, record }: { target: Target; record: Record }) {
  const t = useMessages(messages)
  const [doing, setDoing] = useState<Doing>()
  const quarantine = target.status.conditions.find((condition) => condition.type === 'Quarantined' && condition.status === 'True')
  const { maintenance } = target.spec
  return (
    <>
      {quarantine ? (
        <div className="held">
          <Mark tone="bad" shape="hexagon" />
          <p>
            <b>{t.quarantined}</b> <code>{quarantine.reason}</code>{' '}
            <span className="dim">
              {t.since} <Time at={quarantine.lastTransitionTime} />
            </span>
          </p>
          <ActButton primary onClick={() => setDoing('release')}>
            {t.endQuarantine}
          </ActButton>
        </div>
      ) : null}
      {maintenance === undefined ? null : (
        <div className="held calm">
          <Mark tone="idle" shape="square" />
          <p>
            <b>{t.maintained}</b> <SafeText text={maintenance} max={600} />
          </p>
          <ActButton primary={quarantine === undefined} onClick={() => setDoing('end')}>
            {t.endMaintenance}
          </ActButton>
        </div>
      )}
      {maintenance === undefined ? (
        <Acts>
          <ActButton onClick={() => setDoing('begin')}>{t.beginMaintenance}</ActButton>
        </Acts>
      ) : null}
      {doing === 'release' ? <Release target={target} onClose={() => setDoing(undefined)} /> : null}
      {doing === 'begin' || doing === 'end' ? <Maintenance begin={doing === 'begin'} target={target} record={record} onClose={() => setDoing(undefined)} /> : null}
    </>
  )
}

function Release({ target, onClose }: { target: Target; onClose: () => void }) {
  const t = useMessages(messages)
  const act = useAct(onClose, t.endedQuarantine)
  const call: ApiCall = { method: 'POST', path: `/v1/targets/${encodeURIComponent(target.name)}/uncordon` }
  return (
    <ConfirmDialog
      title={t.endQuarantine}
      act={t.endQuarantine}
      busy={act.busy}
      problem={act.problem}
      command={sengu('uncordon', `target/${target.name}`)}
      call={call}
      onConfirm={() => act.run(call)}
      onClose={onClose}
    >
      <Touched target={target} />
      <p>{t.endQuarantineMeans}</p>
    </ConfirmDialog>
  )
}

/** The record is written as it was read, at its revision: who changed it meanwhile is not overwritten. */
function Maintenance({ begin, target, record, onClose }: { begin: boolean; target: Target; record: Record; onClose: () => void }) {
  const t = useMessages(messages)
  const [reason, setReason] = useState('')
  const [tried, setTried] = useState(false)
  // As it was when the dialog was opened: what is confirmed is what is sent.
  const [read] = useState(record)
  const act = useAct(onClose, t.recordWritten)
  const missing = begin && reason.trim() === ''
  const call: ApiCall = { method: 'PUT', path: `/v1/records/Target/${encodeURIComponent(target.name)}`, body: withMaintenance(read, begin ? reason.trim() : undefined) }
  const word = begin ? t.beginMaintenance : t.endMaintenance
  return (
    <ConfirmDialog
      title={word}
      act={word}
      busy={act.busy}
      problem={act.problem}
      command={sengu('edit', `target/${target.name}`)}
      call={call}
      onConfirm={() => {
        setTried(true)
        if (!missing) act.run(call)
      }}
      onClose={onClose}
    >
      <Touched target={target} />
      <p>{begin ? t.beginMaintenanceMeans : t.endMaintenanceMeans}</p>
      {begin ? (
        <div className="field">
          <label htmlFor="maintenance-why">{t.maintenanceWhy}</label>
          <input id="maintenance-why" value={reason} maxLength={1024} autoComplete="off" aria-invalid={tried && missing} aria-describedby="maintenance-said" onChange={(event) => setReason(event.target.value)} />
          <p id="maintenance-said" className="field-help" aria-live="polite">
            {tried && missing ? <span className="tone-bad">{t.reasonNeeded}</span> : null}
          </p>
        </div>
      ) : null}
    </ConfirmDialog>
  )
}
