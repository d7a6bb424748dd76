import { useQuery } from '@tanstack/react-query'
import { api, body } from '../../api/client'
import { releaseOf } from './release'

const REFRESH_MS = 2_000

export function useWorkers() {
  return useQuery({ queryKey: ['workers'], queryFn: ({ signal }) => body(api.GET('/v1/workers', { signal })), refetchInterval: REFRESH_MS })
}

/** Releases of all kinds: there are as many as there are worker kinds, so one page has them. */
export function useReleases() {
  return useQuery({
    queryKey: ['releases'],
    queryFn: async ({ signal }) => {
      const page = await body(api.GET('/v1/records/{kind}', { params: { path: { kind: 'Release' }, query: { limit: 500 } }, signal }))
      return page.items.map(releaseOf)
    },
    refetchInterval: REFRESH_MS,
  })
}

export function useRelease(kind: string) {
  return useQuery({
    queryKey: ['release', kind],
    queryFn: async ({ signal }) => releaseOf(await body(api.GET('/v1/records/{kind}/{name}', { params: { path: { kind: 'Release', name: kind } }, signal }))),
    refetchInterval: REFRESH_MS,
  })
}

/** Execution environments, with what they say of themselves. */
export function useWees() {
  return useQuery({
    queryKey: ['wees'],
    queryFn: async ({ signal }) => {
      const [top, seen] = await Promise.all([body(api.GET('/v1/top', { signal })), body(api.GET('/v1/overview', { signal }))])
      return { announced: top.wees, seen: seen.wees }
    },
    refetchInterval: REFRESH_MS,
  })
}
