import { useQuery } from '@tanstack/react-query'
import { useId, useState } from 'react'
import { useMessages } from '../../app/messages'
import { api, body } from '../../api/client'
import type { components } from '../../api/openapi'
import { asProblem } from '../../api/problem'
import { ConfirmDialog } from '../../parts/ConfirmDialog'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { useSettled } from '../../parts/SelectorInput'
import { sengu } from '../../parts/shell-words'
import { useAct } from '../../parts/useAct'
import { messages } from './messages'
import { AUTO, type Release } from './release'

type Promote = Partial<components['schemas']['Promote']> & { version: string }
type Mode = 'share' | 'auto' | 'shadow'

/** Moves a version to a part of the targets. What it means is said below the choice, with how many targets it is about. */
export function PromoteDialog({ release, version, onClose }: { release: Release; version: string; onClose: () => void }) {
  const t = useMessages(messages)
  const id = useId()
  const act = useAct(onClose, t.promoted)
  const [mode, setMode] = useState<Mode>('auto')
  const [share, setShare] = useState('10%')
  const [where, setWhere] = useState('')
  const [unguarded, setUnguarded] = useState(false)
  const [replace, setReplace] = useState(false)
  const other = release.rules.find((rule) => rule.version !== version && release.status.rules.some((each) => each.name === rule.name && each.phase !== 'Settled'))
  const wanted: Promote = {
    version,
    ...(where.trim() === '' ? {} : { where: where.trim() }),
    ...(mode === 'auto' ? { share: AUTO[0], steps: AUTO.slice(1) } : {}),
    ...(mode === 'share' ? { share } : {}),
    ...(mode === 'shadow' ? { shadow: true } : {}),
    ...(mode !== 'shadow' && unguarded ? { unguarded } : {}),
    ...(replace ? { replace } : {}),
  }
  const call = { method: 'POST', path: `/v1/releases/${encodeURIComponent(release.kind)}/promote`, body: wanted } as const
  const command = sengu(
    'promote',
    `${release.kind}@${version}`,
    ...(where.trim() === '' ? [] : ['--where', where.trim()]),
    ...(mode === 'auto' ? ['--auto'] : mode === 'shadow' ? ['--shadow'] : ['--share', share]),
    ...(mode !== 'shadow' && unguarded ? ['--no-guard'] : []),
    ...(replace ? ['--replace'] : []),
  )
  const shareWrong = mode === 'share' && !/^(?:100|\d{1,2})(?:\.\d+)?%$/.test(share)
  return (
    <ConfirmDialog
      title={t.promoteOf(`${release.kind}@${version}`)}
      act={mode === 'shadow' ? t.startShadow : t.promote}
      danger={mode !== 'shadow' && (unguarded || share === '100%')}
      busy={act.busy || shareWrong}
      problem={act.problem}
      command={command}
      call={call}
      onConfirm={() => act.run(call)}
      onClose={onClose}
    >
      <fieldset className="modes">
        <legend>{t.how}</legend>
        {(['auto', 'share', 'shadow'] as const).map((each) => (
          <label key={each} htmlFor={`${id}-mode-${each}`}>
            <input id={`${id}-mode-${each}`} type="radio" name={`${id}-mode`} checked={mode === each} onChange={() => setMode(each)} />
            <b>{t[`mode_${each}`]}</b>
            <span className="dim">{t[`mode_${each}_means`]}</span>
          </label>
        ))}
      </fieldset>
      {mode === 'share' ? (
        <p className="field">
          <label htmlFor={`${id}-share`}>{t.shareOf}</label>
          <input id={`${id}-share`} className="mono narrow" value={share} aria-invalid={shareWrong} onChange={(event) => setShare(event.target.value.trim())} />
        </p>
      ) : null}
      <p className="field">
        <label htmlFor={`${id}-where`}>{t.onlyWhere}</label>
        <input
          id={`${id}-where`}
          className="mono"
          value={where}
          placeholder="vendor=Contoso,firmware<2.0"
          spellCheck={false}
          autoCapitalize="off"
          autoComplete="off"
          onChange={(event) => setWhere(event.target.value)}
        />
      </p>
      {mode === 'shadow' ? null : (
        <label>
          <input type="checkbox" checked={unguarded} onChange={(event) => setUnguarded(event.target.checked)} />
          {t.unguarded}
        </label>
      )}
      {other ? (
        <label>
          <input type="checkbox" checked={replace} onChange={(event) => setReplace(event.target.checked)} />
          {t.replaceOther(other.version)}
        </label>
      ) : null}
      <Touched kind={release.kind} where={where.trim()} share={mode === 'auto' ? AUTO[0] : mode === 'share' ? share : '100%'} mode={mode} />
    </ConfirmDialog>
  )
}

/** How many targets the rule is about, counted by the server. */
function Touched({ kind, where, share, mode }: { kind: string; where: string; share: string; mode: Mode }) {
  const t = useMessages(messages)
  const selector = useSettled([`kind=${kind}`, where].filter((part) => part !== '').join(','), 400)
  const asked = useQuery({
    queryKey: ['count', selector],
    queryFn: ({ signal }) => body(api.GET('/v1/tiles', { params: { query: { selector, limit: 1 } }, signal })),
    retry: false,
    staleTime: 5_000,
  })
  if (asked.error) {
    return (
      <p className="tone-warn">
        {t.cannotCount} <SafeText text={asProblem(asked.error).message} max={200} />
      </p>
    )
  }
  if (!asked.data) return <p className="dim">…</p>
  const total = asked.data.total
  const part = Math.round((total * Number.parseFloat(share)) / 100)
  return (
    <p>
      <b>{mode === 'shadow' ? t.touchesShadow(count(total)) : t.touches(share, count(total), count(part))}</b> <SafeText text={selector} max={200} mono />
      {where.includes('action') ? <span className="dim"> {t.actionToo}</span> : null}
    </p>
  )
}
