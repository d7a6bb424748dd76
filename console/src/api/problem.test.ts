import { describe, expect, test } from 'vitest'
import { ApiProblem, asProblem, problemOf } from './problem'

function answer(status: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(body, { status, headers })
}

describe('a refusal', () => {
  test('in the server’s form is taken as it is', async () => {
    const body = {
      code: 'invalid_field',
      detail: 'spec.kind: nobody knows it',
      hint: 'sengu get workers',
      requestId: 'q-1',
      errors: [{ place: 'spec.kind', message: 'nobody knows it' }],
    }
    const problem = await problemOf(answer(422, JSON.stringify(body)))
    expect(problem).toMatchObject({ status: 422, code: 'invalid_field', message: body.detail, hint: body.hint, requestId: 'q-1', faults: body.errors, passing: false })
  })

  test.each([
    ['a page of a proxy', 502, '<html>bad gateway</html>', 'not_a_problem_document', '<html>bad gateway</html>', true],
    ['nothing', 503, '', 'not_a_problem_document', '503 ', true],
    ['JSON of somebody else', 404, '{"error":"no"}', 'not_a_problem_document', '{"error":"no"}', false],
    ['JSON that is no object', 500, 'null', 'not_a_problem_document', 'null', false],
    ['without a detail', 409, '{"code":"conflict"}', 'conflict', 'conflict', false],
  ])('%s', async (_, status, body, code, message, passing) => {
    expect(await problemOf(answer(status, body))).toMatchObject({ status, code, message, passing, faults: [] })
  })

  test('of somebody else is clipped', async () => {
    expect((await problemOf(answer(502, 'x'.repeat(4096)))).message).toHaveLength(300)
  })

  test.each([
    ['2', 2000],
    ['0', undefined],
    ['Fri, 01 Jan 2027 00:00:00 GMT', undefined],
  ])('Retry-After %s', async (header, ms) => {
    expect((await problemOf(answer(429, '{"code":"too_many_requests"}', { 'retry-after': header }))).retryAfterMs).toBe(ms)
  })
})

test.each([
  ['a refusal stays itself', new ApiProblem(403, 'forbidden', 'a viewer'), 'forbidden', false],
  ['fetch found nobody', new TypeError('Failed to fetch'), 'no_answer', true],
  ['our own mistake', new Error('boom'), 'defect', true],
  ['anything', 'boom', 'defect', true],
])('what was thrown: %s', (_, thrown, code, passing) => {
  expect(asProblem(thrown)).toMatchObject({ code, passing })
})
