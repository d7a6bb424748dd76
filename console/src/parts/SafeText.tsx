import { useState } from 'react'
import { useMessages } from '../app/messages'
import { messages } from './messages'
import { visible, visibleText } from './visible'

type Props = {
  text: string | null | undefined
  /** Characters before it is clipped. */
  max?: number
  mono?: boolean
  /** Line ends stay line ends: for logs and output. */
  lines?: boolean
  /** No button to see the rest: inside a link, a table cell or a canvas list. */
  still?: boolean
}

/** Any text that a person or a device has chosen. Nothing in it acts, and it never spills over its neighbours. */
export function SafeText({ text, max = 200, mono = false, lines = false, still = false }: Props) {
  const t = useMessages(messages)
  const [open, setOpen] = useState(false)
  const whole = text ?? ''
  const clipped = !open && whole.length > max
  const shown = clipped ? whole.slice(0, max) : whole
  const className = `safe${mono ? ' mono' : ''}${lines ? ' lines' : ''}`
  return (
    <span className={className} title={still && clipped ? visibleText(whole.slice(0, 1000)) : undefined}>
      <bdi>
        {visible(shown, lines).map((piece, at) =>
          piece.mark ? (
            <span key={at} className="safe-mark">
              {piece.text}
            </span>
          ) : (
            piece.text
          ),
        )}
      </bdi>
      {clipped && still ? '…' : null}
      {whole.length > max && !still ? (
        <button type="button" className="plain small" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? t.less : t.more(whole.length - max)}
        </button>
      ) : null}
    </span>
  )
}
