import { useCallback, useState } from 'react'
import { address } from '../../../api/client'
import type { ApiProblem } from '../../../api/problem'
import { type StreamEvent, type StreamState, useStream } from '../../../api/stream'
import { type Tiles, type TilesChanged, TileStore } from './store'

const TILES_MAX = 20_000

export type Watched = {
  store: TileStore | undefined
  /** Moves on with every change: what hangs on the content of the store hangs on this too. */
  version: number
  state: StreamState
  problem: ApiProblem | undefined
}

/** Follows the tiles of a selector. The server says what changed at most twice a second, however much happens. */
export function useTiles(selector: string, colour: string): Watched {
  const [held, setHeld] = useState<{ store: TileStore; version: number; of: string }>()
  const [round, setRound] = useState(0)
  const asked = address('/v1/tiles/watch', { selector, colour, limit: TILES_MAX })
  const onEvent = useCallback(
    (event: StreamEvent) => {
      if (event.event === 'tiles') {
        setHeld({ store: new TileStore(JSON.parse(event.data) as Tiles), version: 0, of: asked })
      } else if (event.event === 'changed') {
        const changed = JSON.parse(event.data) as TilesChanged
        setHeld((before) => {
          if (!before || before.of !== asked) return before
          before.store.change(changed)
          return { ...before, version: before.version + 1 }
        })
      } else if (event.event === 'stale') {
        // Other targets match now: all of it is asked for again.
        setRound((before) => before + 1)
      }
    },
    [asked],
  )
  const { state, problem } = useStream(asked, onEvent, { round })
  return { store: held?.store, version: held?.version ?? 0, state, problem }
}
