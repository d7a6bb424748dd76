export type PageName = 'overview' | 'targets' | 'runs' | 'workers' | 'tasks' | 'events' | 'system'

/** The pages in their order, with the key that follows `g`. */
export const PAGES: { name: PageName; path: string; key: string }[] = [
  { name: 'overview', path: '/', key: 'o' },
  { name: 'targets', path: '/targets', key: 't' },
  { name: 'runs', path: '/runs', key: 'r' },
  { name: 'workers', path: '/workers', key: 'w' },
  { name: 'tasks', path: '/tasks', key: 'k' },
  { name: 'events', path: '/events', key: 'e' },
  { name: 'system', path: '/system', key: 's' },
]
