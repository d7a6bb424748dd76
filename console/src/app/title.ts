import { useEffect } from 'react'

/** The title of the tab: the page, and what it shows. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · sengu`
  }, [title])
}
