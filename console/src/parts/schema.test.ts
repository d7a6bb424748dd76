import { describe, expect, test } from 'vitest'
import { commandWords, fieldKind, nullable, parameters, type Schema } from './schema'

test.each<[Schema, string]>([
  [{ enum: ['on', 'off'] }, 'choice'],
  [{ type: 'boolean' }, 'boolean'],
  [{ type: 'integer' }, 'integer'],
  [{ type: ['number', 'null'] }, 'number'],
  [{ type: 'string' }, 'text'],
  [{ type: 'array', items: { type: 'string' } }, 'list'],
  [{ type: 'array', items: { type: 'integer' } }, 'json'],
  [{ type: ['number', 'boolean'] }, 'json'],
  [{ type: 'object' }, 'json'],
  [{}, 'json'],
])('%j is a field of its kind', (schema, kind) => {
  expect(fieldKind(schema)).toBe(kind)
})

describe('what was typed', () => {
  test.each<[string, Schema, string, unknown]>([
    ['a choice', { enum: ['on', 'off'] }, 'on', 'on'],
    ['a choice of numbers', { enum: [1, 2] }, '2', 2],
    ['a truth', { type: 'boolean' }, 'true', true],
    ['an untruth', { type: 'boolean' }, 'false', false],
    ['a number', { type: 'number' }, '1.5', 1.5],
    ['null where it may be', { type: ['number', 'null'] }, 'null', null],
    ['null as text', { type: 'string' }, 'null', 'null'],
    ['text with markup', { type: 'string' }, '<b>', '<b>'],
    ['lines', { type: 'array', items: { type: 'string' } }, 'a\n\nb', ['a', 'b']],
    ['JSON', { type: 'object' }, '{"a": [1]}', { a: [1] }],
    ['a pattern of another engine', { type: 'string', pattern: '(?<!' }, 'x', 'x'],
  ])('%s', (_, field, text, value) => {
    expect(parameters({ properties: { p: field } }, { p: text })).toEqual({ params: { p: value }, problems: {} })
  })

  test.each<[string, Schema, string, unknown]>([
    ['no number', { type: 'number' }, 'x', { why: 'number' }],
    ['spaces', { type: 'number' }, ' ', { why: 'number' }],
    ['endless', { type: 'number' }, 'Infinity', { why: 'number' }],
    ['no integer', { type: 'integer' }, '1.5', { why: 'number' }],
    ['too little', { type: 'integer', minimum: 1 }, '0', { why: 'min', limit: 1 }],
    ['too much', { type: 'integer', maximum: 60_000 }, '60001', { why: 'max', limit: 60_000 }],
    ['not above', { type: 'number', exclusiveMinimum: 0 }, '0', { why: 'above', limit: 0 }],
    ['not below', { type: 'number', exclusiveMaximum: 1 }, '1', { why: 'below', limit: 1 }],
    ['too short', { type: 'string', minLength: 2 }, '😀', { why: 'lengthMin', limit: 2 }],
    ['too long', { type: 'string', maxLength: 1 }, 'ab', { why: 'lengthMax', limit: 1 }],
    ['another pattern', { type: 'string', pattern: '^/' }, 'etc', { why: 'pattern', pattern: '^/' }],
    ['no JSON', { type: 'object' }, '{', { why: 'json' }],
  ])('is refused: %s', (_, field, text, problem) => {
    expect(parameters({ properties: { p: field } }, { p: text })).toEqual({ params: {}, problems: { p: problem } })
  })

  test('nothing typed is not set, or missing where it is needed', () => {
    const schema: Schema = { properties: { a: { type: 'string' }, b: { type: 'string' } }, required: ['b'] }
    expect(parameters(schema, { a: '' })).toEqual({ params: {}, problems: { b: { why: 'needed' } } })
  })

  test('a field may have the name of something that every object has', () => {
    expect(parameters({ properties: { constructor: { type: 'string' } } }, {})).toEqual({ params: {}, problems: {} })
  })

  test('what the schema does not name is not sent', () => {
    expect(parameters({ properties: {} }, { x: '1' })).toEqual({ params: {}, problems: {} })
  })
})

test('null has to be allowed', () => {
  expect([nullable({ type: 'number' }), nullable({ type: ['number', 'null'] }), nullable({})]).toEqual([false, true, false])
})

test('as the CLI takes them', () => {
  expect(commandWords({ state: 'on', watts: null, n: 3, list: ['a'] })).toEqual(['state=on', 'watts=null', 'n=3', 'list=["a"]'])
})
