import { useSettings } from '../app/settings'
import { SafeText } from './SafeText'
import { pieces, type Saying, TIMES } from './sayings'
import { Clock, Time } from './Time'

type Props = {
  /** The server's sentence, in English. */
  text: string
  saying: Saying
  /** Characters of a text before it is clipped. */
  max: number
  still?: boolean
}

/** A sentence of the server's in the reader's language, with the facts shown as they are elsewhere. */
export function Said({ text, saying, max, still = false }: Props) {
  const { language } = useSettings()
  const found = language === 'ja' ? pieces(saying.code, saying.facts) : undefined
  if (!found) {
    return (
      <span lang="en">
        <SafeText text={text} max={max} still={still} />
      </span>
    )
  }
  return (
    <span>
      {found.map((piece, at) =>
        'text' in piece ? (
          piece.text
        ) : !TIMES.has(piece.place) || Number.isNaN(Date.parse(piece.value)) ? (
          <SafeText key={at} text={piece.value} max={max} still={still} />
        ) : piece.place === 'since' ? (
          <Time key={at} at={piece.value} />
        ) : (
          <Clock key={at} at={piece.value} />
        ),
      )}
    </span>
  )
}
