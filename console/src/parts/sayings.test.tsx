import { readFileSync } from 'node:fs'
import { cleanup, render } from '@testing-library/react'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { changeSettings } from '../app/settings'
import { Said } from './Said'
import { JAPANESE, pieces, type Saying } from './sayings'

const DOCUMENT = process.env['SENGU_OPENAPI'] ?? '../docs/reference/openapi.json'
const api = JSON.parse(readFileSync(DOCUMENT, 'utf8')) as { components: { schemas: { SayingCode: { enum: string[]; 'x-sentences': Record<string, string> } } } }
const { enum: codes, 'x-sentences': english } = api.components.schemas.SayingCode

const places = (template: string) => [...template.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort()

describe('sentences in Japanese', () => {
  test.each(codes)('%s has the places of the English one, and no other', (code) => {
    expect(english[code]).toBeTypeOf('string')
    expect(places(JAPANESE[code as keyof typeof JAPANESE])).toEqual(places(english[code] ?? ''))
  })

  test('there is none of a code that the server does not have', () => {
    expect(Object.keys(JAPANESE).sort()).toEqual([...codes].sort())
  })

  test.each<[string, string, Record<string, string>]>([
    ['a code that is news', 'taskDreams', {}],
    ['a word that every object has', 'constructor', {}],
    ['a fact that is missing', 'taskTargetHeld', { target: 'bmc-1' }],
  ])('%s has none', (_, code, facts) => {
    expect(pieces(code, facts)).toBeUndefined()
  })
})

describe('Said', () => {
  beforeEach(() => changeSettings({ language: 'ja' }))
  afterEach(() => {
    cleanup()
    changeSettings({ language: 'en' })
  })
  const held: Saying = { code: 'taskTargetHeld', facts: { target: 'bmc-1', holder: 't-1' } }
  const shown = (text: string, saying: Saying) => render(<Said text={text} saying={saying} max={200} />).container

  test('fills the places', () => {
    expect(shown('in English', held).textContent).toBe('ターゲット bmc-1 は t-1 が占有しています。1 つのターゲットへの変更は 1 件ずつ実行します。')
  })

  test('says it as the server does in English', () => {
    changeSettings({ language: 'en' })
    expect(shown('in English', held).textContent).toBe('in English')
  })

  test('falls back to the sentence, marked as English', () => {
    const container = shown('in English', { code: 'taskDreams', facts: {} } as unknown as Saying)
    expect(container.textContent).toBe('in English')
    expect(container.querySelector('[lang="en"]')).not.toBeNull()
  })

  test('what a device says acts nowhere and makes no place', () => {
    const message = '<img src=x onerror="window.owned = true">{failure}\u202E'
    const container = shown('in English', { code: 'taskFailed', facts: { failure: 'timeout', message } })
    expect(container.textContent).toBe('失敗しました (timeout): <img src=x onerror="window.owned = true">{failure}⟦RLO⟧')
    expect(container.querySelector('img')).toBeNull()
    expect(window).not.toHaveProperty('owned')
  })

  test('shows moments as the console does, and what is none as text', () => {
    const since = new Date(Date.now() - 9_010_000).toISOString()
    const container = shown('in English', { code: 'targetUnreachable', facts: { since, reason: 'Timeout', message: 'm' } })
    expect(container.textContent).toBe('2時間30分前から応答がありません (Timeout): m')
    expect(container.querySelector('time')?.getAttribute('datetime')).toBe(since)
    cleanup()
    expect(shown('in English', { code: 'slowRests', facts: { until: 'soon' } }).textContent).toBe('ターゲットは soon まで休止しています')
  })
})
