/** The page that shows `kind/name`, as the server names objects; undefined for what has no page of its own. Pure. */
export function pathOf(link: string): string | undefined {
  const slash = link.indexOf('/')
  if (slash < 1) return undefined
  const [kind, name] = [link.slice(0, slash).toLowerCase(), encodeURIComponent(link.slice(slash + 1))]
  switch (kind) {
    case 'target':
      return `/targets/${name}`
    case 'task':
      return `/tasks/${name}`
    case 'run':
      return `/runs/${name}`
    case 'release':
      return `/workers/${name}`
    case 'worker':
      // The page is of the kind; a version is a part of it.
      return `/workers/${name.split(/@|%40/)[0] ?? name}`
    case 'wee':
      return `/workers/wees/${name}`
    case 'store':
    case 'system':
      return '/system'
    default:
      return undefined
  }
}

/** The page of an object that is known to be a task or a run by its id: `t-...`, `r-...`. */
export function pathOfId(id: string): string | undefined {
  if (/^t-[0-9a-z]+$/.test(id)) return `/tasks/${id}`
  if (/^r-[0-9a-z]+$/.test(id)) return `/runs/${id}`
  return undefined
}
