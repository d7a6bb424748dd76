import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from 'react'
import { useMessages } from '../../app/messages'
import { useDark } from '../../app/settings'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { lookOf, words } from '../../parts/states'
import { Mark, PATHS, StateBadge } from '../../parts/StateBadge'
import { CELL, type Grid, type GridLayout, LABEL, layout, type Letter, LETTERS, STATE_OF, stepped, tally, targetAt } from './grid'
import { messages } from './messages'

type Props = { grid: Grid; chosen: string | undefined; onChoose: (target: string) => void }

/** Every target of the run as a mark: shape and colour say where it stands, batches are set apart. */
export function GridView({ grid, chosen, onChoose }: Props) {
  const t = useMessages(messages)
  const w = useMessages(words)
  const dark = useDark()
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const [view, setView] = useState({ width: 800, height: 300, top: 0 })
  const [active, setActive] = useState<number>()
  const { batch } = grid
  const placed = useMemo(() => layout(batch, view.width), [batch, view.width])
  const counts = useMemo(() => tally(grid.state), [grid.state])

  useEffect(() => {
    const element = box.current
    if (!element) return undefined
    const look = () => setView({ width: element.clientWidth, height: element.clientHeight, top: element.scrollTop })
    const observer = new ResizeObserver(look)
    observer.observe(element)
    element.addEventListener('scroll', look, { passive: true })
    return () => {
      observer.disconnect()
      element.removeEventListener('scroll', look)
    }
  }, [])

  const at = active ?? (chosen === undefined ? undefined : grid.targets.indexOf(chosen))
  useEffect(() => {
    const element = canvas.current
    if (!element) return undefined
    const frame = requestAnimationFrame(() => paint(element, placed, grid.state, view, at, t.batchShort))
    return () => cancelAnimationFrame(frame)
    // `dark` changes the colours that are read from the page.
  }, [placed, grid.state, view, at, dark, t])

  const active1 = active === undefined ? undefined : grid.targets[active]
  function onKeyDown(event: KeyboardEvent) {
    if (event.key === 'Enter' && active1 !== undefined) {
      onChoose(active1)
      return
    }
    const to = stepped(placed, active ?? -1, event.key)
    if (to === undefined) return
    event.preventDefault()
    setActive(to)
    const element = box.current
    const y = placed.y[to] ?? 0
    if (element && (y < element.scrollTop || y + CELL > element.scrollTop + element.clientHeight)) element.scrollTop = y - element.clientHeight / 2
  }
  const said = LETTERS.filter((letter) => counts[letter] > 0)
    .map((letter) => `${w[STATE_OF[letter]]} ${counts[letter]}`)
    .join(', ')
  const letter = active === undefined ? undefined : (grid.state[active] as Letter | undefined)
  return (
    <div className="run-grid">
      <ul className="run-legend">
        {LETTERS.filter((each) => counts[each] > 0).map((each) => {
          const [tone, shape] = lookOf(STATE_OF[each])
          return (
            <li key={each}>
              <Mark tone={tone} shape={shape} /> {w[STATE_OF[each]]} <b>{count(counts[each])}</b>
            </li>
          )
        })}
      </ul>
      {/* The marks are drawn, not elements: the region has the keyboard for them, and the table below has the same as text. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions */}
      <div
        ref={box}
        className="run-grid-box"
        style={{ height: Math.min(360, placed.height + 14) }}
        role="region"
        aria-label={`${t.grid}: ${said}`}
        tabIndex={0}
        onKeyDown={onKeyDown}
      >
        <div className="run-grid-room" style={{ height: placed.height }}>
          <canvas
            ref={canvas}
            aria-hidden="true"
            style={{ width: view.width, height: view.height }}
            onMouseMove={(event) => setActive(targetAt(placed, event.nativeEvent.offsetX, event.nativeEvent.offsetY + view.top))}
            onMouseLeave={() => setActive(undefined)}
            onClick={(event) => {
              const hit = targetAt(placed, event.nativeEvent.offsetX, event.nativeEvent.offsetY + view.top)
              const name = hit === undefined ? undefined : grid.targets[hit]
              if (name !== undefined) onChoose(name)
            }}
          />
        </div>
      </div>
      <p className="run-grid-said" aria-live="polite">
        {active1 !== undefined && letter !== undefined ? (
          <>
            <SafeText text={active1} max={80} mono still /> · <StateBadge state={STATE_OF[letter]} /> · {t.batch} {grid.batch[active ?? 0]}
          </>
        ) : (
          <span className="dim">{t.gridHow}</span>
        )}
        {grid.truncated ? <span className="dim"> {t.gridTruncated(count(grid.targets.length))}</span> : null}
      </p>
    </div>
  )
}

/** Draws what is seen of the grid. The canvas is as large as the view, never as the run. */
function paint(
  canvas: HTMLCanvasElement,
  placed: GridLayout,
  state: string,
  view: { width: number; height: number; top: number },
  active: number | undefined,
  label: (batch: number) => string,
): void {
  const scale = devicePixelRatio
  const [width, height] = [Math.round(view.width * scale), Math.round(view.height * scale)]
  if (canvas.width !== width) canvas.width = width
  if (canvas.height !== height) canvas.height = height
  const context = canvas.getContext('2d')
  if (!context) return
  const style = getComputedStyle(canvas)
  const colour = (name: string) => style.getPropertyValue(name).trim()
  context.setTransform(scale, 0, 0, scale, 0, -view.top * scale)
  context.clearRect(0, view.top, view.width, view.height)
  context.fillStyle = colour('--dim')
  context.font = `11px ${style.fontFamily}`
  context.textBaseline = 'middle'
  context.textAlign = 'right'
  for (const each of placed.labels) {
    if (each.y + CELL >= view.top && each.y <= view.top + view.height) context.fillText(label(each.batch), LABEL - 8, each.y + CELL / 2)
  }
  const looks = new Map<string, { path: Path2D; fill: string }>()
  for (const letter of LETTERS) {
    const [tone, shape] = lookOf(STATE_OF[letter])
    looks.set(letter, { path: new Path2D(PATHS[shape]), fill: colour(`--${tone}`) })
  }
  for (let i = 0; i < placed.x.length; i++) {
    const y = placed.y[i] ?? 0
    if (y + CELL < view.top) continue
    if (y > view.top + view.height) break
    const look = looks.get(state[i] ?? '')
    if (!look) continue
    context.save()
    context.translate((placed.x[i] ?? 0) + 1, y + 1)
    context.fillStyle = look.fill
    context.fill(look.path, 'evenodd')
    context.restore()
  }
  if (active !== undefined && active >= 0) {
    context.strokeStyle = colour('--text')
    context.lineWidth = 1
    context.strokeRect((placed.x[active] ?? 0) + 0.5, (placed.y[active] ?? 0) + 0.5, CELL - 1, CELL - 1)
  }
}
