import { defineMessages } from '../../app/messages'

export const messages = defineMessages({
  title: { en: 'Runs', ja: 'ラン' },
})
