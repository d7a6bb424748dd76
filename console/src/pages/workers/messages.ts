import { defineMessages } from '../../app/messages'

export const messages = defineMessages({
  title: { en: 'Workers and releases', ja: 'ワーカーとリリース' },
})
