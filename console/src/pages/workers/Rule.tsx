import { useMessages } from '../../app/messages'
import { CommandHint } from '../../parts/CommandHint'
import { count, percent } from '../../parts/format'
import { Meter } from '../../parts/Meter'
import { SafeText } from '../../parts/SafeText'
import { sengu } from '../../parts/shell-words'
import { Mark, StateBadge } from '../../parts/StateBadge'
import { Time } from '../../parts/Time'
import { messages } from './messages'
import { type CellStatus, phaseOf, type Release, type ReleaseRule, type RuleStatus, type Sample, statusOf } from './release'
import { Shadow } from './Shadow'
import { ms } from './WorkerList'

/** One rule of a Release: a version on its way, beside the one it replaces. */
export function Rule({ kind, rule, release }: { kind: string; rule: ReleaseRule; release: Release }) {
  const t = useMessages(messages)
  const status = statusOf(release, rule)
  const share = rule.share ?? '100%'
  return (
    <section className="part rule">
      <div className="part-head">
        <h2>
          <span className="mono">
            {kind}@{rule.version}
          </span>{' '}
          <StateBadge state={phaseOf(rule, status)} />
        </h2>
        <CommandHint command={rule.shadow === true ? sengu('rollout', 'report', kind) : sengu('rollout', 'status', kind)} call={{ path: `/v1/records/Release/${encodeURIComponent(kind)}` }} />
      </div>
      <div className="rule-share">
        <Meter label={t.share} parts={[{ value: Number.parseFloat(share), tone: 'busy', word: rule.version }]} total={100} />
        <b>{share}</b>
        <span>
          {t.ofTargets} {rule.where === undefined || rule.where === '' ? t.allOfThem : <SafeText text={rule.where} max={200} mono />}
          {(rule.steps ?? []).length > 0 ? <span className="dim"> · {t.thenSteps((rule.steps ?? []).join(', '))}</span> : null}
        </span>
      </div>
      {status ? (
        <>
          <p>
            {status.waitsFor ? (
              <>
                <b>{t.waitsFor}</b> <SafeText text={status.waitsFor} max={300} />{' '}
              </>
            ) : null}
            <span className="dim">
              {status.stepAt ? (
                <>
                  {t.stepSince} <Time at={status.stepAt} />
                </>
              ) : null}
              {status.stepAt && status.proven ? ' · ' : null}
              {status.proven ? t.proven(count(status.proven)) : null}
            </span>
          </p>
          {status.shadow ? <Shadow shadow={status.shadow} version={rule.version} replaces={status.replaces ?? ''} /> : <Cells status={status} version={rule.version} />}
        </>
      ) : null}
    </section>
  )
}

function Cells({ status, version }: { status: RuleStatus; version: string }) {
  const t = useMessages(messages)
  const cells = status.cells ?? []
  const old = status.replaces ?? t.replaced
  return (
    <div className="scrolls" role="region" aria-label={t.cells} tabIndex={0}>
      <table className="plain-table cells">
        <thead>
          <tr>
            <th scope="col">{t.cell}</th>
            <th scope="col">{t.sharesOf(version, old)}</th>
            <th scope="col" className="number">{t.failuresOf(version)}</th>
            <th scope="col" className="number">{t.failuresOf(old)}</th>
            <th scope="col" className="number">{t.p90Of(version)}</th>
            <th scope="col" className="number">{t.p90Of(old)}</th>
          </tr>
        </thead>
        <tbody>
          <CellRow name={<b>{t.allCells}</b>} seen={status.seen} replaced={status.replaced} version={version} old={old} held={false} />
          {cells.map((each, at) => (
            <CellRow key={at} name={<CellName cell={each} />} seen={each.seen} replaced={each.replaced} version={version} old={old} held={each.held ?? false} />
          ))}
        </tbody>
      </table>
      {cells.length >= 50 ? <p className="dim">{t.cellsWorst}</p> : null}
    </div>
  )
}

function CellName({ cell }: { cell: CellStatus }) {
  const { vendor, model, firmware, action } = cell.cell ?? {}
  return (
    <>
      <SafeText text={[vendor, model].map((word) => word ?? '-').join(' ')} max={80} /> <SafeText text={firmware ?? '-'} max={40} mono /> <SafeText text={action ?? '-'} max={40} mono />
    </>
  )
}

type RowProps = { name: React.ReactNode; seen: Sample | undefined; replaced: Sample | undefined; version: string; old: string; held: boolean }

function CellRow({ name, seen, replaced, version, old, held }: RowProps) {
  const t = useMessages(messages)
  const [fresh, stable] = [seen?.tasks ?? 0, replaced?.tasks ?? 0]
  return (
    <tr className={held ? 'cell-held' : undefined}>
      <th scope="row">
        {name}
        {held ? (
          <span className="tone-bad">
            {' '}
            <Mark tone="bad" shape="cross" /> {t.held}
          </span>
        ) : null}
      </th>
      <td className="cell-share">
        <Meter
          label={t.share}
          total={Math.max(1, fresh + stable)}
          parts={[
            { value: fresh, tone: held ? 'bad' : 'busy', word: version },
            { value: stable, tone: 'idle', word: old },
          ]}
        />
        <span className="dim">
          {count(fresh)} : {count(stable)}
        </span>
      </td>
      <td className="number">
        <FailedOf sample={seen} />
      </td>
      <td className="number">
        <FailedOf sample={replaced} />
      </td>
      <td className="number">{ms(seen?.p90Ms)}</td>
      <td className="number">{ms(replaced?.p90Ms)}</td>
    </tr>
  )
}

function FailedOf({ sample }: { sample: Sample | undefined }) {
  const [tasks, failed] = [sample?.tasks ?? 0, sample?.failed ?? 0]
  if (tasks === 0) return <span className="dim">–</span>
  return (
    <span className={failed > 0 ? 'tone-bad' : undefined}>
      {count(failed)} ({percent(failed, tasks)})
    </span>
  )
}
