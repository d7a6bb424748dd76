import { defineMessages } from '../../app/messages'

export const messages = defineMessages({
  title: { en: 'Events and audit', ja: 'イベントと監査' },
})
