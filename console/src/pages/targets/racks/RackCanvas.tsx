import { type KeyboardEvent, useCallback, useEffect, useId, useMemo, useRef, useState } from 'react'
import { useMessages } from '../../../app/messages'
import { useDark } from '../../../app/settings'
import { count } from '../../../parts/format'
import { visibleText } from '../../../parts/visible'
import { messages } from '../messages'
import type { Swatch } from './colours'
import { layout, neighbour, tileAt, type Zoom } from './layout'
import { type Names, paint, type Theme } from './paint'
import type { TileStore } from './store'

type Props = {
  store: TileStore
  version: number
  zoom: Zoom
  swatches: Swatch[]
  active: number | undefined
  onActive: (tile: number | undefined) => void
  onOpen: (tile: number) => void
  /** One tile in words: for the tip and for those who hear it. */
  describe: (tile: number) => string
}

/** The racks on one canvas of the size of the window: only what is seen is drawn, once per frame at most. */
export function RackCanvas({ store, version, zoom, swatches, active, onActive, onOpen, describe }: Props) {
  const t = useMessages(messages)
  const dark = useDark()
  const id = useId()
  const scroller = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const [size, setSize] = useState({ width: 0, height: 0 })
  const [tip, setTip] = useState<{ x: number; y: number; tile: number }>()

  useEffect(() => {
    const element = scroller.current
    if (!element) return undefined
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])

  const placed = useMemo(() => {
    const { sites, rows, racks, tiles } = store.whole
    return layout({ sites, rows, racks, site: tiles.site, row: tiles.row, rack: tiles.rack, unit: tiles.unit }, Math.max(200, size.width - 20), zoom)
  }, [store, size.width, zoom])

  const names = useMemo<Names>(
    () => ({
      heading: (site, row, n) => visibleText(`${[site, row].filter((part) => part !== '').join(' / ').slice(0, 80) || t.noPlace}   ${count(n)}`),
      rack: (rack) => visibleText(rack.slice(0, 40)) || t.noRack,
      tile: (tile) => visibleText((store.whole.tiles.name[tile] ?? '').slice(0, 40)),
    }),
    [store, t],
  )

  const frame = useRef(0)
  const draw = useCallback(() => {
    frame.current = 0
    const [element, context] = [canvas.current, canvas.current?.getContext('2d', { alpha: false })]
    if (!element || !context || !scroller.current || size.width === 0) return
    const ratio = Math.min(2, devicePixelRatio)
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)]
    if (element.width !== width || element.height !== height) {
      element.width = width
      element.height = height
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    context.clearRect(0, 0, size.width, size.height)
    const theme = themeOf(element)
    context.fillStyle = theme.ground
    context.fillRect(0, 0, size.width, size.height)
    context.translate(10, 0)
    const top = scroller.current.scrollTop
    paint(context, placed, store.swatch, swatches, theme, names, { top, ...size, active })
  }, [placed, store, swatches, names, size, active])

  const schedule = useCallback(() => {
    if (frame.current === 0) frame.current = requestAnimationFrame(draw)
  }, [draw])

  useEffect(() => {
    schedule()
    return () => {
      cancelAnimationFrame(frame.current)
      frame.current = 0
    }
  }, [schedule, version, dark])

  useEffect(() => {
    if (active === undefined || !scroller.current) return
    const y = placed.y[active] ?? 0
    const { scrollTop, clientHeight } = scroller.current
    if (y < scrollTop + 40) scroller.current.scrollTop = Math.max(0, y - 60)
    else if (y > scrollTop + clientHeight - 30) scroller.current.scrollTop = y - clientHeight + 60
  }, [active, placed])

  function at(event: { clientX: number; clientY: number }): number | undefined {
    const box = canvas.current?.getBoundingClientRect()
    if (!box || !scroller.current) return undefined
    return tileAt(placed, event.clientX - box.left - 10, event.clientY - box.top + scroller.current.scrollTop)
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === 'Enter' && active !== undefined) onOpen(active)
    else if (event.key === 'Escape') onActive(undefined)
    else if (event.key.startsWith('Arrow')) {
      const first = placed.racks[0]?.tiles[0]
      onActive(active === undefined ? first : (neighbour(placed, active, event.key) ?? active))
    } else return
    event.preventDefault()
  }

  return (
    <div className="rack-map">
      <p id={`${id}-how`} className="visually-hidden">
        {t.rackMapHow}
      </p>
      {/* A drawing that takes the arrow keys as a whole; the list beside it has the same as text and links. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions */}
      <div
        ref={scroller}
        className="rack-scroll"
        role="application"
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        tabIndex={0}
        aria-label={t.rackMap}
        aria-describedby={`${id}-how`}
        onScroll={schedule}
        onKeyDown={onKeyDown}
        onPointerMove={(event) => {
          const tile = at(event)
          const box = scroller.current?.getBoundingClientRect()
          setTip(tile === undefined || !box ? undefined : { x: event.clientX - box.left, y: event.clientY - box.top, tile })
        }}
        onPointerLeave={() => setTip(undefined)}
        onClick={(event) => onActive(at(event))}
        onDoubleClick={(event) => {
          const tile = at(event)
          if (tile !== undefined) onOpen(tile)
        }}
      >
        <div style={{ height: placed.height }}>
          <canvas ref={canvas} style={{ width: size.width, height: size.height }} aria-hidden="true" />
        </div>
      </div>
      {tip ? (
        <div className="rack-tip" style={{ left: Math.min(tip.x + 12, Math.max(0, size.width - 240)), top: tip.y + (tip.y > size.height - 60 ? -44 : 16) }}>
          {describe(tip.tile)}
        </div>
      ) : null}
      <p className="visually-hidden" aria-live="polite">
        {active === undefined ? '' : describe(active)}
      </p>
    </div>
  )
}

function themeOf(element: HTMLElement): Theme {
  const style = getComputedStyle(element)
  const of = (name: string) => style.getPropertyValue(name).trim()
  return {
    ground: of('--panel'),
    text: of('--text'),
    dim: of('--dim'),
    line: of('--line'),
    accent: of('--accent'),
    font: of('--font'),
    mono: of('--mono'),
  }
}
