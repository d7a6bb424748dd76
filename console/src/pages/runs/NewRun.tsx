import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useNavigate, useSearchParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { api, body } from '../../api/client'
import { asProblem } from '../../api/problem'
import { Acts, ActButton } from '../../parts/Act'
import { Effect } from '../../parts/Effect'
import { FilterText } from '../../parts/Filter'
import { SafeText } from '../../parts/SafeText'
import { parameters, type Typed } from '../../parts/schema'
import { SchemaForm } from '../../parts/SchemaForm'
import { SelectorInput } from '../../parts/SelectorInput'
import { Loading, Problem } from '../../parts/Standing'
import { type Action, actionsOf } from './actions'
import { messages } from './messages'
import { Preview } from './Preview'
import type { RunSpec } from './run'

const EFFECTS = ['read', 'idempotent', 'probe', 'once'] as const

/** A run from a selector: what, where, how fast and how much may fail; then what it would touch; then, and only then, the start. */
export function NewRun() {
  const t = useMessages(messages)
  useTitle(t.start)
  const kinds = useQuery({ queryKey: ['kinds-explained'], queryFn: ({ signal }) => body(api.GET('/v1/kinds', { signal })), staleTime: 60_000 })
  return (
    <section className="page new-run">
      <header className="page-head">
        <h1>{t.start}</h1>
      </header>
      {kinds.data ? <Form actions={actionsOf(kinds.data.items)} /> : kinds.error ? <Problem problem={asProblem(kinds.error)} again={() => void kinds.refetch()} /> : <Loading />}
    </section>
  )
}

function Form({ actions }: { actions: Action[] }) {
  const t = useMessages(messages)
  const navigate = useNavigate()
  const [query] = useSearchParams()
  const [selector, setSelector] = useState(query.get('selector') ?? '')
  const [targets] = useState((query.get('targets') ?? '').split(',').filter(Boolean))
  const [all, setAll] = useState(false)
  const wanted = query.get('action') ?? 'observe'
  const [chosen, setChosen] = useState(() => (actions.find((each) => each.id === wanted) ?? actions.find((each) => each.name === wanted))?.id ?? '')
  const [typed, setTyped] = useState<Typed>({})
  const [shape, setShape] = useState({ batch: '', maxFail: '', limit: '', exclude: '', timeout: '', version: '', effect: '', frames: false })
  const [tried, setTried] = useState(false)
  const [spec, setSpec] = useState<RunSpec>()
  const action = actions.find((each) => each.id === chosen)
  const read = parameters(action?.params ?? {}, typed)
  const nowhere = selector === '' && targets.length === 0 && !all
  const set = (name: Exclude<keyof typeof shape, 'frames'>) => (value: string) => setShape((before) => ({ ...before, [name]: value }))
  const limit = Number(shape.limit)
  const limitWrong = shape.limit !== '' && !(Number.isInteger(limit) && limit > 0)
  const ready = action !== undefined && Object.keys(read.problems).length === 0 && !nowhere && !limitWrong

  function preview() {
    setTried(true)
    if (!ready) return
    const exclude = shape.exclude.split(/[\s,]+/).filter(Boolean)
    setSpec({
      action: action.name,
      allowEmpty: false,
      ...(targets.length > 0 ? { targets } : {}),
      ...(selector === '' && targets.length > 0 ? {} : { selector }),
      ...(Object.keys(read.params).length > 0 ? { params: read.params } : {}),
      ...(exclude.length > 0 ? { exclude } : {}),
      ...(shape.batch === '' ? {} : { batch: shape.batch }),
      ...(shape.maxFail === '' ? {} : { maxFail: shape.maxFail }),
      ...(shape.limit === '' ? {} : { limit }),
      ...(shape.timeout === '' ? {} : { timeout: shape.timeout }),
      ...(shape.version === '' ? {} : { version: shape.version }),
      ...(shape.effect === '' ? {} : { effect: shape.effect as NonNullable<RunSpec['effect']> }),
      ...(shape.frames ? { frames: true } : {}),
    })
  }

  return (
    <>
      <section className="part">
        <h2>{t.where}</h2>
        <SelectorInput value={selector} onChange={setSelector} />
        {targets.length > 0 ? (
          <p>
            {t.named}: <SafeText text={targets.join(' ')} max={300} mono />
          </p>
        ) : null}
        {selector === '' && targets.length === 0 ? (
          <label className="all">
            <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} />
            {t.allTargets}
            {tried && nowhere ? <span className="tone-bad"> {t.whereNeeded}</span> : null}
          </label>
        ) : null}
      </section>
      <section className="part">
        <h2>{t.what}</h2>
        <div className="filters">
          <label className="filter">
            <span>{t.action}</span>
            <select
              value={chosen}
              onChange={(event) => {
                setChosen(event.target.value)
                setTyped({})
                setTried(false)
              }}
            >
              {[...new Set(actions.map((each) => each.kind))].map((kind) => (
                <optgroup key={kind} label={kind}>
                  {actions
                    .filter((each) => each.kind === kind)
                    .map((each) => (
                      <option key={each.id} value={each.id}>
                        {kind}.{each.name}
                      </option>
                    ))}
                </optgroup>
              ))}
            </select>
          </label>
          {action ? <Effect effect={action.effect} /> : null}
          {action?.effectByCaller === true ? (
            <label className="filter">
              <span>{t.effect}</span>
              <select value={shape.effect} onChange={(event) => set('effect')(event.target.value)}>
                <option value="">{t.effectOwn}</option>
                {EFFECTS.map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </select>
            </label>
          ) : null}
        </div>
        {action ? (
          <>
            <p className="dim">
              <SafeText text={action.description} max={400} />
            </p>
            <SchemaForm schema={action.params} typed={typed} problems={read.problems} tried={tried} onChange={setTyped} />
          </>
        ) : null}
      </section>
      <section className="part">
        <h2>{t.how}</h2>
        <div className="filters">
          <FilterText label={t.batchSize} value={shape.batch} onChange={set('batch')} placeholder={t.batchAll} narrow />
          <FilterText label={t.maxFail} value={shape.maxFail} onChange={set('maxFail')} placeholder={t.maxFailNone} narrow />
          <FilterText label={t.limit} value={shape.limit} onChange={set('limit')} placeholder={t.limitNone} narrow />
          <FilterText label={t.timeout} value={shape.timeout} onChange={set('timeout')} placeholder={t.timeoutOwn} narrow />
          <FilterText label={t.version} value={shape.version} onChange={set('version')} placeholder={t.versionByRelease} narrow />
          <FilterText label={t.exclude} value={shape.exclude} onChange={set('exclude')} placeholder="bmc-1, bmc-2" />
        </div>
        <p>
          <label>
            <input type="checkbox" checked={shape.frames} onChange={(event) => setShape((before) => ({ ...before, frames: event.target.checked }))} />
            {t.frames}
          </label>
        </p>
        {limitWrong ? <p className="tone-bad">{t.limitWrong}</p> : null}
      </section>
      <Acts>
        <ActButton primary onClick={preview}>
          {t.preview}
        </ActButton>
        <span className="dim">{t.previewMeans}</span>
      </Acts>
      {spec ? <Preview key={JSON.stringify(spec)} spec={spec} onStarted={(name) => void navigate(`/runs/${name}`)} onClose={() => setSpec(undefined)} /> : null}
    </>
  )
}
