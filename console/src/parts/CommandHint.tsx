import { useState } from 'react'
import { useMessages } from '../app/messages'
import { useToasts } from '../app/toasts'
import { messages } from './messages'
import { SafeText } from './SafeText'
import { curl } from './shell-words'

export type ApiCall = { method?: 'GET' | 'POST' | 'PUT' | 'DELETE'; path: string; body?: unknown }

/** What does the same elsewhere, ready to copy. `command` comes from `sengu(...)`, which quotes; without one the CLI has none. */
export function CommandHint({ command, call }: { command?: string; call: ApiCall }) {
  const t = useMessages(messages)
  const [open, setOpen] = useState(false)
  return (
    <details className="hint" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t.sameElsewhere}</summary>
      {open ? (
        <>
          {command === undefined ? <p className="dim">{t.noCommand}</p> : <Line text={command} />}
          <Line text={curl(location.origin, call.method ?? 'GET', call.path, call.body)} />
        </>
      ) : null}
    </details>
  )
}

function Line({ text }: { text: string }) {
  return (
    <div className="hint-line">
      <code>
        <SafeText text={text} max={2000} mono />
      </code>
      <CopyButton text={text} />
    </div>
  )
}

export function CopyButton({ text }: { text: string }) {
  const t = useMessages(messages)
  const { say } = useToasts()
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => say(t.copied),
      () => say(t.copyFailed, 'warn'),
    )
  }
  return (
    <button type="button" className="small" onClick={copy}>
      {t.copy}
    </button>
  )
}
