import { useMessages } from '../../app/messages'
import { useSettings } from '../../app/settings'
import { useNow } from '../../parts/clock'
import { duration } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import type { Shape, Tone } from '../../parts/states'
import { Mark, StateBadge } from '../../parts/StateBadge'
import { Clock, Time } from '../../parts/Time'
import { messages } from './messages'
import { lifeLine, standingOf, type Step, type Task } from './task'

/** Waiting, sent, started, ended: where the task is, and how long each took. */
export function LifeLine({ task }: { task: Task }) {
  const t = useMessages(messages)
  const steps = lifeLine(task)
  const earlier = task.ending?.history ?? []
  const attempts = task.ending?.attempts ?? task.attempt
  return (
    <section className="part">
      <h2>
        {t.life}
        <span className="dim">{t.attempts(attempts)}</span>
      </h2>
      <ol className="life">
        {steps.map((step) => (
          <li key={step.name} className={step.reached ? 'life-step reached' : 'life-step'} aria-current={step.now ? 'step' : undefined}>
            <StepHead step={step} task={task} />
            <StepTime step={step} />
          </li>
        ))}
      </ol>
      {earlier.length > 0 ? (
        <>
          <h3>{t.earlierAttempts}</h3>
          <ol className="attempts">
            {earlier.map((line, at) => (
              <li key={at}>
                <SafeText text={line} max={300} />
              </li>
            ))}
          </ol>
        </>
      ) : null}
    </section>
  )
}

function StepHead({ step, task }: { step: Step; task: Task }) {
  const t = useMessages(messages)
  const [tone, shape]: [Tone, Shape] = step.reached ? [step.now ? 'busy' : 'ok', step.now ? 'half' : 'dot'] : ['idle', 'ring']
  if (step.name === 'ended' && step.reached) return <StateBadge state={standingOf(task)} />
  return (
    <span className={`badge tone-${tone}`}>
      <Mark tone={tone} shape={shape} />
      <span className="badge-word">{task.state === 'held' && step.name === 'waiting' ? t.held : t[step.name]}</span>
    </span>
  )
}

function StepTime({ step }: { step: Step }) {
  const t = useMessages(messages)
  const { language } = useSettings()
  const now = useNow()
  if (!step.reached) return <span className="dim">{t.notYet}</span>
  const soFar = step.now && step.at !== undefined && step.name !== 'ended' ? Math.max(0, now - Date.parse(step.at)) : undefined
  return (
    <>
      {step.at ? (
        <span>
          <Clock at={step.at} /> <span className="dim">(<Time at={step.at} />)</span>
        </span>
      ) : (
        <span className="dim">{t.timeNotKept}</span>
      )}
      {step.tookMs !== undefined ? <span className="dim">{step.name === 'waiting' ? t.waited(duration(step.tookMs, language)) : t.ran(duration(step.tookMs, language))}</span> : null}
      {soFar !== undefined ? <span className="dim">{t.soFar(duration(soFar, language))}</span> : null}
    </>
  )
}
