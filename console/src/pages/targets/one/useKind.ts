import { useQuery } from '@tanstack/react-query'
import { api, body } from '../../../api/client'
import { actionsOf } from '../../runs/actions'
import { kindLimits, mainVersion } from './limits'

/** What a kind can do, and what its worker allows on one target. */
export function useActions(kind: string) {
  const kinds = useQuery({ queryKey: ['kinds-explained'], queryFn: ({ signal }) => body(api.GET('/v1/kinds', { signal })), staleTime: 60_000 })
  return { actions: kinds.data ? actionsOf(kinds.data.items).filter((action) => action.kind === kind) : undefined, problem: kinds.error, again: kinds.refetch }
}

export function useKindLimits(kind: string) {
  const limits = useQuery({
    queryKey: ['kind-limits', kind],
    queryFn: async ({ signal }) => {
      const workers = await body(api.GET('/v1/workers', { signal }))
      const name = mainVersion(workers, kind)
      if (name === undefined) return kindLimits(undefined)
      return kindLimits(await body(api.GET('/v1/records/{kind}/{name}', { params: { path: { kind: 'Worker', name } }, signal })))
    },
    staleTime: 60_000,
  })
  return limits.data
}
