import type { Language } from '../app/settings'

const UNITS: [number, string, string][] = [
  [86_400_000, 'd', '日'],
  [3_600_000, 'h', '時間'],
  [60_000, 'min', '分'],
  [1000, 's', '秒'],
]

/** A duration in at most two units, as the CLI says it: `2.4s` below ten seconds, `3min 20s`, `4d 2h`. */
export function duration(ms: number, language: Language = 'en'): string {
  const ja = language === 'ja'
  const word = (n: number | string, unit: number) => `${n}${UNITS[unit]?.[ja ? 2 : 1] ?? ''}`
  const abs = Math.max(0, ms)
  if (abs < 1000) return ja ? `${Math.round(abs)}ミリ秒` : `${Math.round(abs)}ms`
  if (abs < 10_000) return word((Math.floor(abs / 100) / 10).toString(), 3)
  for (let i = 0; i < UNITS.length; i++) {
    const unit = UNITS[i]
    if (!unit || abs < unit[0]) continue
    const whole = Math.floor(abs / unit[0])
    const next = UNITS[i + 1]
    const rest = next ? Math.floor((abs % unit[0]) / next[0]) : 0
    return rest > 0 && whole < 10 ? `${word(whole, i)}${ja ? '' : ' '}${word(rest, i + 1)}` : word(whole, i)
  }
  return word(0, 3)
}

export function count(n: number): string {
  return n.toLocaleString('en-US')
}

/** A rate: one decimal below ten, none above. */
export function rate(perSecond: number): string {
  return perSecond >= 10 || perSecond === 0 ? count(Math.round(perSecond)) : perSecond.toFixed(1)
}

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let value = n
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ''}`
}

export function percent(part: number, whole: number): string {
  if (whole <= 0) return '–'
  const share = (part / whole) * 100
  // 100 % and 0 % are said only when they are true.
  if (part > 0 && share < 0.1) return '<0.1%'
  if (part < whole && share > 99.9) return '>99.9%'
  return `${share >= 10 || share === 0 ? Math.round(share * 10) / 10 : share.toFixed(1)}%`
}

const UNITS_SAID = new Map([
  ['Cel', '°C'],
  ['{rev}/min', 'rpm'],
  ['1', ''],
  ['By', 'B'],
  ['By/s', 'B/s'],
])

/** A unit of a reading as people write it; what is not known stays as the worker said it. Pure. */
export function unitWord(unit: string | null | undefined): string {
  return unit == null ? '' : (UNITS_SAID.get(unit) ?? unit)
}

/** A measured value for a narrow column: at most four digits that matter. */
export function measured(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  const abs = Math.abs(value)
  if (abs !== 0 && (abs >= 1e7 || abs < 1e-3)) return value.toExponential(2)
  if (abs >= 1000 || Number.isInteger(value)) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(4)))
}
