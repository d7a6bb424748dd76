import type { components } from '../../../api/openapi'
import { commandWords } from '../../../parts/schema'
import { sengu } from '../../../parts/shell-words'

export type TaskRequest = Omit<components['schemas']['TaskRequest'], 'params'> & { params?: Record<string, unknown> }
/** What was typed around an action's own parameters; empty is the action's own. */
export type Shape = { effect: string; timeout: string; startWithin: string; version: string; frames: boolean }
export const UNSHAPED: Shape = { effect: '', timeout: '', startWithin: '', version: '', frames: false }

/** One action on one target as `POST /v1/tasks` takes it. Pure. */
export function taskRequest(target: string, action: string, params: Record<string, unknown>, shape: Shape): TaskRequest {
  const set = Object.fromEntries(Object.entries(shape).filter(([, value]) => value !== '' && value !== false))
  return { targets: [target], action, ...(Object.keys(params).length > 0 ? { params } : {}), ...set }
}

/** The command that does the same: a run of the one target. What it cannot say (`startWithin`) is left out. Pure. */
export function taskCommand(request: TaskRequest): string {
  const params = request.params ?? {}
  const shaped = [
    ...(request.timeout == null ? [] : ['--attempt-timeout', request.timeout]),
    ...(request.version == null ? [] : ['--version', request.version]),
    ...(request.effect == null ? [] : ['--effect', request.effect]),
    ...(request.frames ? ['--frames'] : []),
  ]
  const observes = request.action === 'observe' && Object.keys(params).length === 0 && shaped.length === 0
  return sengu(...(observes ? ['observe'] : ['run', request.action, ...commandWords(params)]), ...request.targets, ...shaped)
}

/** Cannot be taken back and is never repeated: the name has to be typed. Pure. */
export function needsTyping(effect: string): boolean {
  return effect === 'once'
}
