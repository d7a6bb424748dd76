/** Where a text typed into the jump box may lead. Pure: names that exist are added by who asks the server. */
export type Goal = { kind: 'task' | 'run' | 'target' | 'select' | 'page'; text: string; path: string }

export function goals(text: string): Goal[] {
  const word = text.trim()
  if (word === '') return []
  const bare = word.replace(/^(?:task|run|target)\//, '')
  if (/^t-[0-9a-z]+$/.test(bare)) return [{ kind: 'task', text: bare, path: `/tasks/${bare}` }]
  if (/^r-[0-9a-z]+$/.test(bare)) return [{ kind: 'run', text: bare, path: `/runs/${bare}` }]
  if (/[=<>~!,*?]|\sin\s|\snotin\s/.test(word)) {
    return [{ kind: 'select', text: word, path: `/targets?selector=${encodeURIComponent(word)}` }]
  }
  return []
}

/** Pages whose name begins so. */
export function pageGoals(text: string, pages: readonly { title: string; path: string }[]): Goal[] {
  const word = text.trim().toLowerCase()
  if (word === '') return []
  return pages.filter((page) => page.title.toLowerCase().startsWith(word)).map((page) => ({ kind: 'page', text: page.title, path: page.path }))
}

export function targetGoal(name: string): Goal {
  return { kind: 'target', text: name, path: `/targets/${encodeURIComponent(name)}` }
}

/** A selector for names that contain the text; undefined when the text cannot be part of a name. */
export function nameSelector(text: string): string | undefined {
  const word = text.trim().replace(/^target\//, '').toLowerCase()
  return /^[a-z0-9._-]{1,128}$/.test(word) ? `name~*${word}*` : undefined
}
