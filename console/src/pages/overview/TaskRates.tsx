import { memo, useId } from 'react'
import { Link } from 'react-router'
import { useMessages } from '../../app/messages'
import type { components } from '../../api/openapi'
import { count, rate } from '../../parts/format'
import { messages } from './messages'

type Seen = components['schemas']['TasksSeen']
type History = components['schemas']['TaskHistory']

/** What ends per second and what of it does not end well; the last hour as bars. */
export function Tasks({ tasks, history }: { tasks: Seen; history: History }) {
  const t = useMessages(messages)
  const figures: [string, string, string | undefined, boolean][] = [
    [rate(tasks.perSecond), t.perSecond, undefined, false],
    [rate(tasks.notDonePerSecond), t.notDonePerSecond, '/tasks?state=notDone', tasks.notDonePerSecond > 0],
    [rate(tasks.observedPerSecond), t.observedPerSecond, undefined, false],
    [count(tasks.waiting), t.waiting, '/tasks?state=open', false],
    [count(tasks.sent + tasks.started), t.inHand, '/tasks?state=open', false],
    [count(tasks.ended), t.ended, undefined, false],
    [count(tasks.notDone), t.notDone, '/tasks?state=notDone', false],
  ]
  return (
    <section className="part">
      <h2>{t.tasks}</h2>
      <ul className="figures of-tasks">
        {figures.map(([value, word, path, bad]) => {
          const inner = (
            <>
              <b className={bad ? 'tone-bad' : undefined}>{value}</b>
              <span>{word}</span>
            </>
          )
          return <li key={word}>{path === undefined ? <span className="figure">{inner}</span> : <Link to={path}>{inner}</Link>}</li>
        })}
      </ul>
      <HistoryBars ended={history.ended} notDone={history.notDone} />
    </section>
  )
}

const HEIGHT = 64
const STEP = 5

/** Bars of ended tasks, the part that was not done hatched at the foot so that it is told apart without colour. */
const HistoryBars = memo(function HistoryBars({ ended, notDone }: { ended: number[]; notDone: number[] }) {
  const t = useMessages(messages)
  const hatch = useId()
  const peak = Math.max(1, ...ended)
  const sum = (values: number[]) => values.reduce((all, value) => all + value, 0)
  const width = ended.length * STEP
  return (
    <figure className="history">
      <figcaption className="dim">
        {t.lastHour}
        <span>{t.peak(count(Math.max(0, ...ended)))}</span>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={t.historySaid(count(sum(ended)), count(sum(notDone)))}>
        <pattern id={hatch} width={STEP} height="3" patternUnits="userSpaceOnUse">
          <rect className="history-hatch" width={STEP} height="2" />
        </pattern>
        <line x1="0" x2={width} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} className="history-axis" />
        {ended.map((value, at) => {
          const high = (value / peak) * (HEIGHT - 2)
          const bad = ((notDone[at] ?? 0) / peak) * (HEIGHT - 2)
          return (
            <g key={at}>
              {value > 0 ? <rect className="history-ended" x={at * STEP} y={HEIGHT - Math.max(1, high)} width={STEP - 1} height={Math.max(1, high)} /> : null}
              {bad > 0 ? <rect fill={`url(#${hatch})`} x={at * STEP} y={HEIGHT - Math.max(2, bad)} width={STEP - 1} height={Math.max(2, bad)} /> : null}
            </g>
          )
        })}
      </svg>
      <div className="history-ends dim">
        <span>{t.hourAgo}</span>
        <span>{t.now}</span>
      </div>
    </figure>
  )
})
