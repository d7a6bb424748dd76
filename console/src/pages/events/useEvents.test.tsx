import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { cleanup, renderHook, waitFor } from '@testing-library/react'
import type { ReactNode } from 'react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Filter, Task } from './seen'
import { useEvents } from './useEvents'

const TASKS: Filter = { what: 'tasks', kind: '', name: '' }
const ended = (id: string, endedAt: string) => ({ id, target: 'bmc-1', kind: 'redfish', ending: { endedAt, outcome: { status: 'done' } } }) as unknown as Task
const FIRST = ended('t-1', '2026-11-20T14:53:45Z')
const SECOND = ended('t-2', '2026-11-20T14:53:46Z')
const THIRD = ended('t-3', '2026-11-20T14:53:47Z')

/** A sengu that keeps `tasks` and admits a stream of results when it is told to. */
class Server {
  tasks: Task[] = []
  /** How often the tasks were listed. */
  lists = 0
  private stream: ReadableStreamDefaultController<Uint8Array> | undefined
  private admitStream: ((response: Response) => void)[] = []

  /** Where changes were followed from. */
  watched: string[] = []

  answer(path: string): Promise<Response> {
    if (path.startsWith('/v1/watch')) {
      this.watched.push(path)
      return Promise.resolve(new Response(new ReadableStream()))
    }
    if (path.startsWith('/v1/changes')) return Promise.resolve(Response.json({ items: [], oldest: 1, revision: 7 }))
    if (path.startsWith('/v1/results')) return new Promise((answer) => this.admitStream.push(answer))
    this.lists += 1
    return Promise.resolve(Response.json({ items: this.tasks }))
  }

  admit(): void {
    const body = new ReadableStream<Uint8Array>({ start: (stream) => void (this.stream = stream) })
    for (const answer of this.admitStream.splice(0)) answer(new Response(body))
  }

  refuse(): void {
    for (const answer of this.admitStream.splice(0)) answer(Response.json({ code: 'forbidden', detail: 'no' }, { status: 403 }))
  }

  tell(task: Task): void {
    this.stream?.enqueue(new TextEncoder().encode(`event: result\nid: 1\ndata: ${JSON.stringify({ data: task })}\n\n`))
  }
}

let server: Server
beforeEach(() => {
  server = new Server()
  vi.stubGlobal('fetch', (path: string) => server.answer(path))
})
afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

function followed(filter = TASKS) {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } })
  const wrapper = ({ children }: { children: ReactNode }) => <QueryClientProvider client={client}>{children}</QueryClientProvider>
  const { result } = renderHook(() => useEvents(filter, [], false), { wrapper })
  return { ids: () => result.current.rows.map((row) => row.key), now: () => result.current }
}

describe('tasks that end while the page is opened', () => {
  test('are shown when they end after the list was answered and before the stream is admitted', async () => {
    server.tasks = [FIRST]
    const page = followed()
    await waitFor(() => expect(page.now()).toMatchObject({ loading: false, state: 'connecting' }))
    expect(page.ids()).toEqual(['t-1'])
    server.tasks = [SECOND, FIRST]
    server.admit()
    await waitFor(() => expect(page.ids()).toEqual(['t-2', 't-1']))
    expect(server.lists).toBe(2)
  })

  test('are shown once when both the stream and the list tell of them', async () => {
    server.tasks = [FIRST]
    const page = followed()
    await waitFor(() => expect(page.ids()).toEqual(['t-1']))
    server.tasks = [SECOND, FIRST]
    server.admit()
    await waitFor(() => expect(page.ids()).toEqual(['t-2', 't-1']))
    server.tell(SECOND)
    server.tell(THIRD)
    await waitFor(() => expect(page.ids()).toEqual(['t-3', 't-2', 't-1']))
    expect(page.now().counts.came).toBe(2)
  })

  test('are listed even where the stream is refused', async () => {
    server.tasks = [FIRST]
    const page = followed()
    server.refuse()
    await waitFor(() => expect(page.now()).toMatchObject({ loading: false, state: 'refused' }))
    expect(page.ids()).toEqual(['t-1'])
  })
})

test('changes are followed from where the list ends, though there is none in it', async () => {
  followed({ what: 'written', kind: '', name: '' })
  await waitFor(() => expect(server.watched).toEqual(['/v1/watch?from=7']))
})
