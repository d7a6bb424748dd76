import { defineMessages } from '../../app/messages'

export const messages = defineMessages({
  title: { en: 'Overview', ja: '概要' },
})
