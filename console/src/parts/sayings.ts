import type { components } from '../api/openapi'

export type Saying = components['schemas']['Saying']
export type SayingCode = Saying['code']

/** Facts that are moments. */
export const TIMES: ReadonlySet<string> = new Set(['since', 'at', 'until'])

/** The server's sentences in Japanese, by code, with the same places as in English. A code that is missing here does not compile. */
export const JAPANESE: Record<SayingCode, string> = {
  // Why a task stands where it stands.
  taskHeld: '保留中です。ラン {run} のこのバッチはまだ始まっていません。',
  taskInStore: '先に作成されたタスクの後ろで、ストア内で順番を待っています。',
  taskBegun: '{wee} が{since}から実行しています。リースの残りは {seconds} 秒です。',
  taskBegunProbe: '{wee} が{since}から実行しています。リースの残りは {seconds} 秒です。途切れた試行の結果を確認するためのタスクです。',
  taskBegunSomewhere: 'ワーカーが{since}から実行しています。リースの残りは {seconds} 秒です。',
  taskBegunSomewhereProbe: 'ワーカーが{since}から実行しています。リースの残りは {seconds} 秒です。途切れた試行の結果を確認するためのタスクです。',
  taskSent: '{at} に送信しましたが、開始を報告した実行環境はまだありません。',
  taskSentProbe: '{at} に送信しましたが、開始を報告した実行環境はまだありません。途切れた試行の結果を確認するためのタスクです。',
  taskSending: '送信しています。',
  taskSettling: '終了しました。結果を永続化しています。',
  taskGoes: '妨げるものはありません。これから送信します。',
  taskTargetHeld: 'ターゲット {target} は {holder} が占有しています。1 つのターゲットへの変更は 1 件ずつ実行します。',
  taskBehind: '先に {first} を実行します。ターゲット {target} への変更は順番どおりに実行します。',
  taskSessions: 'ターゲット {target} の同時セッションは {sessions} までで、すべて使用中です。',
  taskRests: 'ターゲットの開始頻度の制限または休止のため、{until} まで待ちます (残り {seconds} 秒)。',
  taskRestsAfter: '{until} まで待ちます (残り {seconds} 秒)。直前の試行: {message}',
  taskNoRoom: '{kind} の枠はすべて使用中です。上限 {window} 件のうち {out} 件が処理中です。',
  taskNoVersion: '実行できるワーカーのバージョンがありません: {why}',
  taskNoWee: 'ゾーン {zone} に実行環境がありません。',
  taskOnlyWeeDrained: 'ゾーン {zone} の唯一の実行環境では {worker} を実行できません: {wee} は退避中です。',
  taskOnlyWeeCordoned: 'ゾーン {zone} の唯一の実行環境では {worker} を実行できません: {wee} は受付を停止しています。',
  taskOnlyWeeLacks: 'ゾーン {zone} の唯一の実行環境では {worker} を実行できません: {wee} にこのバージョンがありません。',
  taskOnlyWeeBroken: 'ゾーン {zone} の唯一の実行環境では {worker} を実行できません: {wee}: {message}',
  taskWeeDrained: 'ゾーン {zone} の実行環境 {wees} 個のいずれでも {worker} を実行できません。例: {wee} は退避中です。',
  taskWeeCordoned: 'ゾーン {zone} の実行環境 {wees} 個のいずれでも {worker} を実行できません。例: {wee} は受付を停止しています。',
  taskWeeLacks: 'ゾーン {zone} の実行環境 {wees} 個のいずれでも {worker} を実行できません。例: {wee} にこのバージョンがありません。',
  taskWeeBroken: 'ゾーン {zone} の実行環境 {wees} 個のいずれでも {worker} を実行できません。例: {wee}: {message}',

  // How a task ended.
  taskChanged: '完了し、ターゲットを変更しました。',
  taskChangedAfter: '{attempts} 回の試行 (最大 {most} 回) で完了し、ターゲットを変更しました。',
  taskDone: '完了しました。変更は不要でした。',
  taskDoneAfter: '{attempts} 回の試行 (最大 {most} 回) で完了しました。変更は不要でした。',
  taskFailed: '失敗しました ({failure}): {message}',
  taskFailedAfter: '{attempts} 回の試行 (最大 {most} 回) の末に失敗しました ({failure}): {message}',
  taskUnknown: '実施されたかどうかが不明です: {why}。ターゲットを確認してから判断してください。sengu が自動で再実行することはありません。',
  taskUnknownAfter:
    '{attempts} 回の試行 (最大 {most} 回) の後、実施されたかどうかが不明です: {why}。ターゲットを確認してから判断してください。sengu が自動で再実行することはありません。',
  taskCancelled: '取り消されました: {why}',
  taskExpired: '開始されませんでした: {why}',

  // Why a target stands where it stands.
  targetQuarantined:
    '{since}から隔離中です。原因 {reason}: {message}。レコードかシークレットを変更するまで何も送信しません。解除するには: sengu uncordon target/{target}',
  targetMaintenance: '保守中です: {message}',
  targetUnreachable: '{since}から応答がありません ({reason}): {message}',
  targetHeld: '{holder} が占有しています。',
  targetAwaited: '{waiting} 件のタスクが待機しています。',
  targetFree: '待機しているタスクはありません。',

  // Why a run stands where it stands.
  runInHand: 'バッチ {batch}/{batches} を処理中です。処理中 {out} 件、待機 {waiting} 件、後のバッチのための保留 {held} 件です。',
  runPaused: '一時停止中です。処理中の {out} 件は終了まで続きます。待機 {waiting} 件と保留 {held} 件を再開するには: sengu resume run/{run}',
  runEnding: '{message}。処理中の {out} 件の終了を待っています。',
  runSucceeded: '{targets} 件のターゲットがすべて完了しました。',
  runEnded: '{targets} 件中 {done} 件のターゲットが完了しました。{message}。残りを実行するには: sengu retry run/{run}',

  // Why a task takes longer than expected.
  slowInHand: '{wee} で実行中です',
  slowInHandSomewhere: 'ワーカーで実行中です',
  slowNotBegun: 'まだ開始されていません',
  slowNoWee: '受け付けられる実行環境がありません (処理中 {out} 件)',
  slowNoRoom: '枠がすべて使用中です: 上限 {window} 件のうち {out} 件',
  slowTargetHeld: 'タスク {holder} が同じターゲットを変更中です',
  slowBehind: '同じターゲットのタスク {first} が先に実行されます',
  slowSessions: 'ターゲットの同時セッションは {sessions} までで、すべて使用中です',
  slowRests: 'ターゲットは {until} まで休止しています',
  slowGoes: 'まもなく送信されます',

  // What a person should know of.
  storeSilent: 'ストアが応答しません',
  storeSlow: 'ストアの応答が遅くなっています',
  interconnectAway: 'インターコネクトに接続できません: {why}',
  interconnectBlocked: 'インターコネクトが送信を受け付けません: {why}',
  workerBroken: '{worker} を {wee} で起動できません: {message}',
  weeSilent: '実行環境 {wee} から応答がありません',
  zoneEmpty: 'ゾーン {zone} には {targets} 件のターゲットがありますが、実行環境がありません',
}

export type Piece = { text: string } | { place: string; value: string }

/** The sentence with each fact in its place. Undefined when the code is news to this console, or a fact is missing. */
export function pieces(code: string, facts: Record<string, string>): Piece[] | undefined {
  if (!Object.hasOwn(JAPANESE, code)) return undefined
  const found: Piece[] = []
  for (const [at, part] of JAPANESE[code as SayingCode].split(/\{(\w+)\}/).entries()) {
    // Every second part is the name of a place.
    if (at % 2 === 0) {
      if (part !== '') found.push({ text: part })
      continue
    }
    const value = Object.hasOwn(facts, part) ? facts[part] : undefined
    if (value === undefined) return undefined
    found.push({ place: part, value })
  }
  return found
}
