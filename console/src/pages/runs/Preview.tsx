import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useMessages } from '../../app/messages'
import { useSettings } from '../../app/settings'
import { api, body, request } from '../../api/client'
import type { components } from '../../api/openapi'
import { asProblem } from '../../api/problem'
import { ConfirmDialog } from '../../parts/ConfirmDialog'
import { Dialog } from '../../parts/Dialog'
import { Effect } from '../../parts/Effect'
import { count, duration } from '../../parts/format'
import { JsonText } from '../../parts/JsonText'
import { SafeText } from '../../parts/SafeText'
import { Loading, Problem } from '../../parts/Standing'
import { useAct } from '../../parts/useAct'
import { messages } from './messages'
import { command, type RunSpec } from './run'

/** With more targets than this, and an action that changes something, their number has to be typed. */
const TYPED_FROM = 20

/** What the server says the run would touch, and the one button that starts it. */
export function Preview({ spec, onStarted, onClose }: { spec: RunSpec; onStarted: (name: string) => void; onClose: () => void }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  // One key for this preview: a second press, or a retry after a lost answer, starts nothing twice.
  const [key] = useState(() => crypto.randomUUID())
  const preview = useQuery({
    queryKey: ['run-preview', spec, key],
    queryFn: ({ signal }) => request<components['schemas']['RunPreview']>('POST', '/v1/runs?dryRun=true', spec, signal),
    retry: false,
    staleTime: Infinity,
  })
  const act = useAct<components['schemas']['Record']>((record) => onStarted(record.metadata.name), t.started, () =>
    body(api.POST('/v1/runs', { params: { header: { 'Idempotency-Key': key } }, body: spec })) as unknown as Promise<components['schemas']['Record']>,
  )
  const call = { method: 'POST', path: '/v1/runs', body: spec } as const
  if (!preview.data) {
    return (
      <Dialog title={t.preview} onClose={onClose}>
        <div className="dialog-body">{preview.error ? <Problem problem={asProblem(preview.error)} /> : <Loading />}</div>
      </Dialog>
    )
  }
  const { count: targets, targets: names, batches, maxFail, effect, timeoutMs } = preview.data
  const changes = effect !== 'read'
  return (
    <ConfirmDialog
      title={t.confirmRun(spec.action, count(targets))}
      act={t.startOn(count(targets))}
      danger={changes}
      {...(changes && targets > TYPED_FROM ? { typed: String(targets) } : {})}
      busy={act.busy}
      problem={act.problem}
      command={command(spec)}
      call={call}
      onConfirm={() => act.run(call)}
      onClose={onClose}
    >
      <dl className="facts">
        <dt>{t.action}</dt>
        <dd>
          <code>{spec.action}</code>
        </dd>
        <dt>{t.effect}</dt>
        <dd>
          <Effect effect={effect} />
        </dd>
        {spec.params === undefined ? null : (
          <>
            <dt>{t.parameters}</dt>
            <dd>
              <JsonText value={spec.params} />
            </dd>
          </>
        )}
        <dt>{t.scope}</dt>
        <dd>
          {spec.selector === undefined ? null : spec.selector === '' ? <b>{t.allTargets}</b> : <SafeText text={spec.selector} max={300} mono />}{' '}
          {(spec.targets ?? []).length > 0 ? <SafeText text={(spec.targets ?? []).join(' ')} max={200} mono /> : null}
        </dd>
        <dt>{t.targets}</dt>
        <dd>
          <b>{count(targets)}</b> <SafeText text={names.join(' ')} max={300} mono />
          {names.length < targets ? <span className="dim"> {t.andMore(count(targets - names.length))}</span> : null}
        </dd>
        <dt>{t.batches}</dt>
        <dd>{batches.length <= 1 ? t.allAtOnce : t.batchesOf(batches.length, batchSizes(batches))}</dd>
        <dt>{t.budget}</dt>
        <dd>{maxFail === null || maxFail === undefined ? <span className={changes ? 'tone-warn' : undefined}>{t.noBudget}</span> : t.budgetOf(count(maxFail))}</dd>
        <dt>{t.timeout}</dt>
        <dd>{duration(timeoutMs, language)}</dd>
        {spec.frames ? (
          <>
            <dt>{t.framesShort}</dt>
            <dd>{t.framesKept}</dd>
          </>
        ) : null}
      </dl>
    </ConfirmDialog>
  )
}

function batchSizes(batches: number[]): string {
  const shown = batches.slice(0, 8).join(', ')
  return batches.length > 8 ? `${shown}, …` : shown
}
