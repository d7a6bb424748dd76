import { useQuery } from '@tanstack/react-query'
import { type ReactNode, useEffect, useId, useState } from 'react'
import { useMessages } from '../app/messages'
import { api, body } from '../api/client'
import { ApiProblem } from '../api/problem'
import { messages } from './messages'
import { SafeText } from './SafeText'

type Props = {
  value: string
  /** Called with text that the server has understood; empty is all. */
  onChange: (selector: string) => void
  label?: string
  children?: ReactNode
}

const CHECK_AFTER_MS = 350

/** Text that stands still for a moment. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return settled
}

/** Asks the server whether it understands a selector: only it knows the language. One target is asked for, none is shown. */
export function useSelectorCheck(selector: string): { problem: ApiProblem | undefined; understood: boolean } {
  const settled = useSettled(selector.trim(), CHECK_AFTER_MS)
  const check = useQuery({
    queryKey: ['selector', settled],
    queryFn: ({ signal }) =>
      body(api.GET('/v1/records/{kind}', { params: { path: { kind: 'Target' }, query: { selector: settled, limit: 1 } }, signal })),
    enabled: settled !== '',
    staleTime: 60_000,
    retry: false,
  })
  const refused = check.error instanceof ApiProblem && check.error.status === 422 ? check.error : undefined
  return { problem: refused, understood: settled === selector.trim() && (settled === '' || check.isSuccess) }
}

/** The CLI's selectors. What is wrong is said in the server's words while typing; Enter takes it. */
export function SelectorInput({ value, onChange, label, children }: Props) {
  const t = useMessages(messages)
  const [text, setText] = useState(value)
  const [known, setKnown] = useState(value)
  if (known !== value) {
    setKnown(value)
    setText(value)
  }
  const { problem, understood } = useSelectorCheck(text)
  const field = useId()
  return (
    <form
      className="selector"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        if (!problem) onChange(text.trim())
      }}
    >
      <label htmlFor={field}>{label ?? t.selector}</label>
      <input
        id={field}
        className="mono"
        value={text}
        placeholder={`site=tyo1,rack in (r1,r2),firmware<2.0  (${t.selectorAll})`}
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        maxLength={4096}
        aria-invalid={problem !== undefined}
        aria-describedby={`${field}-said`}
        onChange={(event) => setText(event.target.value)}
        onBlur={() => {
          if (!problem && understood && text.trim() !== value) onChange(text.trim())
        }}
      />
      {children}
      <SelectorHelp />
      <p id={`${field}-said`} className="selector-said" aria-live="polite">
        {problem ? (
          <span className="tone-bad">
            <SafeText text={problem.message} />
            {problem.hint ? <span className="dim"> {problem.hint}</span> : null}
          </span>
        ) : null}
      </p>
    </form>
  )
}

const TERMS = ['key=value', 'key!=value', 'key in (a,b)', 'key notin (a,b)', 'key', '!key', 'name~bmc-*', 'firmware<2.10']

function SelectorHelp() {
  const t = useMessages(messages)
  return (
    <details className="selector-help">
      <summary>{t.selectorHelp}</summary>
      <div className="selector-terms">
        <p>{t.selectorTerms}</p>
        <ul>
          {TERMS.map((term) => (
            <li key={term}>
              <code>{term}</code>
            </li>
          ))}
        </ul>
      </div>
    </details>
  )
}
