import { defineMessages } from '../app/messages'

/** A tone is a colour, a shape goes with it, and the word is always there: colour never carries anything alone. */
export type Tone = 'ok' | 'bad' | 'warn' | 'busy' | 'odd' | 'idle'
export type Shape = 'dot' | 'ring' | 'half' | 'cross' | 'triangle' | 'diamond' | 'square' | 'bars' | 'dash' | 'hexagon'

const look = {
  // Targets
  reachable: ['ok', 'dot'],
  unreachable: ['bad', 'triangle'],
  quarantined: ['bad', 'hexagon'],
  maintenance: ['idle', 'square'],
  busy: ['busy', 'half'],
  taskFailed: ['bad', 'cross'],
  // Tasks
  held: ['idle', 'bars'],
  waiting: ['idle', 'ring'],
  sent: ['busy', 'ring'],
  started: ['busy', 'half'],
  active: ['busy', 'half'],
  done: ['ok', 'dot'],
  changed: ['ok', 'square'],
  failed: ['bad', 'cross'],
  unknown: ['odd', 'diamond'],
  cancelled: ['idle', 'dash'],
  expired: ['warn', 'triangle'],
  ended: ['idle', 'dot'],
  // Runs
  running: ['busy', 'half'],
  paused: ['warn', 'bars'],
  stopping: ['warn', 'half'],
  cancelling: ['warn', 'half'],
  succeeded: ['ok', 'dot'],
  // Releases
  rolling: ['busy', 'half'],
  settled: ['ok', 'dot'],
  shadow: ['odd', 'ring'],
  unguarded: ['warn', 'triangle'],
  'rolled-back': ['bad', 'cross'],
  'cell-rolled-back': ['warn', 'cross'],
  // Execution environments
  ready: ['ok', 'dot'],
  cordoned: ['warn', 'bars'],
  draining: ['warn', 'half'],
  silent: ['bad', 'triangle'],
  gone: ['idle', 'dash'],
} as const satisfies Record<string, readonly [Tone, Shape]>

export type StateName = keyof typeof look

export const words = defineMessages({
  reachable: { en: 'reachable', ja: '到達可' },
  unreachable: { en: 'unreachable', ja: '到達不可' },
  quarantined: { en: 'quarantined', ja: '隔離中' },
  maintenance: { en: 'maintenance', ja: '保守中' },
  busy: { en: 'busy', ja: '作業中' },
  taskFailed: { en: 'last task failed', ja: '直前の失敗' },
  held: { en: 'held', ja: '保留' },
  waiting: { en: 'waiting', ja: '待機' },
  sent: { en: 'sent', ja: '送信済み' },
  started: { en: 'started', ja: '実行中' },
  active: { en: 'active', ja: '実行中' },
  done: { en: 'done', ja: '完了' },
  changed: { en: 'done, changed', ja: '完了 (変更あり)' },
  failed: { en: 'failed', ja: '失敗' },
  unknown: { en: 'unknown', ja: '不明' },
  cancelled: { en: 'cancelled', ja: '取り消し' },
  expired: { en: 'expired', ja: '期限切れ' },
  ended: { en: 'ended', ja: '終了' },
  running: { en: 'running', ja: '進行中' },
  paused: { en: 'paused', ja: '一時停止' },
  stopping: { en: 'stopping', ja: '停止中' },
  cancelling: { en: 'cancelling', ja: '取り消し中' },
  succeeded: { en: 'succeeded', ja: '成功' },
  rolling: { en: 'rolling', ja: '展開中' },
  settled: { en: 'settled', ja: '定着' },
  shadow: { en: 'shadow', ja: 'シャドー' },
  unguarded: { en: 'unguarded', ja: '監視なし' },
  'rolled-back': { en: 'rolled back', ja: '戻し済み' },
  'cell-rolled-back': { en: 'cell rolled back', ja: '一部戻し' },
  ready: { en: 'ready', ja: '稼働' },
  cordoned: { en: 'cordoned', ja: '受付停止' },
  draining: { en: 'draining', ja: '退避中' },
  silent: { en: 'silent', ja: '応答なし' },
  gone: { en: 'gone', ja: '離脱' },
} satisfies Record<StateName, { en: string; ja: string }>)

/** The server's word for a state, in any case, as one that has a look; undefined when it is news to this console. */
export function stateName(word: string): StateName | undefined {
  const name = word.toLowerCase()
  return Object.hasOwn(look, name) ? (name as StateName) : undefined
}

export function lookOf(name: StateName | undefined): readonly [Tone, Shape] {
  return name === undefined ? ['idle', 'ring'] : look[name]
}
