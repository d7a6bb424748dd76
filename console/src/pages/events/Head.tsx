import type { ReactNode } from 'react'
import { NavLink } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { messages } from './messages'

/** The heading of both views, and the way from one to the other. */
export function Head({ children }: { children: ReactNode }) {
  const t = useMessages(messages)
  useTitle(t.title)
  return (
    <header className="page-head">
      <h1>{t.title}</h1>
      <nav className="toggle" aria-label={t.views}>
        <NavLink to="/events" end className="button">
          {t.stream}
        </NavLink>
        <NavLink to="/events/audit" className="button">
          {t.audit}
        </NavLink>
      </nav>
      {children}
    </header>
  )
}
