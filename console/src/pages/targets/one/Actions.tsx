import { useId, useState } from 'react'
import { useMessages } from '../../../app/messages'
import { useSettings } from '../../../app/settings'
import { asProblem } from '../../../api/problem'
import { Acts, ActButton, useMayAct } from '../../../parts/Act'
import { CommandHint } from '../../../parts/CommandHint'
import { Effect } from '../../../parts/Effect'
import { FilterText } from '../../../parts/Filter'
import { duration } from '../../../parts/format'
import { SafeText } from '../../../parts/SafeText'
import { parameters, type Typed } from '../../../parts/schema'
import { SchemaForm } from '../../../parts/SchemaForm'
import { sengu } from '../../../parts/shell-words'
import { Empty, Loading, Problem } from '../../../parts/Standing'
import type { Action } from '../../runs/actions'
import type { Target } from '../target'
import { Confirm } from './Confirm'
import { messages } from './messages'
import { type Shape, taskRequest, type TaskRequest, UNSHAPED } from './request'
import { Started } from './Started'
import { useActions } from './useKind'

const EFFECTS = ['read', 'idempotent', 'probe', 'once'] as const
/** Tasks started on this page that stay in sight. */
const KEPT_MAX = 5

/** What can be done with the target. Each action opens into a form made from its schema; started ones are watched here. */
export function Actions({ target }: { target: Target }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  const { actions, problem, again } = useActions(target.spec.kind)
  const [open, setOpen] = useState<string>()
  const [started, setStarted] = useState<string[]>([])
  const id = useId()
  return (
    <section className="part">
      <div className="part-head">
        <h2>{t.actions}</h2>
        <CommandHint command={sengu('explain', target.spec.kind)} call={{ path: `/v1/kinds/${encodeURIComponent(target.spec.kind)}` }} />
      </div>
      {problem && !actions ? <Problem problem={asProblem(problem)} again={() => void again()} /> : null}
      {!actions && !problem ? <Loading /> : null}
      {actions?.length === 0 ? <Empty title={t.noActions} /> : null}
      <ul className="actions">
        {actions?.map((action) => (
          <li key={action.id}>
            <button
              type="button"
              className="plain action-head"
              aria-expanded={open === action.id}
              aria-controls={`${id}-${action.name}`}
              onClick={() => setOpen(open === action.id ? undefined : action.id)}
            >
              <code>{action.name}</code>
              <Effect effect={action.effect} short />
              <span className="dim action-said">
                <SafeText text={action.description} max={160} still />
              </span>
            </button>
            <div id={`${id}-${action.name}`} className="action-form" hidden={open !== action.id}>
              {open === action.id ? (
                <Form
                  action={action}
                  own={action.timeoutMs === undefined ? '' : duration(action.timeoutMs, language)}
                  target={target}
                  onStarted={(task) => setStarted((before) => [task, ...before].slice(0, KEPT_MAX))}
                />
              ) : null}
            </div>
          </li>
        ))}
      </ul>
      {started.length > 0 ? (
        <>
          <h3>{t.startedHere}</h3>
          {started.map((task, at) => (
            <Started key={task} task={task} newest={at === 0} onClose={() => setStarted((before) => before.filter((each) => each !== task))} />
          ))}
        </>
      ) : null}
    </section>
  )
}

function Form({ action, own, target, onStarted }: { action: Action; own: string; target: Target; onStarted: (task: string) => void }) {
  const t = useMessages(messages)
  const mayAct = useMayAct()
  const [typed, setTyped] = useState<Typed>({})
  const [shape, setShape] = useState<Shape>(UNSHAPED)
  const [tried, setTried] = useState(false)
  const [request, setRequest] = useState<TaskRequest>()
  const read = parameters(action.params, typed)
  const set = (name: Exclude<keyof Shape, 'frames'>) => (value: string) => setShape((before) => ({ ...before, [name]: value }))
  function look() {
    setTried(true)
    if (Object.keys(read.problems).length === 0) setRequest(taskRequest(target.name, action.name, read.params, shape))
  }
  return (
    <>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault()
          if (mayAct) look()
        }}
      >
        <p>
          <Effect effect={shape.effect === '' ? action.effect : shape.effect} />
        </p>
        <SchemaForm schema={action.params} typed={typed} problems={read.problems} tried={tried} onChange={setTyped} />
        <details className="more">
          <summary>{t.limits}</summary>
          <div className="filters">
            {action.effectByCaller ? (
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
            <FilterText label={t.timeout} value={shape.timeout} onChange={set('timeout')} placeholder={own === '' ? '30s' : t.timeoutOwn(own)} narrow />
            <FilterText label={t.startWithin} value={shape.startWithin} onChange={set('startWithin')} placeholder={t.startWithinNone} narrow />
            <FilterText label={t.version} value={shape.version} onChange={set('version')} placeholder={t.versionByRelease} narrow />
          </div>
          <p>
            <label>
              <input type="checkbox" checked={shape.frames} onChange={(event) => setShape((before) => ({ ...before, frames: event.target.checked }))} />
              {t.frames}
            </label>
          </p>
        </details>
        <Acts>
          <ActButton primary onClick={look}>
            {t.look}
          </ActButton>
        </Acts>
      </form>
      {request ? (
        <Confirm
          request={request}
          action={action}
          target={target}
          onStarted={(task) => {
            setRequest(undefined)
            setTried(false)
            onStarted(task)
          }}
          onClose={() => setRequest(undefined)}
        />
      ) : null}
    </>
  )
}
