import type { ReactNode } from 'react'
import { useMessages } from '../app/messages'
import { useSettings } from '../app/settings'
import type { ApiProblem } from '../api/problem'
import { messages } from './messages'
import { titleOf } from './problems'
import { SafeText } from './SafeText'
import { Mark } from './StateBadge'

export function Loading() {
  const t = useMessages(messages)
  return (
    <p className="standing dim" role="status">
      {t.loading}…
    </p>
  )
}

/** What is missing and what to do about it; never an empty space. */
export function Empty({ children, title }: { title?: string; children?: ReactNode }) {
  const t = useMessages(messages)
  return (
    <div className="standing">
      <p>{title ?? t.nothing}</p>
      {children ? <div className="dim">{children}</div> : null}
    </div>
  )
}

/** A page of something that could not be had: its name as the heading, and why. */
export function Unavailable({ title, problem, again }: { title: string; problem: ApiProblem; again: () => void }) {
  return (
    <section className="page">
      <h1 className="mono">
        <SafeText text={title} max={80} still />
      </h1>
      <Problem problem={problem} again={again} />
    </section>
  )
}

/** A refusal in the server's own words, with its hint and each wrong place; in Japanese below what its code means. */
export function Problem({ problem, again }: { problem: ApiProblem; again?: () => void }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  const title = language === 'ja' ? titleOf(problem.code) : undefined
  const said = <SafeText text={problem.code === 'no_answer' ? t.noAnswer : problem.message} max={600} />
  return (
    <div className="problem" role="alert">
      <Mark tone="bad" shape="triangle" />
      <div>
        <p>
          <code>{problem.code}</code> {title ?? said}
        </p>
        {title === undefined ? null : <p lang="en">{said}</p>}
        {problem.hint ? (
          <p className="dim">
            <SafeText text={problem.hint} max={600} />
          </p>
        ) : null}
        {problem.faults.length > 0 ? (
          <ul>
            {problem.faults.map((fault, at) => (
              <li key={at}>
                <code>{fault.place}</code> <SafeText text={fault.message} />
                {fault.hint ? (
                  <span className="dim">
                    {' '}
                    <SafeText text={fault.hint} />
                  </span>
                ) : null}
              </li>
            ))}
          </ul>
        ) : null}
        {problem.requestId ? (
          <p className="dim">
            {t.requestId} <code>{problem.requestId}</code>
          </p>
        ) : null}
      </div>
      {again ? (
        <button type="button" className="small" onClick={again}>
          {t.again}
        </button>
      ) : null}
    </div>
  )
}

/** Says that a list was looked through far, and lets the reader look on. */
export function LookOn({ pages, said, word }: { pages: { stalled: boolean; lookOn: () => void }; said: string; word: string }) {
  if (!pages.stalled) return null
  return (
    <div className="stalled">
      {said}{' '}
      <button type="button" onClick={pages.lookOn}>
        {word}
      </button>
    </div>
  )
}
