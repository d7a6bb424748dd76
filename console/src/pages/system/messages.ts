import { defineMessages } from '../../app/messages'

export const messages = defineMessages({
  title: { en: 'System', ja: 'システム' },
})
