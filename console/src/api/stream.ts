import { useEffect, useRef, useState } from 'react'
import { noteAnswer } from '../app/connection'
import { noticeProblem } from './client'
import { type ApiProblem, asProblem, problemOf } from './problem'
import { SseParser, type StreamEvent } from './sse'

export type { StreamEvent }

export type StreamState = 'connecting' | 'live' | 'waiting' | 'paused' | 'refused' | 'ended'

export type StreamOptions = {
  path: string
  onEvent: (event: StreamEvent) => void
  onState?: (state: StreamState, problem?: ApiProblem) => void
  /** Where to go on from; afterwards the id of the last event that came. */
  lastEventId?: string
  /** The server ends this stream when there is no more (logs of a task): do not ask again. */
  once?: boolean
}

const BACKOFF_MIN_MS = 500
const BACKOFF_MAX_MS = 15_000
/** A stream that lasted this long was well: the next wait is short again. */
const WELL_AFTER_MS = 10_000
/** A hidden tab gives its stream back after this long: browsers have six connections to a host over HTTP/1.1. */
const HIDDEN_MS = 5_000

/** The wait before the `attempt`-th try, spread so that many tabs do not come back at once. Pure. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(attempt, 10))
  return Math.round(full / 2 + (full / 2) * random)
}

/**
 * Follows a server-sent event stream until it is closed. Not EventSource: that hides why it was refused,
 * and waits the same time for ever.
 */
export function follow(options: StreamOptions): () => void {
  const { path, onEvent, once } = options
  let lastEventId = options.lastEventId ?? ''
  let closed = false
  let attempt = 0
  let abort = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  let hiddenTimer: ReturnType<typeof setTimeout> | undefined
  let paused = false

  const say = (state: StreamState, problem?: ApiProblem) => {
    if (!closed) options.onState?.(state, problem)
  }

  async function read(): Promise<void> {
    abort = new AbortController()
    const mine = abort
    const began = performance.now()
    say('connecting')
    const parser = new SseParser()
    parser.lastId = lastEventId
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' }
      if (lastEventId !== '') headers['last-event-id'] = lastEventId
      const response = await fetch(path, { headers, credentials: 'same-origin', signal: mine.signal, cache: 'no-store' })
      if (!response.ok || !response.body) throw noticeProblem(await problemOf(response))
      noteAnswer(true)
      say('live')
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        for (const event of parser.push(value)) {
          lastEventId = event.id
          if (!mine.signal.aborted) onEvent(event)
        }
      }
      if (once) {
        say('ended')
        return
      }
      again(began)
    } catch (thrown) {
      if (mine.signal.aborted) return
      const problem = asProblem(thrown)
      if (problem.status === 0) noteAnswer(false)
      if (problem.status >= 400 && !problem.passing) {
        say('refused', problem)
        return
      }
      again(began, problem)
    }
  }

  function again(began: number, problem?: ApiProblem): void {
    if (closed || paused) return
    attempt = performance.now() - began > WELL_AFTER_MS ? 0 : attempt + 1
    say('waiting', problem)
    timer = setTimeout(() => void read(), Math.max(backoffMs(attempt, Math.random()), problem?.retryAfterMs ?? 0))
  }

  function onVisibility(): void {
    clearTimeout(hiddenTimer)
    if (document.hidden) {
      hiddenTimer = setTimeout(() => {
        paused = true
        clearTimeout(timer)
        abort.abort()
        say('paused')
      }, HIDDEN_MS)
    } else if (paused) {
      paused = false
      attempt = 0
      void read()
    }
  }

  document.addEventListener('visibilitychange', onVisibility)
  void read()
  return () => {
    closed = true
    clearTimeout(timer)
    clearTimeout(hiddenTimer)
    document.removeEventListener('visibilitychange', onVisibility)
    abort.abort()
  }
}

/** Follows a stream while the component is there; `path` undefined: none. `onEvent` may change freely. */
export function useStream(
  path: string | undefined,
  onEvent: (event: StreamEvent) => void,
  /** `round`: another number begins anew. */
  more: { lastEventId?: string; once?: boolean; round?: number } = {},
): { state: StreamState; problem: ApiProblem | undefined } {
  const [standing, setStanding] = useState<{ state: StreamState; problem: ApiProblem | undefined }>({
    state: 'connecting',
    problem: undefined,
  })
  const latest = useRef(onEvent)
  useEffect(() => {
    latest.current = onEvent
  })
  const { lastEventId, once, round } = more
  useEffect(() => {
    if (path === undefined) return undefined
    return follow({
      path,
      onEvent: (event) => latest.current(event),
      onState: (state, problem) => setStanding({ state, problem }),
      ...(lastEventId === undefined ? {} : { lastEventId }),
      ...(once === undefined ? {} : { once }),
    })
  }, [path, lastEventId, once, round])
  return standing
}
