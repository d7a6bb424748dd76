import type { components } from './openapi'

export type Fault = components['schemas']['Fault']
type Problem = components['schemas']['Problem']

/** A refused or lost request. `code` is the server's stable word, or one of ours when nothing answered. */
export class ApiProblem extends Error {
  readonly status: number
  readonly code: string
  readonly hint: string | undefined
  readonly faults: Fault[]
  readonly requestId: string | undefined
  readonly retryAfterMs: number | undefined

  constructor(status: number, code: string, detail: string, more: Partial<Problem> = {}, retryAfterMs?: number) {
    super(detail)
    this.name = 'ApiProblem'
    this.status = status
    this.code = code
    this.hint = more.hint ?? undefined
    this.faults = more.errors ?? []
    this.requestId = more.requestId ?? undefined
    this.retryAfterMs = retryAfterMs
  }

  /** Worth trying again by itself: nothing was decided about the request. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502
  }
}

/** Reads the problem document of an answer that is not 2xx. Whatever else comes is shown as it is, clipped. */
export async function problemOf(response: Response): Promise<ApiProblem> {
  const retryAfter = Number(response.headers.get('retry-after'))
  const retryAfterMs = Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter * 1000 : undefined
  const text = await response.text().catch(() => '')
  try {
    const problem = JSON.parse(text) as Partial<Problem>
    if (typeof problem.code === 'string') {
      return new ApiProblem(response.status, problem.code, problem.detail ?? problem.code, problem, retryAfterMs)
    }
  } catch {
    // Not from sengu itself: a proxy between, perhaps.
  }
  const detail = text.slice(0, 300) || `${response.status} ${response.statusText}`
  return new ApiProblem(response.status, 'not_a_problem_document', detail, {}, retryAfterMs)
}

/** Whatever was thrown, as a problem that can be shown. */
export function asProblem(thrown: unknown): ApiProblem {
  if (thrown instanceof ApiProblem) return thrown
  if (thrown instanceof TypeError) return new ApiProblem(0, 'no_answer', 'sengu does not answer')
  return new ApiProblem(0, 'defect', thrown instanceof Error ? thrown.message : String(thrown))
}
