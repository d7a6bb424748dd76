import { type ReactNode, useId, useState } from 'react'
import { useMessages } from '../app/messages'
import type { ApiProblem } from '../api/problem'
import { type ApiCall, CommandHint } from './CommandHint'
import { Dialog } from './Dialog'
import { messages } from './messages'
import { Problem } from './Standing'

type Props = {
  title: string
  /** What will be touched, in full: the reader decides by this and nothing else. */
  children: ReactNode
  /** The word on the button: what happens, not "OK". */
  act: string
  danger?: boolean
  /** Must be typed before the button works, for what cannot be taken back. */
  typed?: string
  busy: boolean
  problem?: ApiProblem | undefined
  command?: string
  call?: ApiCall
  onConfirm: () => void
  onClose: () => void
}

export function ConfirmDialog(props: Props) {
  const { title, children, act, danger = false, typed, busy, problem, command, call, onConfirm, onClose } = props
  const t = useMessages(messages)
  const [text, setText] = useState('')
  const field = useId()
  const ready = typed === undefined || text.trim() === typed
  return (
    <Dialog title={title} onClose={onClose} busy={busy}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (ready && !busy) onConfirm()
        }}
      >
        <div className="dialog-body">
          {children}
          {typed === undefined ? null : (
            <p className="field">
              <label htmlFor={field}>{t.typeToConfirm(typed)}</label>
              <input id={field} className="mono" value={text} autoComplete="off" onChange={(event) => setText(event.target.value)} />
            </p>
          )}
          {problem ? <Problem problem={problem} /> : null}
          {command !== undefined && call ? <CommandHint command={command} call={call} /> : null}
        </div>
        <footer className="dialog-foot">
          <button type="button" onClick={onClose} disabled={busy}>
            {t.cancel}
          </button>
          <button type="submit" className={danger ? 'primary danger' : 'primary'} disabled={!ready || busy} aria-busy={busy}>
            {act}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
