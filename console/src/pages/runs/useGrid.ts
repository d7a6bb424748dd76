import { useCallback, useState } from 'react'
import type { ApiProblem } from '../../api/problem'
import { type StreamEvent, type StreamState, useStream } from '../../api/stream'
import { changedGrid, type Grid, type GridChanged } from './grid'
import type { RunStatus } from './run'

/** The grid of a run, live: at most two changes a second, however fast tasks end. */
export function useGrid(name: string): { grid: Grid | undefined; status: RunStatus | undefined; state: StreamState; problem: ApiProblem | undefined } {
  const [grid, setGrid] = useState<Grid>()
  const [status, setStatus] = useState<RunStatus>()
  const onEvent = useCallback((event: StreamEvent) => {
    if (event.event === 'grid') setGrid(JSON.parse(event.data) as Grid)
    else if (event.event === 'changed') {
      const change = JSON.parse(event.data) as GridChanged
      setGrid((before) => (before ? changedGrid(before, change) : before))
    } else if (event.event === 'run') setStatus(JSON.parse(event.data) as RunStatus)
  }, [])
  const stream = useStream(`/v1/runs/${encodeURIComponent(name)}/grid/watch`, onEvent)
  return { grid, status, ...stream }
}
