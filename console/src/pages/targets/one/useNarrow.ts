import { useSyncExternalStore } from 'react'

const query = () => matchMedia('(max-width: 520px)')
function subscribe(listener: () => void): () => void {
  const asked = query()
  asked.addEventListener('change', listener)
  return () => asked.removeEventListener('change', listener)
}

/** As narrow as a telephone: rows of two lines. */
export function useNarrow(): boolean {
  return useSyncExternalStore(subscribe, () => query().matches)
}
