import { type ReactNode, useEffect, useMemo, useRef, useState } from 'react'
import { NavLink, useLocation, useNavigate } from 'react-router'
import { logOut, useSession } from '../../api/session'
import { SafeText } from '../../parts/SafeText'
import { Mark } from '../../parts/StateBadge'
import { visibleText } from '../../parts/visible'
import { useAnswering } from '../connection'
import { type Keys, useKeys } from '../keys'
import { useMessages } from '../messages'
import { useToasts } from '../toasts'
import { Jump } from './Jump'
import { KeysHelp } from './KeysHelp'
import { Looks } from './Looks'
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
    // A table has the keys once it has the focus; this brings it there from anywhere on the page.
    const toTable = () => document.querySelector<HTMLElement>('#content [role=grid]')?.focus()
    return { '/': toJump, 'Ctrl+k': toJump, '?': () => setHelp(true), j: toTable, ...Object.fromEntries(pages) }
  }, [navigate])
  useKeys(keys)
  const nav = useRef<HTMLElement>(null)
  const page = useLocation().pathname.split('/')[1]
  useEffect(() => {
    // On a narrow page the pages are a row that scrolls; where one is must be in sight.
    const [row, here] = [nav.current, nav.current?.querySelector<HTMLElement>('[aria-current=page]')]
    if (row && here) row.scrollLeft = here.offsetLeft - row.offsetLeft - (row.clientWidth - here.offsetWidth) / 2
  }, [page])
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
      <nav ref={nav} className="nav" aria-label={t.navigation}>
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
  const session = useSession()
  const answering = useAnswering()
  const { say } = useToasts()
  const role = session.data?.role
  const name = session.data?.name
  return (
    <div className="choices">
      <span className={`badge tone-${answering ? 'ok' : 'bad'}`} role="status">
        <Mark tone={answering ? 'ok' : 'bad'} shape={answering ? 'dot' : 'triangle'} />
        <span className="badge-word">{answering ? t.connected : t.notConnected}</span>
      </span>
      {role ? (
        <span className="role" title={role === 'viewer' ? t.viewerMeans : t.operatorMeans}>
          {t[role]}
          {name ? (
            <span className="role-name" title={visibleText(name)}>
              <SafeText text={name} max={40} still />
            </span>
          ) : null}
        </span>
      ) : null}
      <Looks />
      <button type="button" className="keys-button" onClick={onHelp} aria-label={t.keys}>
        ?
      </button>
      {session.data?.by === 'cookie' ? (
        <button
          type="button"
          onClick={() => {
            logOut().then(
              // The page is loaded anew: nothing that this session has seen stays in memory.
              () => location.assign(`${import.meta.env.BASE_URL}login`),
              () => say(t.logOutNot, 'bad'),
            )
          }}
        >
          {t.logOut}
        </button>
      ) : null}
    </div>
  )
}
