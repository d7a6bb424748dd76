import { useVirtualizer } from '@tanstack/react-virtual'
import { useCallback, useEffect, useRef, useState } from 'react'
import { useMessages } from '../app/messages'
import type { components } from '../api/openapi'
import type { ApiProblem } from '../api/problem'
import { type StreamState, useStream } from '../api/stream'
import { count } from './format'
import { messages } from './messages'
import { SafeText } from './SafeText'
import { Problem } from './Standing'
import { Clock } from './Time'

export type LogLine = components['schemas']['LogLine']

/** Lines kept in the tab; older ones are dropped, and how many is said. */
const LINES_MAX = 5000
/** Lines are put on the page this often, however fast they come. */
const FLUSH_MS = 200

type Kept = { lines: LogLine[]; dropped: number }

/** Follows what a task's worker logs, until the task has ended. For one task: another one is another component. */
function useTaskLogs(task: string): Kept & { state: StreamState; problem: ApiProblem | undefined } {
  const [kept, setKept] = useState<Kept>({ lines: [], dropped: 0 })
  const waiting = useRef<LogLine[]>([])
  const onEvent = useCallback((event: { event: string; data: string }) => {
    if (event.event === 'log') waiting.current.push(JSON.parse(event.data) as LogLine)
  }, [])
  const { state, problem } = useStream(`/v1/tasks/${encodeURIComponent(task)}/logs?follow=true`, onEvent, { once: true })
  useEffect(() => {
    const timer = setInterval(() => {
      if (waiting.current.length === 0) return
      const fresh = waiting.current
      waiting.current = []
      setKept((before) => {
        const all = before.lines.concat(fresh)
        const over = Math.max(0, all.length - LINES_MAX)
        return { lines: over > 0 ? all.slice(over) : all, dropped: before.dropped + over }
      })
    }, FLUSH_MS)
    return () => clearInterval(timer)
  }, [])
  return { ...kept, state, problem }
}

/** What the line is: how grave, or which way a frame went. */
function LevelOf({ line }: { line: LogLine }) {
  const t = useMessages(messages)
  if (!line.frame) return <span className="log-level">{line.level}</span>
  const to = line.frame === 'toWorker'
  return (
    <span className="log-level" title={to ? t.frameTo : t.frameFrom}>
      <span aria-hidden="true">{to ? '→' : '←'}</span>
      <span className="visually-hidden">{to ? t.frameTo : t.frameFrom}</span>
    </span>
  )
}

type Props = { task: string; label: string }

/** Log lines, virtual, with the end in sight while it is followed. Lines are hostile text. */
export function LogStream(props: Props) {
  return <Lines key={props.task} {...props} />
}

function Lines({ task, label }: Props) {
  const t = useMessages(messages)
  const { lines, dropped, problem, state } = useTaskLogs(task)
  const [follow, setFollow] = useState(true)
  const scroller = useRef<HTMLDivElement>(null)
  // eslint-disable-next-line react-hooks/incompatible-library
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 20,
    overscan: 20,
  })
  useEffect(() => {
    if (follow && lines.length > 0) virtual.scrollToIndex(lines.length - 1, { align: 'end' })
  }, [follow, lines.length, virtual])
  return (
    <section className="logs" aria-label={label}>
      <div className="logs-bar">
        <label>
          <input type="checkbox" checked={follow} onChange={(event) => setFollow(event.target.checked)} />
          {t.follow}
        </label>
        {dropped > 0 ? <span className="dim">{t.logDropped(count(dropped))}</span> : null}
      </div>
      {problem ? <Problem problem={problem} /> : null}
      <div
        ref={scroller}
        className={lines.length === 0 ? 'logs-scroll empty' : 'logs-scroll'}
        role="log"
        aria-label={label}
        // A log is read by scrolling, with the keyboard too.
        tabIndex={0}
        onWheel={(event) => {
          if (event.deltaY < 0) setFollow(false)
        }}
      >
        {lines.length === 0 ? <p className="dim">{state === 'ended' ? t.logNone : t.logEmpty}</p> : null}
        <div className="logs-body" style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const line = lines[item.index]
            return line ? (
              <div
                key={item.key}
                ref={virtual.measureElement}
                data-index={item.index}
                className={`log-line log-${line.level}`}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <Clock at={line.at} /> <LevelOf line={line} />
                <SafeText text={line.message} max={500} mono lines />
              </div>
            ) : null
          })}
        </div>
      </div>
    </section>
  )
}
