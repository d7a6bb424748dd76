import { type ReactNode, useEffect, useId, useRef } from 'react'
import { useMessages } from '../app/messages'
import { messages } from './messages'

type Props = { title: string; onClose: () => void; children: ReactNode; wide?: boolean; busy?: boolean }

/** A modal dialog of the browser's own: it keeps the focus inside, gives it back, and closes with Escape. */
export function Dialog({ title, onClose, children, wide = false, busy = false }: Props) {
  const t = useMessages(messages)
  const ref = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    const dialog = ref.current
    if (dialog && !dialog.open) dialog.showModal()
  }, [])
  return (
    <dialog
      ref={ref}
      className={wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault()
        if (!busy) onClose()
      }}
    >
      <header className="dialog-head">
        <h2 id={heading}>{title}</h2>
        <button type="button" className="plain small" onClick={onClose} disabled={busy}>
          {t.close}
        </button>
      </header>
      {children}
    </dialog>
  )
}
