import type { components } from '../../api/openapi'
import type { Schema } from '../../parts/schema'

export type Action = {
  /** `kind.name`: the same action of two kinds takes other parameters. */
  id: string
  kind: string
  name: string
  description: string
  effect: string
  effectByCaller: boolean
  timeoutMs: number | undefined
  params: Schema
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** Actions of all worker kinds, as `GET /v1/kinds` explains them; those that sengu keeps for itself are left out. */
export function actionsOf(kinds: components['schemas']['Explained'][]): Action[] {
  return kinds.flatMap((kind) =>
    ((kind.actions ?? []) as Record<string, unknown>[])
      .filter((action) => action['internal'] !== true)
      .map((action) => ({
        id: `${kind.kind}.${text(action['name'])}`,
        kind: kind.kind,
        name: text(action['name']),
        description: text(action['description']),
        effect: text(action['effect']),
        effectByCaller: action['effect_by_caller'] === true,
        timeoutMs: typeof action['timeout_ms'] === 'number' ? action['timeout_ms'] : undefined,
        params: (typeof action['params'] === 'object' && action['params'] !== null ? action['params'] : {}),
      })),
  )
}
