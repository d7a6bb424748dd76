import { address } from '../api/client'
import type { components } from '../api/openapi'
import { saidOfPlaces, SAID_MAX } from './difference'
import { pathOf } from './paths'
import { sengu } from './shell-words'
import type { Shape, Tone } from './states'

export type AuditEntry = components['schemas']['AuditEntry']
export type Actor = components['schemas']['Actor']

/** What is looked for, as `GET /v1/audit` takes it; what is empty is not looked for. */
export type AuditFilter = { kind?: string; name?: string; what?: string; by?: string }

/** Targets of a task that are named in one line. */
const TARGETS_MAX = 3

/** How acts look. Servers may know others. */
const looks = {
  created: ['ok', 'square'],
  configured: ['busy', 'square'],
  deleted: ['warn', 'cross'],
  pushed: ['ok', 'square'],
  promoted: ['busy', 'half'],
  settled: ['ok', 'dot'],
  followed: ['ok', 'dot'],
  'rolled-back': ['bad', 'cross'],
  'cell-rolled-back': ['warn', 'cross'],
  held: ['warn', 'bars'],
  cordoned: ['warn', 'bars'],
  drained: ['warn', 'half'],
  uncordoned: ['ok', 'dot'],
  upgraded: ['busy', 'square'],
  cancelled: ['idle', 'dash'],
  paused: ['warn', 'bars'],
  resumed: ['ok', 'half'],
  retried: ['busy', 'half'],
  'move-asked': ['warn', 'half'],
  'move-cancelled': ['idle', 'dash'],
} as const satisfies Record<string, readonly [Tone, Shape]>

export type ActName = keyof typeof looks

export const ACTS = Object.keys(looks) as ActName[]

/** The server's word for an act as one that has a look; undefined when it is news to this console. Pure. */
export function actName(word: string): ActName | undefined {
  return Object.hasOwn(looks, word) ? (word as ActName) : undefined
}

export function lookOfAct(name: ActName | undefined): readonly [Tone, Shape] {
  return name === undefined ? ['idle', 'ring'] : looks[name]
}

/** Whether sengu did it by itself. A name says nothing here: anybody may give himself out as sengu. Pure. */
export function ownAct(by: Actor): boolean {
  return by.role === 'sengu'
}

/** Who acted, in one line, as the command line says it. Pure. */
export function whoOf(by: Actor): string {
  return by.name == null || by.name === '' ? by.role : `${by.role} (${by.name})`
}

/** How it was done, in one line: the note with the targets, or else what changed. Pure. */
export function howOf({ note = '', targets = [], fields = [], cut = false }: Pick<AuditEntry, 'note' | 'targets' | 'fields' | 'cut'>): string {
  if (note !== '' || fields.length === 0) {
    const names = targets.slice(0, TARGETS_MAX).join(', ')
    return [note, targets.length > TARGETS_MAX ? `${names}, …` : names].filter((part) => part !== '').join(': ')
  }
  const said = saidOfPlaces(fields.map(({ path, before, after }) => ({ path, before, after })))
  return cut || fields.length > SAID_MAX ? `${said}, …` : said
}

/** The page of what it was done to; what was deleted has none. Pure. */
export function pageOf({ kind, name, what }: Pick<AuditEntry, 'kind' | 'name' | 'what'>): string | undefined {
  return what === 'deleted' ? undefined : pathOf(`${kind}/${name}`)
}

/** What to look for to find all that was done to one object: what was done to a target is told of its tasks too. Pure. */
export function auditOf(kind: string, name: string): AuditFilter {
  return kind === 'Target' ? { name } : { kind, name }
}

/** The page of the audit with a filter. Pure. */
export function auditPath({ kind, name, what, by }: AuditFilter): string {
  return address('/events/audit', { kind, name, what, who: by })
}

/** The same by the command line. Pure. */
export function auditCommand({ kind = '', name = '', what = '', by = '' }: AuditFilter): string {
  // A bare name might be that of a kind; with `target/` it is looked for among all.
  const object = name !== '' ? `${kind === '' ? 'target' : kind.toLowerCase()}/${name}` : kind === '' ? undefined : kind.toLowerCase()
  return sengu('audit', object, ...(by === '' ? [] : ['--by', by]), ...(what === '' ? [] : ['--act', what]))
}
