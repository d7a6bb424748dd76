import { useSyncExternalStore } from 'react'

/** What a person has chosen for this browser. Never anything secret: the session is a cookie that no script can read. */
export type Settings = { theme: 'system' | 'light' | 'dark'; language: 'en' | 'ja'; keys: boolean }
export type Language = Settings['language']

const KEY = 'sengu.console'
const listeners = new Set<() => void>()
let settings: Settings = load()

function load(): Settings {
  const language: Language = navigator.language.startsWith('ja') ? 'ja' : 'en'
  const found: Settings = { theme: 'system', language, keys: true }
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Record<keyof Settings, unknown>>
    if (kept.theme === 'light' || kept.theme === 'dark') found.theme = kept.theme
    // Keys of one letter can be turned off: whoever speaks to the browser would set them off by chance.
    if (kept.keys === false) found.keys = false
    if (kept.language === 'en' || kept.language === 'ja') found.language = kept.language
  } catch {
    // Kept by something else, or storage is shut: the defaults will do.
  }
  return found
}

export function changeSettings(change: Partial<Settings>): void {
  settings = { ...settings, ...change }
  try {
    localStorage.setItem(KEY, JSON.stringify(settings))
  } catch {
    // It holds until the tab is closed.
  }
  applySettings()
  for (const listener of listeners) listener()
}

/** Tells the document: style sheets follow `data-theme`, screen readers `lang`. */
export function applySettings(): void {
  const root = document.documentElement
  root.lang = settings.language
  if (settings.theme === 'system') root.removeAttribute('data-theme')
  else root.dataset['theme'] = settings.theme
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** The settings as they are now, for what is no component. */
export function settingsNow(): Settings {
  return settings
}

export function useSettings(): Settings {
  return useSyncExternalStore(subscribe, () => settings)
}

/** Dark now, by choice or by the system. For what is drawn on a canvas. */
export function useDark(): boolean {
  const { theme } = useSettings()
  const system = useSyncExternalStore(subscribeScheme, () => scheme().matches)
  return theme === 'system' ? system : theme === 'dark'
}

const scheme = () => matchMedia('(prefers-color-scheme: dark)')
function subscribeScheme(listener: () => void): () => void {
  const query = scheme()
  query.addEventListener('change', listener)
  return () => query.removeEventListener('change', listener)
}
