import { useEffect, useRef } from 'react'
import { settingsNow } from './settings'

/** Keys by name: `/`, `?`, `Ctrl+k`, or a sequence such as `g o`. */
export type Keys = Record<string, () => void>

const SEQUENCE_MS = 1200

/** The name of a pressed key as `Keys` writes it; undefined for modifiers alone. Pure. */
export function keyName(event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey'>): string | undefined {
  if (['Shift', 'Control', 'Alt', 'Meta', 'Process', 'Dead'].includes(event.key)) return undefined
  if (event.altKey) return undefined
  return event.ctrlKey || event.metaKey ? `Ctrl+${event.key.toLowerCase()}` : event.key
}

/** Somebody types text there: single keys are theirs. */
function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select, [contenteditable]') !== null
}

/** Keys for the whole page. They rest while a dialog is open and while somebody types; those without Ctrl can be turned off. */
export function useKeys(keys: Keys): void {
  const latest = useRef(keys)
  useEffect(() => {
    latest.current = keys
  })
  useEffect(() => {
    let prefix = ''
    let timer: ReturnType<typeof setTimeout> | undefined
    function onKeyDown(event: KeyboardEvent) {
      const name = keyName(event)
      if (name === undefined || event.defaultPrevented) return
      const chord = name.startsWith('Ctrl+')
      if (!chord && !settingsNow().keys) return
      if ((typing(event.target) && !chord) || document.querySelector('dialog[open]')) return
      const whole = prefix === '' ? name : `${prefix} ${name}`
      prefix = ''
      clearTimeout(timer)
      const act = latest.current[whole] ?? latest.current[name]
      if (act) {
        event.preventDefault()
        act()
      } else if (Object.keys(latest.current).some((key) => key.startsWith(`${name} `))) {
        prefix = name
        timer = setTimeout(() => (prefix = ''), SEQUENCE_MS)
      }
    }
    document.addEventListener('keydown', onKeyDown)
    return () => {
      clearTimeout(timer)
      document.removeEventListener('keydown', onKeyDown)
    }
  }, [])
}
