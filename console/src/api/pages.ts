import { useInfiniteQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { type ApiProblem, asProblem } from './problem'

export type CursorPage<T> = { items: T[]; cursor?: string | null }

export type Pages<T> = {
  rows: T[]
  loading: boolean
  loadingMore: boolean
  problem: ApiProblem | undefined
  /** There are more rows, and asking for them is allowed. */
  more: boolean
  /** There are more rows than one table may hold: a narrower question is needed. */
  full: boolean
  /** Pages asked for so far. */
  asked: number
  /** Many pages in a row held little of what is looked for; `lookOn` goes on. Until then `more` is false. */
  stalled: boolean
  lookOn: () => void
  next: () => void
  again: () => void
}

/** A table holds at most so many rows: nobody reads on, and the tab's memory stays bounded. */
export const ROWS_MAX = 10_000

/** For a rare thing that is looked for page by page, where a page may come back with nothing. */
export type Look = {
  /** Pages without enough rows that are asked for before the reader is asked whether to look on. */
  pages: number
  /** Rows of a page that is full. */
  rows: number
}

/** A list that the server pages by cursor, asked for page by page as the reader scrolls. */
export function useCursorPages<T>(
  key: readonly unknown[],
  fetchPage: (cursor: string | undefined, signal: AbortSignal) => Promise<CursorPage<T>>,
  options: { enabled?: boolean; refetchMs?: number; look?: Look } = {},
): Pages<T> {
  const look = options.look
  const [allowed, setAllowed] = useState(look?.pages ?? 0)
  const query = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam, signal }) => fetchPage(pageParam, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.cursor ?? undefined,
    enabled: options.enabled ?? true,
    // Only while one page is all there is: asking again asks for every page that is loaded.
    refetchInterval: (asked) => ((asked.state.data?.pages.length ?? 0) <= 1 ? (options.refetchMs ?? false) : false),
  })
  const pages = query.data?.pages
  const rows = useMemo(() => pages?.flatMap((page) => page.items) ?? [], [pages])
  const full = query.hasNextPage && rows.length >= ROWS_MAX
  const asked = pages?.length ?? 0
  const stalled = look !== undefined && query.hasNextPage && !full && asked - Math.floor(rows.length / look.rows) >= allowed
  return {
    rows,
    loading: query.isPending && (options.enabled ?? true),
    loadingMore: query.isFetchingNextPage,
    problem: query.error ? asProblem(query.error) : undefined,
    more: query.hasNextPage && !full && !stalled,
    full,
    asked,
    stalled,
    lookOn: () => setAllowed((before) => before + (look?.pages ?? 0)),
    next: () => void query.fetchNextPage({ cancelRefetch: false }),
    again: () => void query.refetch(),
  }
}
