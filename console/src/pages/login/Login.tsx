import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useId, useRef, useState } from 'react'
import { useLocation, useNavigate } from 'react-router'
import { useMessages } from '../../app/messages'
import { Looks } from '../../app/shell/Looks'
import { useTitle } from '../../app/title'
import { type ApiProblem, asProblem } from '../../api/problem'
import { logIn, SESSION_KEY } from '../../api/session'
import { CopyButton } from '../../parts/CommandHint'
import { Problem } from '../../parts/Standing'
import { messages } from './messages'

/** The server counts bytes, and says so when letters of more than one are too many. */
const NAME_MAX = 100

/** Takes the code out of `#code=...` and out of the address at once: it must not stay in the history. */
function takeCode(): string | undefined {
  const code = new URLSearchParams(location.hash.slice(1)).get('code')
  if (code === null || code === '') return undefined
  history.replaceState(history.state, '', location.pathname)
  return code
}

export default function Login() {
  const t = useMessages(messages)
  useTitle(t.title)
  const navigate = useNavigate()
  const from = (useLocation().state as { from?: string } | null)?.from ?? '/'
  const client = useQueryClient()
  const field = useId()
  const [token, setToken] = useState('')
  const [name, setName] = useState('')
  const [busy, setBusy] = useState(false)
  const [byCode, setByCode] = useState(false)
  const [problem, setProblem] = useState<ApiProblem>()
  const begun = useRef(false)

  async function exchange(proof: Parameters<typeof logIn>[0]) {
    setBusy(true)
    setProblem(undefined)
    try {
      await logIn(proof)
      setToken('')
      await client.resetQueries({ queryKey: SESSION_KEY })
      await navigate(from, { replace: true })
    } catch (thrown) {
      setProblem(asProblem(thrown))
    } finally {
      setBusy(false)
    }
  }

  useEffect(() => {
    if (begun.current) return
    begun.current = true
    const code = takeCode()
    if (code === undefined) return
    // The state of this page begins with the code that the address brought.
    // eslint-disable-next-line react-hooks/set-state-in-effect
    setByCode(true)
    void exchange({ code })
    // Once, on arrival.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [])

  return (
    <main className="login">
      <h1>sengu</h1>
      {byCode && busy ? <p role="status">{t.withCode}…</p> : null}
      {problem ? <Problem problem={problem} /> : null}
      {byCode && problem ? <p>{t.codeRefused}</p> : null}
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (token.trim() !== '') void exchange({ token: token.trim(), ...(name.trim() === '' ? {} : { name: name.trim() }) })
        }}
      >
        <p className="field">
          <label htmlFor={field}>{t.token}</label>
          <input
            id={field}
            type="password"
            className="mono"
            value={token}
            autoComplete="off"
            spellCheck={false}
            aria-describedby={`${field}-where`}
            onChange={(event) => setToken(event.target.value)}
          />
        </p>
        <p id={`${field}-where`} className="dim">
          {t.tokenWhere}
        </p>
        <p className="field">
          <label htmlFor={`${field}-name`}>{t.name}</label>
          <input
            id={`${field}-name`}
            value={name}
            autoComplete="name"
            spellCheck={false}
            maxLength={NAME_MAX}
            aria-describedby={`${field}-name-why`}
            onChange={(event) => setName(event.target.value)}
          />
        </p>
        <p id={`${field}-name-why`} className="dim">
          {t.nameWhy}
        </p>
        <p>
          <button type="submit" className="primary" disabled={busy || token.trim() === ''}>
            {t.logIn}
          </button>
        </p>
      </form>
      <p className="dim">{t.orCommand}</p>
      <p className="hint-line">
        <code>sengu console</code>
        <CopyButton text="sengu console" />
      </p>
      <p className="login-looks">
        <Looks />
      </p>
    </main>
  )
}
