import { useMutation, useQueryClient } from '@tanstack/react-query'
import { request } from '../api/client'
import { type ApiProblem, asProblem } from '../api/problem'
import { useToasts } from '../app/toasts'
import type { ApiCall } from './CommandHint'

export type Acting<T> = {
  run: (call: ApiCall) => void
  busy: boolean
  problem: ApiProblem | undefined
  reset: () => void
  answer: T | undefined
}

/**
 * One change asked of the server. Afterwards all that is on the page is asked for again: what one change moves
 * elsewhere is not ours to know.
 */
export function useAct<T = unknown>(
  then: (answer: T) => void,
  said?: string,
  /** Asks in another way than by the call that is shown: with a header of its own. */
  ask: (call: ApiCall) => Promise<T> = (call) => request<T>(call.method ?? 'POST', call.path, call.body),
): Acting<T> {
  const client = useQueryClient()
  const { say } = useToasts()
  const mutation = useMutation({
    mutationFn: ask,
    onSuccess: (answer) => {
      if (said !== undefined) say(said)
      void client.invalidateQueries()
      then(answer)
    },
  })
  return {
    run: (call) => mutation.mutate(call),
    busy: mutation.isPending,
    problem: mutation.error ? asProblem(mutation.error) : undefined,
    reset: () => mutation.reset(),
    answer: mutation.data,
  }
}
