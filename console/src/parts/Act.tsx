import { type ReactNode, useId } from 'react'
import { useMessages } from '../app/messages'
import { useSession } from '../api/session'
import { messages } from './messages'

/** Whether this session may change things. Until that is known, it may not. */
export function useMayAct(): boolean {
  return useSession().data?.role === 'operator'
}

type Props = {
  onClick: () => void
  children: ReactNode
  primary?: boolean
  danger?: boolean
  small?: boolean
  /** Why it cannot be done now, whoever asks. */
  not?: string | undefined
}

/** A button that changes something. Where it may not be used it stays, can be reached, and says why. */
export function ActButton({ onClick, children, primary = false, danger = false, small = false, not }: Props) {
  const t = useMessages(messages)
  const mayAct = useMayAct()
  const id = useId()
  const why = mayAct ? not : t.viewerMayNot
  const className = [primary ? 'primary' : '', danger ? 'danger' : '', small ? 'small' : ''].filter(Boolean).join(' ')
  return (
    <>
      <button
        type="button"
        className={className}
        aria-disabled={why !== undefined}
        aria-describedby={why === undefined ? undefined : id}
        title={why}
        onClick={() => {
          if (why === undefined) onClick()
        }}
      >
        {children}
      </button>
      {why === undefined ? null : (
        <span id={id} className="visually-hidden">
          {why}
        </span>
      )}
    </>
  )
}

/** Actions side by side; a viewer is told in words, beside them, why none works. */
export function Acts({ children }: { children: ReactNode }) {
  const t = useMessages(messages)
  const mayAct = useMayAct()
  return (
    <div className="acts">
      {children}
      {mayAct ? null : <span className="dim">{t.viewerMayNot}</span>}
    </div>
  )
}
