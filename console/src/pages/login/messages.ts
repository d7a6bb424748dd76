import { defineMessages } from '../../app/messages'

export const messages = defineMessages({
  title: { en: 'Log in', ja: 'ログイン' },
  token: { en: 'Token', ja: 'トークン' },
  tokenWhere: {
    en: 'The file token in the data directory of sengu up; token-viewer for looking only. It is exchanged for a cookie and kept nowhere in this browser.',
    ja: 'sengu up のデータディレクトリーにある token ファイルの内容です。閲覧のみなら token-viewer を使います。Cookie と交換され、このブラウザーには保存されません。',
  },
  name: { en: 'Your name (for the audit)', ja: '名前 (監査用)' },
  nameWhy: {
    en: 'May be left out. All operators have the same token: by this, others see who did what.',
    ja: '省略できます。操作者は全員同じトークンを使うため、誰の操作かはこの名前で記録されます。',
  },
  orCommand: { en: 'Or open the link that this prints, once, within five minutes:', ja: 'または、次のコマンドが表示するリンクを 5 分以内に 1 回だけ開きます。' },
  logIn: { en: 'Log in', ja: 'ログイン' },
  withCode: { en: 'Logging in with the link', ja: 'リンクでログインしています' },
  codeRefused: { en: 'The link has been used or is over. Make another one, or use the token.', ja: 'このリンクは使用済みか期限切れです。新しく作るか、トークンを使ってください。' },
})
