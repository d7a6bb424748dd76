import { useSyncExternalStore } from 'react'

/** Whether sengu answered the last time anything was asked of it. */
let answering = true
const listeners = new Set<() => void>()

export function noteAnswer(answered: boolean): void {
  if (answered === answering) return
  answering = answered
  for (const listener of listeners) listener()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export function useAnswering(): boolean {
  return useSyncExternalStore(subscribe, () => answering)
}
