import { useEffect, useRef } from 'react'
import { useMessages } from '../../../app/messages'
import { useDark } from '../../../app/settings'
import { count, measured, unitWord } from '../../../parts/format'
import { SafeText } from '../../../parts/SafeText'
import { words } from '../../../parts/states'
import { messages } from '../messages'
import { LETTER_ORDER, LETTERS, STEPS, type Swatch, WORDS_MAX } from './colours'
import { fill } from './paint'
import type { TileStore } from './store'

/** What the tiles' colours and patterns mean, with how many there are of each. */
export function Legend({ store, version, swatches, live }: { store: TileStore; version: number; swatches: Swatch[]; live: boolean }) {
  const t = useMessages(messages)
  const stateWords = useMessages(words)
  const { colouring } = store
  const last = swatches.length - 1
  const items: { key: string; at: number; text: string }[] = []
  if (colouring.by === 'state') {
    const counts = store.counts()
    for (const [at, letter] of LETTER_ORDER.entries()) {
      if (counts[letter] > 0) items.push({ key: letter, at, text: `${stateWords[LETTERS[letter]]} ${count(counts[letter])}` })
    }
  } else if (colouring.by === 'reading') {
    const { least, most, unit } = colouring
    if (least <= most) {
      const step = (most - least) / STEPS
      for (let at = 0; at < STEPS; at++) {
        const from = measured(Number((least + at * step).toPrecision(3)))
        items.push({ key: String(at), at, text: at === STEPS - 1 ? `${from} – ${measured(most)} ${unitWord(unit)}` : from })
      }
    }
    items.push({ key: 'none', at: last, text: t.noValue })
  } else {
    for (const [index, at] of colouring.order) items.push({ key: `w${index}`, at, text: colouring.words[index] ?? '' })
    if (colouring.words.length > WORDS_MAX) items.push({ key: 'others', at: WORDS_MAX, text: t.others })
    items.push({ key: 'none', at: last, text: t.noValue })
  }
  return (
    <ul className="legend" aria-label={t.legend} data-version={version}>
      {items.map((item) => (
        <li key={item.key}>
          <Sample swatch={swatches[item.at]} />
          <SafeText text={item.text} max={32} still />
        </li>
      ))}
      <li className={live ? 'legend-live dim' : 'legend-live tone-warn'}>{live ? t.live : t.stale}</li>
    </ul>
  )
}

function Sample({ swatch }: { swatch: Swatch | undefined }) {
  const ref = useRef<HTMLCanvasElement>(null)
  const dark = useDark()
  useEffect(() => {
    const context = ref.current?.getContext('2d')
    if (!context || !ref.current || !swatch) return
    context.clearRect(0, 0, 26, 9)
    fill(context, swatch, getComputedStyle(ref.current).getPropertyValue('--ground').trim(), 0, 0, 26, 9)
  }, [swatch, dark])
  return <canvas ref={ref} width={26} height={9} aria-hidden="true" />
}
