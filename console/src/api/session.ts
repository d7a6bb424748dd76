import { useQuery } from '@tanstack/react-query'
import { useAnswering } from '../app/connection'
import { request } from './client'

export type Role = 'operator' | 'viewer'
export type Session = { role: Role; by: 'token' | 'cookie'; name?: string | null; expiresAt?: string | null }

export const SESSION_KEY = ['session'] as const

/** Who is looking. Asked again now and then, and often while nothing answers: that is how the connection is found again. */
export function useSession() {
  const answering = useAnswering()
  return useQuery({
    queryKey: SESSION_KEY,
    queryFn: ({ signal }) => request<Session>('GET', '/v1/session', undefined, signal),
    staleTime: 60_000,
    refetchInterval: answering ? 60_000 : 3_000,
  })
}

/** Exchanges a token or a one-time code for the session cookie. Neither is kept anywhere in the browser. A name is for the audit. */
export async function logIn(proof: { token: string; name?: string } | { code: string }): Promise<void> {
  await request('POST', '/v1/session', proof)
}

export async function logOut(): Promise<void> {
  await request('DELETE', '/v1/session')
}
