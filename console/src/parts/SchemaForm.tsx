import { useId } from 'react'
import { useMessages } from '../app/messages'
import { messages } from './messages'
import { SafeText } from './SafeText'
import { fieldKind, type FieldProblem, NULL, nullable, own, type Schema, type Typed } from './schema'

type Props = {
  schema: Schema
  typed: Typed
  problems: Record<string, FieldProblem>
  /** Problems are shown once somebody has tried to go on. */
  tried: boolean
  onChange: (typed: Typed) => void
}

/** Fields for an action's parameters, made from its schema. */
export function SchemaForm({ schema, typed, problems, tried, onChange }: Props) {
  const t = useMessages(messages)
  const fields = Object.entries(schema.properties ?? {})
  const required = new Set(schema.required ?? [])
  if (fields.length === 0) return <p className="dim">{t.noParameters}</p>
  return (
    <div className="fields">
      {fields.map(([name, field]) => (
        <Field
          key={name}
          name={name}
          schema={field}
          required={required.has(name)}
          text={own(typed, name) ?? ''}
          problem={tried ? own(problems, name) : undefined}
          onChange={(text) => onChange({ ...typed, [name]: text })}
        />
      ))}
    </div>
  )
}

type FieldProps = {
  name: string
  schema: Schema
  required: boolean
  text: string
  problem: FieldProblem | undefined
  onChange: (text: string) => void
}

function Field({ name, schema, required, text, problem, onChange }: FieldProps) {
  const t = useMessages(messages)
  const id = useId()
  const kind = fieldKind(schema)
  const common = {
    id,
    value: text,
    required,
    'aria-invalid': problem !== undefined,
    'aria-describedby': `${id}-help`,
    onChange: (event: { target: { value: string } }) => onChange(event.target.value),
  }
  const choices = kind === 'boolean' ? ['true', 'false'] : (schema.enum ?? []).map(String)
  return (
    <div className="field">
      <label htmlFor={id}>
        <code>
          <SafeText text={name} max={80} still />
        </code>
        {required ? <span className="dim"> {t.required}</span> : null}
      </label>
      {kind === 'choice' || kind === 'boolean' ? (
        <select {...common}>
          <option value="">{required ? '' : t.notSet}</option>
          {choices.map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
          {nullable(schema) ? <option value={NULL}>null</option> : null}
        </select>
      ) : kind === 'list' || kind === 'json' ? (
        <textarea {...common} rows={3} className="mono" spellCheck={false} placeholder={kind === 'list' ? t.listOnePerLine : t.asJson} />
      ) : (
        <input
          {...common}
          className={kind === 'text' ? 'mono' : 'mono narrow'}
          inputMode={kind === 'text' ? 'text' : 'decimal'}
          autoComplete="off"
          spellCheck={false}
          placeholder={nullable(schema) ? NULL : undefined}
        />
      )}
      <p id={`${id}-help`} className="field-help">
        {problem ? <span className="tone-bad">{said(t, problem)} </span> : null}
        {schema.description ? (
          <span className="dim">
            <SafeText text={schema.description} max={400} />
          </span>
        ) : null}
      </p>
    </div>
  )
}

function said(t: ReturnType<typeof useMessages<typeof messages>>, problem: FieldProblem): string {
  switch (problem.why) {
    case 'needed':
      return t.fieldNeeded
    case 'number':
      return t.fieldNumber
    case 'json':
      return t.fieldJson
    case 'min':
      return t.fieldMin(problem.limit)
    case 'max':
      return t.fieldMax(problem.limit)
    case 'above':
      return t.fieldAbove(problem.limit)
    case 'below':
      return t.fieldBelow(problem.limit)
    case 'lengthMin':
      return t.fieldLengthMin(problem.limit)
    case 'lengthMax':
      return t.fieldLengthMax(problem.limit)
    case 'pattern':
      return t.fieldPattern(problem.pattern)
  }
}
