import { useMemo } from 'react'
import { type Language, useSettings } from './settings'

type Text = string | ((...values: never[]) => string)
type Entry = { en: Text; ja: Text }
/** Both languages, with the same values where the text takes some. */
type Checked<T> = {
  [K in keyof T]: T[K] extends { en: infer E extends Text }
    ? { en: E; ja: E extends string ? string : E }
    : never
}
export type Messages<T> = { readonly [K in keyof T]: T[K] extends { en: infer E } ? (E extends string ? string : E) : never }

/** A page's message table. A key without both languages, or with other values in one of them, fails the type check. */
export function defineMessages<const T extends Record<string, Entry>>(table: T & Checked<T>): T {
  return table
}

export function inLanguage<T extends Record<string, Entry>>(table: T, language: Language): Messages<T> {
  return Object.fromEntries(Object.entries(table).map(([key, entry]) => [key, entry[language]])) as Messages<T>
}

export function useMessages<T extends Record<string, Entry>>(table: T): Messages<T> {
  const { language } = useSettings()
  return useMemo(() => inLanguage(table, language), [table, language])
}
