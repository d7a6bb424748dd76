/** Where each target stands, as columns by index: what `GET /v1/tiles` gives. */
export type Places = {
  sites: string[]
  rows: string[]
  racks: string[]
  site: number[]
  row: number[]
  rack: number[]
  unit: (string | null)[]
}

export type Zoom = 'small' | 'medium' | 'large'
/** Indexes of tiles from the top unit down. */
export type RackBox = { site: string; row: string; rack: string; x: number; y: number; w: number; h: number; tiles: number[] }
export type Heading = { site: string; row: string; y: number; count: number }
export type Layout = {
  x: Float32Array
  y: Float32Array
  w: Float32Array
  h: Float32Array
  racks: RackBox[]
  headings: Heading[]
  width: number
  height: number
  zoom: Zoom
}

export const SIZES: Record<Zoom, { unit: number; rack: number; gap: number }> = {
  small: { unit: 4, rack: 26, gap: 6 },
  medium: { unit: 8, rack: 54, gap: 10 },
  large: { unit: 16, rack: 148, gap: 14 },
}
export const HEADING = 26
/** Room for the rack's name above it. */
export const RACK_NAME = 15
const UNITS_MIN = 42
/** No rack is higher; a unit above is nonsense and the target is put where there is room. */
const UNITS_MAX = 60

/** Places every target: sites and rows under headings, racks beside each other, unit 1 at the bottom. Pure. */
export function layout(places: Places, width: number, zoom: Zoom): Layout {
  const size = SIZES[zoom]
  const total = places.site.length
  const out: Layout = {
    x: new Float32Array(total),
    y: new Float32Array(total),
    w: new Float32Array(total),
    h: new Float32Array(total),
    racks: [],
    headings: [],
    width,
    height: 0,
    zoom,
  }
  let y = 4
  for (const aisle of grouped(places)) {
    out.headings.push({ site: aisle.site, row: aisle.row, y, count: aisle.count })
    y += HEADING
    let x = 0
    let line = 0
    for (const [rack, tiles] of aisle.racks) {
      const loose = rack === ''
      const columns = loose ? Math.max(1, Math.floor((width - size.gap) / (size.rack + 2))) : 1
      const units = loose ? Math.ceil(tiles.length / columns) : unitsOf(places, tiles)
      const w = loose ? Math.min(columns, tiles.length) * (size.rack + 2) : size.rack
      const h = RACK_NAME + units * size.unit
      if (x > 0 && x + w > width) {
        y += line + size.gap
        x = 0
        line = 0
      }
      const box: RackBox = { site: aisle.site, row: aisle.row, rack, x, y, w, h, tiles }
      if (loose) placeLoose(out, box, columns, size)
      else placeUnits(out, places, box, units, size.unit)
      out.racks.push(box)
      x += w + size.gap
      line = Math.max(line, h)
    }
    y += line + size.gap
  }
  out.height = y
  return out
}

type Aisle = { site: string; row: string; count: number; racks: [string, number[]][] }

function grouped(places: Places): Aisle[] {
  const aisles = new Map<string, Map<string, number[]>>()
  for (let i = 0; i < places.site.length; i++) {
    const key = `${places.site[i] ?? 0}/${places.row[i] ?? 0}`
    let racks = aisles.get(key)
    if (!racks) aisles.set(key, (racks = new Map<string, number[]>()))
    const rack = places.racks[places.rack[i] ?? 0] ?? ''
    const tiles = racks.get(rack)
    if (tiles) tiles.push(i)
    else racks.set(rack, [i])
  }
  const list = [...aisles].map(([key, racks]): Aisle => {
    const [site = '', row = ''] = key.split('/')
    return {
      site: places.sites[Number(site)] ?? '',
      row: places.rows[Number(row)] ?? '',
      count: [...racks.values()].reduce((all, tiles) => all + tiles.length, 0),
      racks: [...racks].sort(([a], [b]) => natural(a, b)),
    }
  })
  return list.sort((a, b) => natural(a.site, b.site) || natural(a.row, b.row))
}

const collator = new Intl.Collator('en', { numeric: true })

/** r2 before r10, and nothing at all last. */
function natural(a: string, b: string): number {
  if (a === b) return 0
  if (a === '') return 1
  if (b === '') return -1
  return collator.compare(a, b)
}

export function unitOf(text: string | null | undefined): number | undefined {
  const unit = Number(/\d+/.exec(text ?? '')?.[0] ?? NaN)
  return Number.isInteger(unit) && unit >= 1 && unit <= UNITS_MAX ? unit : undefined
}

function unitsOf(places: Places, tiles: number[]): number {
  let units = UNITS_MIN
  const taken = new Set<number>()
  let without = 0
  for (const tile of tiles) {
    const unit = unitOf(places.unit[tile])
    if (unit === undefined) without += 1
    else {
      taken.add(unit)
      units = Math.max(units, unit)
    }
  }
  return Math.max(units, taken.size + without)
}

function placeUnits(out: Layout, places: Places, box: RackBox, units: number, unitHeight: number): void {
  const slots: number[][] = Array.from({ length: units + 1 }, () => [])
  const without: number[] = []
  for (const tile of box.tiles) {
    const unit = unitOf(places.unit[tile])
    if (unit === undefined) without.push(tile)
    else slots[unit]?.push(tile)
  }
  // Those without a unit fill what is free, from the top.
  for (let unit = units; unit >= 1 && without.length > 0; unit--) {
    const slot = slots[unit]
    if (slot?.length === 0) slot.push(...without.splice(0, 1))
  }
  const order: number[] = []
  for (let unit = units; unit >= 1; unit--) {
    const slot = slots[unit] ?? []
    const w = (box.w - 2) / Math.max(1, slot.length)
    for (const [at, tile] of slot.entries()) {
      out.x[tile] = box.x + 1 + at * w
      out.y[tile] = box.y + RACK_NAME + (units - unit) * unitHeight
      out.w[tile] = w - (slot.length > 1 ? 1 : 0)
      out.h[tile] = unitHeight - 1
      order.push(tile)
    }
  }
  box.tiles = order
}

function placeLoose(out: Layout, box: RackBox, columns: number, size: { unit: number; rack: number }): void {
  for (const [at, tile] of box.tiles.entries()) {
    out.x[tile] = box.x + (at % columns) * (size.rack + 2)
    out.y[tile] = box.y + RACK_NAME + Math.floor(at / columns) * size.unit
    out.w[tile] = size.rack
    out.h[tile] = size.unit - 1
  }
}

/** The tile at a point, with a little room around it. Pure. */
export function tileAt(placed: Layout, x: number, y: number): number | undefined {
  for (const rack of placed.racks) {
    if (x < rack.x || x > rack.x + rack.w || y < rack.y || y > rack.y + rack.h) continue
    for (const tile of rack.tiles) {
      const [tx = 0, ty = 0, tw = 0, th = 0] = [placed.x[tile], placed.y[tile], placed.w[tile], placed.h[tile]]
      if (x >= tx && x <= tx + tw + 1 && y >= ty && y <= ty + th + 1) return tile
    }
  }
  return undefined
}

/** The nearest tile in a direction from another one. Pure. */
export function neighbour(placed: Layout, from: number, key: string): number | undefined {
  const [fx = 0, fy = 0] = [placed.x[from], placed.y[from]]
  let best: number | undefined
  let least = Infinity
  for (let i = 0; i < placed.x.length; i++) {
    const dx = (placed.x[i] ?? 0) - fx
    const dy = (placed.y[i] ?? 0) - fy
    const [along, across] =
      key === 'ArrowRight' ? [dx, dy] : key === 'ArrowLeft' ? [-dx, dy] : key === 'ArrowDown' ? [dy, dx] : [-dy, dx]
    if (along <= 0.5) continue
    const far = along + Math.abs(across) * 3
    if (far < least) {
      least = far
      best = i
    }
  }
  return best
}
