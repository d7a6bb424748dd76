import type { Pattern, Swatch } from './colours'
import { HEADING, type Layout, RACK_NAME } from './layout'

export type Theme = { ground: string; text: string; dim: string; line: string; accent: string; font: string; mono: string }
export type Names = { heading: (site: string, row: string, count: number) => string; rack: (rack: string) => string; tile: (tile: number) => string }

/** Draws what is seen of the layout between `top` and `top + height`. Returns how many tiles that were. */
export function paint(
  context: CanvasRenderingContext2D,
  placed: Layout,
  swatch: Uint8Array,
  swatches: Swatch[],
  theme: Theme,
  names: Names,
  view: { top: number; width: number; height: number; active: number | undefined },
): number {
  const { top, height } = view
  context.fillStyle = theme.ground
  context.fillRect(0, 0, view.width, height)
  const bottom = top + height
  context.textBaseline = 'middle'
  context.font = `600 13px ${theme.font}`
  context.fillStyle = theme.text
  for (const heading of placed.headings) {
    if (heading.y + HEADING < top || heading.y > bottom) continue
    context.fillText(names.heading(heading.site, heading.row, heading.count), 0, heading.y - top + 12)
  }
  context.font = `11px ${theme.mono}`
  const seen: number[][] = swatches.map(() => [])
  let drawn = 0
  for (const rack of placed.racks) {
    if (rack.y + rack.h < top || rack.y > bottom) continue
    context.fillStyle = theme.dim
    context.fillText(fitted(names.rack(rack.rack), rack.w, 6.6), rack.x, rack.y - top + 7)
    if (rack.rack !== '') {
      context.strokeStyle = theme.line
      context.strokeRect(rack.x - 0.5, rack.y - top + RACK_NAME - 1.5, rack.w + 1, rack.h - RACK_NAME + 2)
    }
    for (const tile of rack.tiles) seen[swatch[tile] ?? swatches.length - 1]?.push(tile)
    drawn += rack.tiles.length
  }
  for (const [at, tiles] of seen.entries()) {
    const style = swatches[at]
    if (!style || tiles.length === 0) continue
    for (const tile of tiles) {
      fill(context, style, theme.ground, placed.x[tile] ?? 0, (placed.y[tile] ?? 0) - top, placed.w[tile] ?? 0, placed.h[tile] ?? 0)
    }
  }
  if (placed.zoom === 'large') tileNames(context, placed, theme, names, seen, swatches, top)
  const { active } = view
  if (active !== undefined) {
    context.strokeStyle = theme.accent
    context.lineWidth = 2
    context.strokeRect((placed.x[active] ?? 0) - 2, (placed.y[active] ?? 0) - top - 2, (placed.w[active] ?? 0) + 4, (placed.h[active] ?? 0) + 4)
    context.lineWidth = 1
  }
  return drawn
}

/** One tile: colour and pattern. Also draws the legend, so that both always agree. */
export function fill(context: CanvasRenderingContext2D, swatch: Swatch, ground: string, x: number, y: number, w: number, h: number): void {
  context.fillStyle = swatch.colour
  context.fillRect(x, y, w, h)
  const hole = hollow(swatch.pattern, w, h)
  if (hole.length === 0) return
  context.fillStyle = ground
  for (const [hx, hy, hw, hh] of hole) context.fillRect(x + hx, y + hy, hw, hh)
}

/** What is left out of a tile, by its pattern. */
function hollow(pattern: Pattern, w: number, h: number): [number, number, number, number][] {
  const inner = Math.max(1, h - 2)
  switch (pattern) {
    case 'full':
      return []
    case 'outline':
      return [[1, 1, w - 2, inner]]
    case 'dot':
      return [
        [1, 1, w / 2 - 3, inner],
        [w / 2 + 2, 1, w / 2 - 3, inner],
      ]
    case 'half':
      return [[w / 2, 1, w / 2 - 1, inner]]
    case 'hole':
      return [[w / 2 - 3, 0, 6, h]]
    case 'bars':
      return [
        [w / 3 - 2, 0, 3, h],
        [(2 * w) / 3 - 1, 0, 3, h],
      ]
    case 'notch':
      return [[w - 7, 0, 4, h]]
  }
}

function tileNames(context: CanvasRenderingContext2D, placed: Layout, theme: Theme, names: Names, seen: number[][], swatches: Swatch[], top: number): void {
  context.font = `11px ${theme.mono}`
  for (const [at, tiles] of seen.entries()) {
    for (const tile of tiles) {
      const w = (placed.w[tile] ?? 0) - 22
      if (w < 30) continue
      const [x, y, h] = [(placed.x[tile] ?? 0) + 18, (placed.y[tile] ?? 0) - top, placed.h[tile] ?? 0]
      // The name stands on the ground, not on the colour: it can be read whatever the colour is.
      context.fillStyle = theme.ground
      context.fillRect(x - 1, y, (placed.w[tile] ?? 0) - 17, h)
      context.fillStyle = swatches[at]?.pattern === 'full' ? theme.dim : theme.text
      context.fillText(fitted(names.tile(tile), w, 6.6), x + 2, y + h / 2 + 0.5)
    }
  }
}

/** Text cut to a width, by the width of a character of the fixed font. */
function fitted(text: string, width: number, perChar: number): string {
  const room = Math.max(1, Math.floor(width / perChar))
  return text.length <= room ? text : `${text.slice(0, room - 1)}…`
}
