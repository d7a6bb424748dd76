import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, cleanup, renderHook, waitFor } from '@testing-library/react'
import type { ReactNode } from 'react'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type CursorPage, type Look, ROWS_MAX, useCursorPages } from './pages'
import { ApiProblem } from './problem'

afterEach(cleanup)

function shown(fetchPage: (cursor: string | undefined) => CursorPage<number> | Promise<CursorPage<number>>, look?: Look) {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } })
  const wrapper = ({ children }: { children: ReactNode }) => <QueryClientProvider client={client}>{children}</QueryClientProvider>
  return renderHook(() => useCursorPages(['numbers'], async (cursor) => fetchPage(cursor), look === undefined ? {} : { look }), { wrapper }).result
}

describe('a list that is paged by cursor', () => {
  test('is asked for page by page, each with the cursor of the one before', async () => {
    const pages: Record<string, CursorPage<number>> = {
      '': { items: [1, 2], cursor: 'b' },
      // A short page, even an empty one, may have a next.
      b: { items: [], cursor: 'c' },
      c: { items: [3], cursor: null },
    }
    const fetchPage = vi.fn((cursor: string | undefined) => pages[cursor ?? ''] ?? { items: [] })
    const list = shown(fetchPage)
    expect(list.current).toMatchObject({ loading: true, rows: [] })
    await waitFor(() => expect(list.current).toMatchObject({ loading: false, rows: [1, 2], more: true, asked: 1 }))
    act(() => list.current.next())
    await waitFor(() => expect(list.current).toMatchObject({ rows: [1, 2], more: true, asked: 2 }))
    act(() => list.current.next())
    await waitFor(() => expect(list.current).toMatchObject({ rows: [1, 2, 3], more: false, full: false, asked: 3 }))
    expect(fetchPage.mock.calls.map(([cursor]) => cursor)).toEqual([undefined, 'b', 'c'])
  })

  test('holds no more than it may, and says so', async () => {
    const list = shown(() => ({ items: Array.from({ length: ROWS_MAX }, (_, i) => i), cursor: 'on' }))
    await waitFor(() => expect(list.current).toMatchObject({ more: false, full: true }))
  })

  test('stops when it has looked through many pages in vain, and goes on when asked to', async () => {
    const list = shown(() => ({ items: [], cursor: 'on' }), { pages: 2, rows: 100 })
    await waitFor(() => expect(list.current).toMatchObject({ more: true, stalled: false, asked: 1 }))
    act(() => list.current.next())
    await waitFor(() => expect(list.current).toMatchObject({ more: false, stalled: true, asked: 2 }))
    act(() => list.current.lookOn())
    expect(list.current).toMatchObject({ more: true, stalled: false })
  })

  test('says what was refused', async () => {
    const list = shown(() => Promise.reject(new ApiProblem(422, 'invalid_selector', 'no')))
    await waitFor(() => expect(list.current.problem).toMatchObject({ code: 'invalid_selector' }))
    expect(list.current).toMatchObject({ rows: [], loading: false, more: false })
  })
})
