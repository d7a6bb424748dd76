import { useMemo } from 'react'
import type { Tone } from './states'

type Props = {
  /** Oldest first; null where there was none. */
  values: readonly (number | null)[]
  label: string
  width?: number
  height?: number
  tone?: Tone
  /** From zero, for rates and counts; otherwise from the least value. */
  fromZero?: boolean
}

/** A small line of values without axes; the latest value stands beside it in text. */
export function Sparkline({ values, label, width = 96, height = 20, tone = 'busy', fromZero = false }: Props) {
  const path = useMemo(() => line(values, width, height, fromZero), [values, width, height, fromZero])
  return (
    <svg className={`sparkline tone-${tone}`} width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      {path === '' ? (
        <line x1="0" x2={width} y1={height - 1.5} y2={height - 1.5} stroke="var(--line)" />
      ) : (
        <path d={path} fill="none" stroke="currentColor" strokeWidth="1.25" strokeLinejoin="round" />
      )}
    </svg>
  )
}

/** The path through the values, with gaps where there are none. Pure. */
export function line(values: readonly (number | null)[], width: number, height: number, fromZero: boolean): string {
  let least = fromZero ? 0 : Infinity
  let most = fromZero ? 0 : -Infinity
  let known = 0
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue
    known += 1
    least = Math.min(least, value)
    most = Math.max(most, value)
  }
  if (known < 2) return ''
  const span = most - least
  const step = (width - 2) / (values.length - 1)
  let path = ''
  let pen = false
  for (const [at, value] of values.entries()) {
    if (value === null || !Number.isFinite(value)) {
      pen = false
      continue
    }
    const share = span === 0 ? (fromZero ? 0 : 0.5) : (value - least) / span
    const x = (1 + at * step).toFixed(1)
    const y = (height - 1.5 - share * (height - 3)).toFixed(1)
    path += `${pen ? 'L' : 'M'}${x} ${y}`
    pen = true
  }
  return path
}
