import { useMessages } from '../app/messages'
import { SafeText } from './SafeText'
import { lookOf, type Shape, stateName, type Tone, words } from './states'

export const PATHS: Record<Shape, string> = {
  dot: 'M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9z',
  ring: 'M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10zm0 2a3 3 0 1 1 0 6a3 3 0 1 1 0-6z',
  half: 'M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10zm0 1.6v6.8a3.4 3.4 0 0 1 0-6.8z',
  cross: 'M2.6 1.2L6 4.6l3.4-3.4l1.4 1.4L7.4 6l3.4 3.4l-1.4 1.4L6 7.4l-3.4 3.4l-1.4-1.4L4.6 6L1.2 2.6z',
  triangle: 'M6 1l5.4 10H.6z',
  diamond: 'M6 .6L11.4 6L6 11.4L.6 6z',
  square: 'M1.8 1.8h8.4v8.4H1.8z',
  bars: 'M2 1.5h3v9H2zM7 1.5h3v9H7z',
  dash: 'M1 4.8h10v2.4H1z',
  hexagon: 'M3.4 1.2h5.2L11.4 6l-2.8 4.8H3.4L.6 6z',
}

export function Mark({ tone, shape }: { tone: Tone; shape: Shape }) {
  return (
    <svg className={`mark tone-${tone}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" focusable="false">
      <path d={PATHS[shape]} fill="currentColor" fillRule="evenodd" />
    </svg>
  )
}

/** A state by shape, word and colour. `state` is the server's word; `word` replaces what is written beside it. */
export function StateBadge({ state, word }: { state: string; word?: string }) {
  const t = useMessages(words)
  const name = stateName(state) ?? (state === 'taskFailed' ? 'taskFailed' : undefined)
  const [tone, shape] = lookOf(name)
  return (
    <span className={`badge tone-${tone}`}>
      <Mark tone={tone} shape={shape} />
      <span className="badge-word">{word ?? (name ? t[name] : <SafeText text={state} max={40} still />)}</span>
    </span>
  )
}
