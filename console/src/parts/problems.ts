import type { components } from '../api/openapi'

/** What the codes of refusals mean, in Japanese. A code of the server's that is missing here does not compile. */
const TITLES: Record<components['schemas']['Code'], string> = {
  unauthenticated: '認証されていません',
  forbidden: 'この操作は許可されていません',
  not_found: '見つかりません',
  no_such_route: 'このパスの API はありません',
  method_not_allowed: 'このパスではこのメソッドを使えません',
  syntax: 'YAML または JSON として読めません',
  invalid_field: 'フィールドに誤りがあります',
  unknown_kind: 'この種類はありません',
  unknown_action: 'このアクションはありません',
  unknown_target: 'このターゲットはありません',
  unknown_version: 'このバージョンはありません',
  invalid_params: 'パラメーターに誤りがあります',
  invalid_selector: 'セレクターに誤りがあります',
  invalid_name: 'この名前は使えません',
  duplicate_name: '同じレコードが重複しています',
  invalid_image: 'イメージに誤りがあります',
  digest_mismatch: '届いた内容がダイジェストと一致しません',
  version_exists: 'このバージョンは別の内容で登録済みです',
  rollout_in_progress: '別のバージョンを展開中です',
  no_targets: '該当するターゲットがありません',
  document_too_large: 'ドキュメントが大きすぎます',
  too_many_documents: 'ドキュメントが多すぎます',
  body_too_large: 'リクエストが大きすぎます',
  too_many_targets: 'ターゲットが多すぎます',
  conflict: 'ほかの変更と競合しました',
  in_use: '使用中です',
  idempotency_mismatch: 'この Idempotency-Key は別のリクエストで使用済みです',
  gone: 'このリビジョンはもう保持されていません',
  wrong_state: '現在の状態ではこの操作はできません',
  too_many_requests: '開いているストリームが多すぎます',
  store_unavailable: 'ストアに書き込めません',
  unavailable: 'sengu は停止処理中です',
  unsettled: '実行されたかどうか分かりません',
  standby: 'この sengu は待機系です',
  internal: '内部エラーが発生しました',
}

/** Undefined for a code that is news to this console, or is its own. */
export function titleOf(code: string): string | undefined {
  return Object.hasOwn(TITLES, code) ? TITLES[code as keyof typeof TITLES] : undefined
}
