import createClient, { type Middleware } from 'openapi-fetch'
import { noteAnswer } from '../app/connection'
import type { paths } from './openapi'
import { ApiProblem, problemOf } from './problem'

let whenUnauthenticated: () => void = () => undefined

/** Who is told when the session is over, wherever that is noticed. */
export function onUnauthenticated(told: () => void): void {
  whenUnauthenticated = told
}

export function noticeProblem(problem: ApiProblem): ApiProblem {
  if (problem.code === 'unauthenticated') whenUnauthenticated()
  return problem
}

const refusals: Middleware = {
  onError({ request: asked }) {
    if (!asked.signal.aborted) noteAnswer(false)
  },
  async onResponse({ response }) {
    noteAnswer(true)
    if (response.ok) return undefined
    throw noticeProblem(await problemOf(response))
  },
}

/** The typed client of the public API. The session cookie goes along by itself; a refusal is thrown as `ApiProblem`. */
export const api = createClient<paths>({ baseUrl: location.origin, credentials: 'same-origin' })
api.use(refusals)

/** The body of an answer: what was refused has been thrown already. */
export async function body<T>(answer: Promise<{ data?: T; error?: unknown }>): Promise<T> {
  const { data } = await answer
  return data as T
}

export type Query = Record<string, string | number | boolean | undefined>

/** A path below `/v1` with its query; what is undefined or empty is left out. */
export function address(path: string, query: Query = {}): string {
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') search.set(key, String(value))
  }
  const text = search.toString()
  return text === '' ? path : `${path}?${text}`
}

/** For the few places that build a path at run time. */
export async function request<T>(method: string, path: string, content?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await fetch(path, {
    method,
    credentials: 'same-origin',
    headers: content === undefined ? {} : { 'content-type': 'application/json' },
    body: content === undefined ? null : JSON.stringify(content),
    signal: signal ?? null,
  }).catch((thrown: unknown) => {
    if (!signal?.aborted) noteAnswer(false)
    throw thrown
  })
  noteAnswer(true)
  if (!response.ok) throw noticeProblem(await problemOf(response))
  if (response.status === 204) return undefined as T
  return (await response.json()) as T
}
