import { useQuery } from '@tanstack/react-query'
import { api, body } from '../../../api/client'

const REFRESH_MS = 1_500
export const OPEN_MAX = 100

/** Tasks of a target that have not ended, the oldest first: the order of its lane. `more`: there are others. */
export function useOpenTasks(target: string) {
  return useQuery({
    queryKey: ['lane', target],
    queryFn: async ({ signal }) => {
      const page = await body(api.GET('/v1/tasks', { params: { query: { target, state: 'open', limit: OPEN_MAX } }, signal }))
      return { tasks: page.items.toReversed(), more: page.cursor != null }
    },
    refetchInterval: REFRESH_MS,
  })
}
