import type { components } from '../../api/openapi'

type Schemas = components['schemas']
export type Worker = Schemas['WorkerView']
/** What has a default may be left out of a stored record, whatever the schema of a whole one says. */
export type Sample = Partial<Schemas['Sample']>
export type Cell = Partial<Schemas['Cell']>
export type CellStatus = { cell?: Cell; held?: boolean; seen?: Sample; replaced?: Sample }
export type ShadowStatus = Partial<Schemas['ShadowStatus']>
export type ReleaseRule = Partial<Schemas['ReleaseRule']> & { name: string; version: string }
export type RuleStatus = Partial<Omit<Schemas['RuleStatus'], 'cells' | 'seen' | 'replaced' | 'shadow'>> & {
  cells?: CellStatus[]
  seen?: Sample
  replaced?: Sample
  shadow?: ShadowStatus | null
}

/** A Release as far as this page shows it: whatever is missing is empty. */
export type Release = {
  kind: string
  revision: number | undefined
  version: string
  rules: ReleaseRule[]
  status: { rules: RuleStatus[]; held: Schemas['HeldCell'][]; history: Schemas['ReleaseEvent'][]; followsBundled: boolean; before: string | undefined; previous: string | undefined }
}

export function releaseOf(record: Schemas['Record']): Release {
  const spec = (record.spec ?? {}) as Partial<Schemas['ReleaseSpec']>
  const status = (record.status ?? {}) as Partial<Schemas['ReleaseStatus']>
  return {
    kind: record.metadata.name,
    revision: record.metadata.revision ?? undefined,
    version: spec.version ?? '',
    rules: spec.rules ?? [],
    status: {
      rules: status.rules ?? [],
      held: status.held ?? [],
      history: status.history ?? [],
      followsBundled: status.followsBundled ?? false,
      before: status.before?.version,
      previous: status.previous?.version,
    },
  }
}

/** What a rule is doing, in the words of `StateBadge`. */
export function phaseOf(rule: ReleaseRule, status: RuleStatus | undefined): string {
  if (status?.phase) return status.phase
  return rule.shadow === true ? 'Shadow' : 'Rolling'
}

/** One word for the whole Release: what moves, or how the last move ended. */
export function standingOf(release: Release): string {
  const moving = release.rules.map((rule) => phaseOf(rule, statusOf(release, rule))).find((phase) => phase !== 'Settled')
  if (moving !== undefined) return moving
  const last = release.status.history[release.status.history.length - 1]
  if (last?.what === 'rolled-back') return 'rolled-back'
  return 'settled'
}

export function statusOf(release: Release, rule: ReleaseRule): RuleStatus | undefined {
  return release.status.rules.find((each) => each.name === rule.name)
}

export function cellWords(cell: Cell | undefined): string {
  return [cell?.vendor, cell?.model, cell?.firmware, cell?.action].map((word) => word ?? '-').join(' / ')
}

export function failedShare(sample: Sample | undefined): number | undefined {
  const tasks = sample?.tasks ?? 0
  return tasks === 0 ? undefined : (sample?.failed ?? 0) / tasks
}

/** Something can be taken back: a rollout on its way, or a move before. */
export function canRollBack(release: Release): boolean {
  return release.rules.length > 0 || release.status.before !== undefined || release.status.previous !== undefined
}

/** What `--auto` of the CLI means. */
export const AUTO = ['1%', '10%', '50%', '100%'] as const
