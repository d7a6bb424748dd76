import { useState } from 'react'
import { useMessages } from '../../app/messages'
import type { components } from '../../api/openapi'
import { ActButton } from '../../parts/Act'
import { ConfirmDialog } from '../../parts/ConfirmDialog'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { StateBadge } from '../../parts/StateBadge'
import { useAct } from '../../parts/useAct'
import { messages } from './messages'

type Wee = components['schemas']['WeeSeen']
type Doing = 'cordon' | 'drain' | 'uncordon' | 'upgrade'

/** What can be asked of an execution environment. */
export function WeeActs({ wee, embedded, small = false }: { wee: Wee; embedded: boolean; small?: boolean }) {
  const t = useMessages(messages)
  const [doing, setDoing] = useState<Doing>()
  const silent = wee.state === 'silent' ? t.isSilent : undefined
  return (
    <span className="acts">
      {wee.state === 'cordoned' || wee.state === 'draining' ? (
        <ActButton small={small} primary onClick={() => setDoing('uncordon')}>
          {t.uncordon}
        </ActButton>
      ) : (
        <ActButton small={small} onClick={() => setDoing('cordon')}>
          {t.cordon}
        </ActButton>
      )}
      <ActButton small={small} onClick={() => setDoing('drain')} not={wee.state === 'draining' ? t.drainsAlready : undefined}>
        {t.drain}
      </ActButton>
      <ActButton small={small} onClick={() => setDoing('upgrade')} not={embedded ? t.isEmbedded : silent}>
        {t.upgrade}
      </ActButton>
      {doing ? <Confirm doing={doing} wee={wee} onClose={() => setDoing(undefined)} /> : null}
    </span>
  )
}

function Confirm({ doing, wee, onClose }: { doing: Doing; wee: Wee; onClose: () => void }) {
  const t = useMessages(messages)
  const act = useAct(onClose, t.asked)
  const call = { method: 'POST', path: `/v1/wees/${encodeURIComponent(wee.name)}/${doing}` } as const
  const used = count(wee.slotsUsed)
  const means: Record<Doing, string> = {
    cordon: t.cordonMeans(used),
    drain: t.drainMeans(used),
    uncordon: t.uncordonMeans,
    upgrade: t.upgradeMeans(used),
  }
  return (
    <ConfirmDialog
      title={t[doing]}
      act={t[doing]}
      danger={doing === 'drain' || doing === 'upgrade'}
      busy={act.busy}
      problem={act.problem}
      command={doing === 'upgrade' ? sengu('wee', 'upgrade', wee.name) : sengu(doing, `wee/${wee.name}`)}
      call={call}
      onConfirm={() => act.run(call)}
      onClose={onClose}
    >
      <p>
        <SafeText text={wee.name} max={120} mono /> · <SafeText text={wee.zone} max={64} mono /> · <StateBadge state={wee.state} />
      </p>
      <p>{means[doing]}</p>
    </ConfirmDialog>
  )
}
