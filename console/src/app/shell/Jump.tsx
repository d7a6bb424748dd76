import { useQuery } from '@tanstack/react-query'
import { type KeyboardEvent, useId, useState } from 'react'
import { useNavigate } from 'react-router'
import { api, body } from '../../api/client'
import { SafeText } from '../../parts/SafeText'
import { useSettled } from '../../parts/SelectorInput'
import { useMessages } from '../messages'
import { goals, type Goal, nameSelector, pageGoals, targetGoal } from './jump'
import { messages } from './messages'
import { PAGES } from './pages'

const FOUND_MAX = 8

/** One box to get anywhere: a target by part of its name, a task or run by its id, targets by a selector. */
export function Jump({ inputRef }: { inputRef: React.RefObject<HTMLInputElement | null> }) {
  const t = useMessages(messages)
  const navigate = useNavigate()
  const id = useId()
  const [text, setText] = useState('')
  const [open, setOpen] = useState(false)
  const [active, setActive] = useState(0)
  const selector = useSettled(nameSelector(text), 150)
  const found = useQuery({
    queryKey: ['jump', selector],
    queryFn: ({ signal }) =>
      body(
        api.GET('/v1/records/{kind}', {
          params: { path: { kind: 'Target' }, query: { selector: selector ?? '', limit: FOUND_MAX } },
          signal,
        }),
      ),
    enabled: open && selector !== undefined,
    staleTime: 10_000,
  })
  const named = nameSelector(text) === undefined ? [] : (found.data?.items ?? []).map((record) => targetGoal(record.metadata.name))
  const pages = pageGoals(text, PAGES.map((page) => ({ title: t[page.name], path: page.path })))
  const all = [...goals(text), ...pages, ...named].slice(0, FOUND_MAX + 1)
  const kinds: Record<Goal['kind'], string> = { task: t.jumpTask, run: t.jumpRun, target: t.jumpTarget, select: t.jumpSelect, page: t.jumpPage }

  function go(goal: Goal | undefined) {
    if (!goal) return
    setOpen(false)
    setText('')
    inputRef.current?.blur()
    void navigate(goal.path)
  }
  function onKeyDown(event: KeyboardEvent) {
    if (event.key === 'ArrowDown') setActive(Math.min(active + 1, all.length - 1))
    else if (event.key === 'ArrowUp') setActive(Math.max(active - 1, 0))
    else if (event.key === 'Enter') go(all[active])
    else if (event.key === 'Escape') {
      setOpen(false)
      inputRef.current?.blur()
    } else return
    event.preventDefault()
  }
  const expanded = open && text.trim() !== ''
  return (
    <div className="jump">
      <input
        ref={inputRef}
        role="combobox"
        aria-label={t.jump}
        aria-expanded={expanded}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={expanded && all[active] ? `${id}-${active}` : undefined}
        placeholder={t.jumpPlaceholder}
        value={text}
        autoComplete="off"
        spellCheck={false}
        maxLength={1024}
        onChange={(event) => {
          setText(event.target.value)
          setActive(0)
          setOpen(true)
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
      />
      <kbd aria-hidden="true">/</kbd>
      <div id={`${id}-list`} role="listbox" aria-label={t.jump} className="jump-list" hidden={!expanded}>
        {all.map((goal, at) => (
          // The box has the keyboard; the list is a shortcut for the mouse.
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events
          <div
            key={goal.path}
            id={`${id}-${at}`}
            role="option"
            aria-selected={at === active}
            tabIndex={-1}
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => go(goal)}
          >
            <SafeText text={goal.text} max={60} mono still />
            <span className="dim">{kinds[goal.kind]}</span>
          </div>
        ))}
        {all.length === 0 && !found.isFetching ? <div className="dim" role="option" aria-selected="false" aria-disabled="true">{t.jumpNothing}</div> : null}
      </div>
    </div>
  )
}
