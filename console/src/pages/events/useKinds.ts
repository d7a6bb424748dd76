import { useQuery } from '@tanstack/react-query'
import { api, body } from '../../api/client'

/** The kinds of records and those of workers, as the server explains them. */
export function useKinds(): { records: string[]; workers: string[]; known: boolean } {
  const kinds = useQuery({
    queryKey: ['explained'],
    queryFn: ({ signal }) => body(api.GET('/v1/kinds', { signal })),
    staleTime: 60_000,
  })
  const items = kinds.data?.items ?? []
  return {
    records: items.filter((each) => each.actions === undefined).map((each) => each.kind),
    workers: items.filter((each) => each.actions !== undefined).map((each) => each.kind),
    known: !kinds.isPending,
  }
}
