import { useState } from 'react'
import { useMessages } from '../../app/messages'
import { ConfirmDialog } from '../../parts/ConfirmDialog'
import { sengu } from '../../parts/shell-words'
import { useAct } from '../../parts/useAct'
import { messages } from './messages'
import type { Release, Worker } from './release'

/** Ends what is on its way, or goes back to what was before; or to a version of one's choice. */
export function RollbackDialog({ release, versions, onClose }: { release: Release; versions: Worker[]; onClose: () => void }) {
  const t = useMessages(messages)
  const act = useAct(onClose, t.rolledBack)
  const [to, setTo] = useState('')
  const { kind, rules, status } = release
  const call = { method: 'POST', path: `/v1/releases/${encodeURIComponent(kind)}/rollback`, body: to === '' ? {} : { version: to } } as const
  const moving = rules.filter((rule) => status.rules.some((each) => each.name === rule.name && each.phase !== 'Settled'))
  const means =
    to !== ''
      ? t.rollbackTo(to)
      : moving.length > 0
        ? t.rollbackEnds(moving.map((rule) => `${rule.version} (${rule.share ?? '100%'})`).join(', '), status.before ?? release.version)
        : t.rollbackPrevious(status.previous ?? status.before ?? '?')
  return (
    <ConfirmDialog
      title={t.rollBackOf(kind)}
      act={t.rollBack}
      danger
      busy={act.busy}
      problem={act.problem}
      command={sengu('rollback', kind, ...(to === '' ? [] : ['--to', to]))}
      call={call}
      onConfirm={() => act.run(call)}
      onClose={onClose}
    >
      <p className="field">
        <label>
          {t.toVersion}{' '}
          <select value={to} onChange={(event) => setTo(event.target.value)}>
            <option value="">{t.toBefore}</option>
            {versions.map((worker) => (
              <option key={worker.version}>{worker.version}</option>
            ))}
          </select>
        </label>
      </p>
      <p>
        <b>{means}</b>
      </p>
      <p className="dim">{t.rollbackInFlight}</p>
    </ConfirmDialog>
  )
}
