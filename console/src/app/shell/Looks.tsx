import { useMessages } from '../messages'
import { changeSettings, type Settings, useSettings } from '../settings'
import { messages } from './messages'

/** Theme and language, kept in this browser. */
export function Looks() {
  const t = useMessages(messages)
  const { theme, language } = useSettings()
  return (
    <>
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
        <option value="en" lang="en">
          English
        </option>
        <option value="ja" lang="ja">
          日本語
        </option>
      </select>
    </>
  )
}
