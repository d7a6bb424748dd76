import { useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useMemo, useRef, useState } from 'react'
import { NavLink, useNavigate } from 'react-router'
import { logOut, SESSION_KEY, useSession } from '../../api/session'
import { Mark } from '../../parts/StateBadge'
import { useAnswering } from '../connection'
import { type Keys, useKeys } from '../keys'
import { useMessages } from '../messages'
import { changeSettings, type Settings, useSettings } from '../settings'
import { Jump } from './Jump'
import { KeysHelp } from './KeysHelp'
import { messages } from './messages'
import { PAGES } from './pages'

/** What stands around every page. */
export function Shell({ children }: { children: ReactNode }) {
  const t = useMessages(messages)
  const navigate = useNavigate()
  const jump = useRef<HTMLInputElement>(null)
  const [help, setHelp] = useState(false)
  const keys = useMemo<Keys>(() => {
    const toJump = () => jump.current?.focus()
    const pages = PAGES.map((page): [string, () => void] => [`g ${page.key}`, () => void navigate(page.path)])
    return { '/': toJump, 'Ctrl+k': toJump, '?': () => setHelp(true), ...Object.fromEntries(pages) }
  }, [navigate])
  useKeys(keys)
  return (
    <div className="shell">
      <a className="skip" href="#content">
        {t.skip}
      </a>
      <header className="bar">
        <NavLink to="/" className="bar-name">
          sengu
        </NavLink>
        <Jump inputRef={jump} />
        <Choices onHelp={() => setHelp(true)} />
      </header>
      <nav className="nav" aria-label={t.navigation}>
        <ul>
          {PAGES.map((page) => (
            <li key={page.name}>
              <NavLink to={page.path} end={page.path === '/'}>
                <span>{t[page.name]}</span>
                <kbd aria-hidden="true">g {page.key}</kbd>
              </NavLink>
            </li>
          ))}
        </ul>
      </nav>
      <main id="content" className="content" tabIndex={-1}>
        {children}
      </main>
      {help ? <KeysHelp onClose={() => setHelp(false)} /> : null}
    </div>
  )
}

function Choices({ onHelp }: { onHelp: () => void }) {
  const t = useMessages(messages)
  const { theme, language } = useSettings()
  const session = useSession()
  const answering = useAnswering()
  const client = useQueryClient()
  const role = session.data?.role
  return (
    <div className="choices">
      <span className={`badge tone-${answering ? 'ok' : 'bad'}`} role="status">
        <Mark tone={answering ? 'ok' : 'bad'} shape={answering ? 'dot' : 'triangle'} />
        <span className="badge-word">{answering ? t.connected : t.notConnected}</span>
      </span>
      {role ? (
        <span className="role" title={role === 'viewer' ? t.viewerMeans : t.operatorMeans}>
          {t[role]}
        </span>
      ) : null}
      <select
        aria-label={t.theme}
        value={theme}
        onChange={(event) => changeSettings({ theme: event.target.value as Settings['theme'] })}
      >
        <option value="system">{t.themeSystem}</option>
        <option value="light">{t.themeLight}</option>
        <option value="dark">{t.themeDark}</option>
      </select>
      <select
        aria-label={t.language}
        value={language}
        onChange={(event) => changeSettings({ language: event.target.value as Settings['language'] })}
      >
        <option value="en">English</option>
        <option value="ja" lang="ja">
          日本語
        </option>
      </select>
      <button type="button" className="keys-button" onClick={onHelp} aria-label={t.keys}>
        ?
      </button>
      {session.data?.by === 'cookie' ? (
        <button
          type="button"
          onClick={() => {
            void logOut().finally(() => {
              client.clear()
              void client.invalidateQueries({ queryKey: SESSION_KEY })
            })
          }}
        >
          {t.logOut}
        </button>
      ) : null}
    </div>
  )
}
