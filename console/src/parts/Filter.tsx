import { type ReactNode, useId, useState } from 'react'
import { useSearchParams } from 'react-router'
import { useMessages } from '../app/messages'
import { messages } from './messages'

/** Filters of a list, kept in the address. `set` with empty text takes one away. */
export function useFilters<K extends string>(names: readonly K[]): {
  values: Record<K, string>
  set: (name: K, value: string) => void
  clear: () => void
  any: boolean
} {
  const [params, setParams] = useSearchParams()
  const values = Object.fromEntries(names.map((name) => [name, params.get(name) ?? ''])) as Record<K, string>
  const change = (name: string, value: string) => {
    setParams((before) => {
      const next = new URLSearchParams(before)
      if (value === '') next.delete(name)
      else next.set(name, value)
      return next
    })
  }
  return {
    values,
    set: change,
    clear: () => setParams((before) => {
      const next = new URLSearchParams(before)
      for (const name of names) next.delete(name)
      return next
    }),
    any: names.some((name) => values[name] !== ''),
  }
}

export function Filters({ any, clear, children }: { any: boolean; clear: () => void; children: ReactNode }) {
  const t = useMessages(messages)
  return (
    <div className="filters" role="search">
      {children}
      {any ? (
        <button type="button" className="plain" onClick={clear}>
          {t.filtersClear}
        </button>
      ) : null}
    </div>
  )
}

type TextProps = { label: string; value: string; onChange: (value: string) => void; choices?: readonly string[]; placeholder?: string; narrow?: boolean }

/** A text that filters once it is left or Enter is pressed: each change is a question to the server. */
export function FilterText({ label, value, onChange, choices = [], placeholder, narrow = false }: TextProps) {
  const id = useId()
  const [text, setText] = useState(value)
  const [known, setKnown] = useState(value)
  if (known !== value) {
    setKnown(value)
    setText(value)
  }
  const take = () => {
    if (text.trim() !== value) onChange(text.trim())
  }
  return (
    <label className={narrow ? 'filter narrow' : 'filter'}>
      <span>{label}</span>
      <input
        className="mono"
        value={text}
        list={choices.length > 0 ? id : undefined}
        placeholder={placeholder}
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        maxLength={253}
        onChange={(event) => setText(event.target.value)}
        onBlur={take}
        onKeyDown={(event) => {
          if (event.key === 'Enter') take()
        }}
      />
      {choices.length > 0 ? (
        <datalist id={id}>
          {choices.map((choice) => (
            <option key={choice} value={choice} />
          ))}
        </datalist>
      ) : null}
    </label>
  )
}

type ChoiceProps = { label: string; value: string; onChange: (value: string) => void; choices: readonly (readonly [value: string, word: string])[] }

export function FilterChoice({ label, value, onChange, choices }: ChoiceProps) {
  const t = useMessages(messages)
  return (
    <label className="filter">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">{t.filterAny}</option>
        {choices.map(([each, word]) => (
          <option key={each} value={each}>
            {word}
          </option>
        ))}
      </select>
    </label>
  )
}
