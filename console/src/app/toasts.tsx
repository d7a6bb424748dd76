import { createContext, type ReactNode, useCallback, useContext, useMemo, useRef, useState } from 'react'
import { SafeText } from '../parts/SafeText'
import type { Tone } from '../parts/states'
import { Mark } from '../parts/StateBadge'

type Toast = { id: number; text: string; tone: Tone }
type Toasts = { say: (text: string, tone?: Tone) => void }

const SHOWN_MS = 6000
const SHOWN_MAX = 4
const Context = createContext<Toasts>({ say: () => undefined })

/** Short announcements: seen for some seconds, and read aloud. What must not be missed belongs on the page instead. */
export function ToastProvider({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<Toast[]>([])
  const next = useRef(1)
  const say = useCallback((text: string, tone: Tone = 'ok') => {
    const id = next.current++
    setToasts((before) => [...before.slice(1 - SHOWN_MAX), { id, text, tone }])
    setTimeout(() => setToasts((before) => before.filter((toast) => toast.id !== id)), SHOWN_MS)
  }, [])
  const value = useMemo(() => ({ say }), [say])
  return (
    <Context value={value}>
      {children}
      <div className="toasts" role="status" aria-live="polite">
        {toasts.map((toast) => (
          <p key={toast.id} className={`toast tone-${toast.tone}`}>
            <Mark tone={toast.tone} shape={toast.tone === 'bad' ? 'cross' : toast.tone === 'warn' ? 'triangle' : 'dot'} />
            <SafeText text={toast.text} still />
          </p>
        ))}
      </div>
    </Context>
  )
}

export function useToasts(): Toasts {
  return useContext(Context)
}
