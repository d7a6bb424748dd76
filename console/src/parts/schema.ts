/** The part of JSON Schema that worker.toml may use, as `GET /v1/kinds` gives it. */
export type Schema = {
  type?: string | string[]
  description?: string
  enum?: unknown[]
  default?: unknown
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  items?: Schema
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  minLength?: number
  maxLength?: number
  pattern?: string
}

export type FieldKind = 'choice' | 'boolean' | 'number' | 'integer' | 'text' | 'list' | 'json'

/** What a person has typed, by parameter; empty is not set. */
export type Typed = Record<string, string>

export type FieldProblem =
  | { why: 'needed' | 'number' | 'json' }
  | { why: 'min' | 'max' | 'above' | 'below' | 'lengthMin' | 'lengthMax'; limit: number }
  | { why: 'pattern'; pattern: string }

export function fieldKind(schema: Schema): FieldKind {
  if (schema.enum) return 'choice'
  const types = typeof schema.type === 'string' ? [schema.type] : (schema.type ?? [])
  const real = types.filter((type) => type !== 'null')
  if (real.length !== 1) return 'json'
  switch (real[0]) {
    case 'boolean':
      return 'boolean'
    case 'number':
      return 'number'
    case 'integer':
      return 'integer'
    case 'string':
      return 'text'
    case 'array':
      return schema.items?.type === 'string' && !schema.items.enum ? 'list' : 'json'
    default:
      return 'json'
  }
}

export function nullable(schema: Schema): boolean {
  return Array.isArray(schema.type) && schema.type.includes('null')
}

/** The word for null in fields that take it. */
export const NULL = 'null'

/** What is kept under a name that a worker has chosen: `constructor` is one of them. Pure. */
export function own<T>(kept: Record<string, T>, name: string): T | undefined {
  return Object.hasOwn(kept, name) ? kept[name] : undefined
}

/** The parameters that the typed text means, or what is wrong by field. The server checks again and has the last word. Pure. */
export function parameters(schema: Schema, typed: Typed): { params: Record<string, unknown>; problems: Record<string, FieldProblem> } {
  const params: Record<string, unknown> = {}
  const problems: Record<string, FieldProblem> = {}
  const required = new Set(schema.required ?? [])
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const text = own(typed, name) ?? ''
    if (text === '') {
      if (required.has(name)) problems[name] = { why: 'needed' }
      continue
    }
    const read = value(field, text)
    if ('problem' in read) problems[name] = read.problem
    else params[name] = read.value
  }
  return { params, problems }
}

function value(schema: Schema, text: string): { value: unknown } | { problem: FieldProblem } {
  if (nullable(schema) && text === NULL) return { value: null }
  switch (fieldKind(schema)) {
    case 'choice':
      return { value: schema.enum?.find((choice) => String(choice) === text) ?? text }
    case 'boolean':
      return { value: text === 'true' }
    case 'number':
    case 'integer': {
      const number = Number(text)
      if (text.trim() === '' || !Number.isFinite(number)) return { problem: { why: 'number' } }
      const wrong = range(schema, number)
      return wrong ? { problem: wrong } : { value: number }
    }
    case 'text': {
      const wrong = length(schema, text)
      return wrong ? { problem: wrong } : { value: text }
    }
    case 'list':
      return { value: text.split('\n').filter((line) => line !== '') }
    case 'json':
      try {
        return { value: JSON.parse(text) as unknown }
      } catch {
        return { problem: { why: 'json' } }
      }
  }
}

function range(schema: Schema, number: number): FieldProblem | undefined {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema
  if (schema.type === 'integer' && !Number.isInteger(number)) return { why: 'number' }
  if (minimum !== undefined && number < minimum) return { why: 'min', limit: minimum }
  if (maximum !== undefined && number > maximum) return { why: 'max', limit: maximum }
  if (exclusiveMinimum !== undefined && number <= exclusiveMinimum) return { why: 'above', limit: exclusiveMinimum }
  if (exclusiveMaximum !== undefined && number >= exclusiveMaximum) return { why: 'below', limit: exclusiveMaximum }
  return undefined
}

function length(schema: Schema, text: string): FieldProblem | undefined {
  const chars = Array.from(text).length
  if (schema.minLength !== undefined && chars < schema.minLength) return { why: 'lengthMin', limit: schema.minLength }
  if (schema.maxLength !== undefined && chars > schema.maxLength) return { why: 'lengthMax', limit: schema.maxLength }
  if (schema.pattern !== undefined && !matches(schema.pattern, text)) return { why: 'pattern', pattern: schema.pattern }
  return undefined
}

/** A pattern that this engine cannot read is left to the server. */
function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(text)
  } catch {
    return true
  }
}

/** `key=value` as `sengu run` takes them: text as it is, everything else as JSON. */
export function commandWords(params: Record<string, unknown>): string[] {
  return Object.entries(params).map(([key, of]) => `${key}=${typeof of === 'string' ? of : JSON.stringify(of)}`)
}
