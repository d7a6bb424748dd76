import { useVirtualizer } from '@tanstack/react-virtual'
import { type KeyboardEvent, type ReactNode, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from 'react'
import { useMessages } from '../app/messages'
import type { Pages } from '../api/pages'
import { count } from './format'
import { messages } from './messages'
import { Empty, Loading, Problem } from './Standing'

export type Column<T> = {
  key: string
  header: string
  /** A width of CSS grid: `120px`, `minmax(120px, 1fr)`. */
  width: string
  cell: (row: T) => ReactNode
  align?: 'end'
  /** Left out while the table is narrower than this. */
  fromWidth?: number
}

type Props<T> = {
  label: string
  columns: Column<T>[]
  pages: Pages<T>
  rowKey: (row: T) => string
  /** Enter or a click on a row. */
  onOpen?: (row: T) => void
  empty?: ReactNode
  /** Height of the list; by default it fills what the page leaves. */
  height?: string
  rowHeight?: number
}

const OVERSCAN = 12

/**
 * A table of which only what is seen exists, and that asks for the next page as the reader comes near its end.
 * Keys: up and down (or k and j), Page Up/Down, Home, End, Enter.
 *
 * A list that renews itself never changes under the reader: what is marked is marked by its key, and rows that come in
 * above what is seen move the place where it is scrolled to.
 */
export function DataTable<T>({ label, columns, pages, rowKey, onOpen, empty, height, rowHeight = 28 }: Props<T>) {
  const t = useMessages(messages)
  const { rows } = pages
  const id = useId()
  const scroller = useRef<HTMLDivElement>(null)
  const [activeKey, setActiveKey] = useState<string>()
  const active = activeKey === undefined ? -1 : rows.findIndex((row) => rowKey(row) === activeKey)
  const mark = (index: number) => {
    const row = rows[index]
    if (row !== undefined) setActiveKey(rowKey(row))
  }
  const anchor = useRef<{ key: string; index: number }>(undefined)
  const [width, setWidth] = useState(1024)

  useEffect(() => {
    const element = scroller.current
    if (!element) return undefined
    const observer = new ResizeObserver(([entry]) => setWidth(entry?.contentRect.width ?? 1024))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])

  const shown = useMemo(() => columns.filter((column) => (column.fromWidth ?? 0) <= width), [columns, width])
  const template = shown.map((column) => column.width).join(' ')

  // The compiler of React cannot see into it; nothing here is memoised by it.
  // eslint-disable-next-line react-hooks/incompatible-library
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: OVERSCAN,
    getItemKey: (index) => {
      const row = rows[index]
      return row === undefined ? index : rowKey(row)
    },
  })
  const items = virtual.getVirtualItems()
  const last = items[items.length - 1]?.index ?? -1
  const { more, loadingMore, next } = pages
  useEffect(() => {
    if (more && !loadingMore && last >= rows.length - OVERSCAN * 2) next()
  }, [more, loadingMore, last, rows.length, next])

  const noteAnchor = () => {
    const index = Math.floor((scroller.current?.scrollTop ?? 0) / rowHeight)
    const row = rows[index]
    anchor.current = row === undefined ? undefined : { key: rowKey(row), index }
  }
  const shownRows = useRef(rows)
  useLayoutEffect(() => {
    if (shownRows.current === rows) return
    shownRows.current = rows
    const [element, kept] = [scroller.current, anchor.current]
    // At the very top the newest rows are what is wanted.
    if (element && kept && element.scrollTop > 0) {
      const index = rows.findIndex((row) => rowKey(row) === kept.key)
      if (index >= 0 && index !== kept.index) element.scrollTop += (index - kept.index) * rowHeight
    }
    noteAnchor()
  })

  const page = Math.max(1, Math.floor((virtual.scrollRect?.height ?? 300) / rowHeight) - 1)
  function onKeyDown(event: KeyboardEvent) {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return
    const row = rows[active]
    if (event.key === 'Enter' && row !== undefined) {
      // The same press would otherwise go on to the button that a dialog puts the focus on.
      event.preventDefault()
      onOpen?.(row)
      return
    }
    const to = moved(event.key, active, rows.length, page)
    if (to === undefined) return
    event.preventDefault()
    mark(to)
    virtual.scrollToIndex(to)
  }

  return (
    <div className="table" style={height === undefined ? undefined : { height }}>
      <div
        ref={scroller}
        className="table-scroll"
        role="grid"
        tabIndex={0}
        aria-label={label}
        aria-rowcount={more || pages.full ? -1 : rows.length + 1}
        aria-colcount={shown.length}
        aria-busy={pages.loading || loadingMore}
        aria-activedescendant={active >= 0 && active < rows.length ? `${id}-${active}` : undefined}
        onKeyDown={onKeyDown}
        onScroll={noteAnchor}
        onFocus={(event) => {
          if (event.target === event.currentTarget && active < 0) mark(0)
        }}
      >
        <div role="rowgroup" className="table-head">
          <div role="row" aria-rowindex={1} className="table-row" style={{ gridTemplateColumns: template }}>
            {shown.map((column) => (
              <div role="columnheader" key={column.key} className={column.align === 'end' ? 'cell number' : 'cell'}>
                {column.header}
              </div>
            ))}
          </div>
        </div>
        <div role="rowgroup" className="table-body" style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const row = rows[item.index]
            if (row === undefined) return null
            return (
              // The grid as a whole takes the keyboard; a click is a shortcut for it.
              // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
              <div
                role="row"
                id={`${id}-${item.index}`}
                key={item.key}
                aria-rowindex={item.index + 2}
                aria-selected={item.index === active}
                className={onOpen ? 'table-row opens' : 'table-row'}
                style={{ gridTemplateColumns: template, height: rowHeight, transform: `translateY(${item.start}px)` }}
                onClick={(event) => {
                  mark(item.index)
                  // A link or button in the row does its own thing; marking text is no click.
                  const own = event.target instanceof Element && event.target.closest('a, button, input') !== null
                  if (!own && getSelection()?.type !== 'Range') onOpen?.(row)
                }}
              >
                {shown.map((column) => (
                  <div role="gridcell" key={column.key} className={column.align === 'end' ? 'cell number' : 'cell'}>
                    {column.cell(row)}
                  </div>
                ))}
              </div>
            )
          })}
        </div>
      </div>
      {pages.loading ? <Loading /> : null}
      {pages.problem ? <Problem problem={pages.problem} again={pages.again} /> : null}
      {!pages.loading && !pages.problem && rows.length === 0 ? (empty ?? <Empty />) : null}
      {rows.length > 0 ? (
        <p className="table-foot dim">{pages.full ? t.rowsFull(count(rows.length)) : t.rowsLoaded(count(rows.length), more)}</p>
      ) : null}
    </div>
  )
}

/** Where a key moves the active row; undefined for keys that do not. Pure. */
export function moved(key: string, active: number, length: number, page: number): number | undefined {
  if (length === 0) return undefined
  const clamp = (to: number) => Math.max(0, Math.min(length - 1, to))
  switch (key) {
    case 'ArrowDown':
    case 'j':
      return clamp(active + 1)
    case 'ArrowUp':
    case 'k':
      return clamp(active - 1)
    case 'PageDown':
      return clamp(active + page)
    case 'PageUp':
      return clamp(active - page)
    case 'Home':
      return 0
    case 'End':
      return length - 1
    default:
      return undefined
  }
}

/** Rows that are all here already, for a table without pages. */
export function wholeList<T>(rows: T[], loading = false): Pages<T> {
  return {
    rows,
    loading,
    loadingMore: false,
    problem: undefined,
    more: false,
    full: false,
    asked: 1,
    stalled: false,
    lookOn: () => undefined,
    next: () => undefined,
    again: () => undefined,
  }
}
