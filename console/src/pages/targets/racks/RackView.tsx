import { useQuery } from '@tanstack/react-query'
import { useCallback, useMemo, useState } from 'react'
import { Link, useNavigate } from 'react-router'
import { useMessages } from '../../../app/messages'
import { useDark } from '../../../app/settings'
import { api, body } from '../../../api/client'
import { count, measured, unitWord } from '../../../parts/format'
import { SafeText } from '../../../parts/SafeText'
import { Empty, Loading, Problem } from '../../../parts/Standing'
import { words } from '../../../parts/states'
import { visibleText } from '../../../parts/visible'
import { messages } from '../messages'
import { LETTERS, scaleSwatches, stateSwatches, wordSwatches } from './colours'
import type { Zoom } from './layout'
import { Legend } from './Legend'
import { RackCanvas } from './RackCanvas'
import { type RackKey, RackList } from './RackList'
import type { TileStore } from './store'
import { useTiles } from './useTiles'

type Props = { selector: string; colour: string; zoom: Zoom; onSelector: (selector: string) => void }

/** The datacenter as it stands: a drawing of all racks, and the same as a list beside it. */
export function RackView({ selector, colour, zoom, onSelector }: Props) {
  const t = useMessages(messages)
  const { store, version, state, problem } = useTiles(selector, colour)
  if (problem && !store) return <Problem problem={problem} />
  if (!store) return <Loading />
  if (store.length === 0) return <NoTargets selector={selector} onSelector={onSelector} />
  return (
    <>
      {problem && state !== 'live' ? <Problem problem={problem} /> : null}
      {store.whole.truncated ? (
        <div className="truncated">
          <p>{t.truncated(count(store.length), count(store.whole.total))}</p>
          <Sites selector={selector} onSelector={onSelector} />
        </div>
      ) : null}
      <Drawing key={store.whole.revision} store={store} version={version} zoom={zoom} live={state === 'live'} />
    </>
  )
}

export function NoTargets({ selector, onSelector }: { selector: string; onSelector: (selector: string) => void }) {
  const t = useMessages(messages)
  return (
    <Empty title={t.none}>
      {selector === '' ? (
        <>
          {t.noneHow} <code>sengu apply -f targets/</code>
        </>
      ) : (
        <button type="button" onClick={() => onSelector('')}>
          {t.noneClear}
        </button>
      )}
    </Empty>
  )
}

function Drawing({ store, version, zoom, live }: { store: TileStore; version: number; zoom: Zoom; live: boolean }) {
  const t = useMessages(messages)
  const stateWords = useMessages(words)
  const dark = useDark()
  const navigate = useNavigate()
  const [active, setActive] = useState<number>()
  const [chosen, setChosen] = useState<RackKey>()
  const { by } = store.colouring
  const swatches = useMemo(() => (by === 'state' ? stateSwatches : by === 'reading' ? scaleSwatches : wordSwatches)(dark), [by, dark])
  const describe = useCallback(
    (tile: number) => {
      const { sites, rows, racks, tiles, words: dictionary, unit } = store.whole
      const place = [sites[tiles.site[tile] ?? 0], rows[tiles.row[tile] ?? 0], racks[tiles.rack[tile] ?? 0]]
      const parts = [tiles.name[tile]?.slice(0, 80), place.filter((part) => part !== undefined && part !== '').join(' / ')]
      const u = tiles.unit[tile]
      if (u) parts.push(t.unit(u))
      parts.push(stateWords[LETTERS[store.letters[tile] ?? '?']])
      const value = tiles.value?.[tile]
      if (tiles.value) parts.push(value === null || value === undefined ? t.noValue : `${measured(value)} ${unitWord(unit)}`)
      const word = tiles.word?.[tile]
      if (tiles.word) parts.push(word === null || word === undefined ? t.noValue : dictionary[word])
      return visibleText(parts.filter(Boolean).join(' · ').slice(0, 240))
    },
    [store, t, stateWords],
  )
  const open = (tile: number) => void navigate(`/targets/${encodeURIComponent(store.whole.tiles.name[tile] ?? '')}`)
  const activate = (tile: number | undefined) => {
    setActive(tile)
    const { site, row, rack } = store.whole.tiles
    if (tile !== undefined) setChosen({ site: site[tile] ?? 0, row: row[tile] ?? 0, rack: rack[tile] ?? 0 })
  }
  return (
    <div className="racks">
      <div className="racks-drawing">
        <Legend store={store} version={version} swatches={swatches} live={live} />
        <RackCanvas
          store={store}
          version={version}
          zoom={zoom}
          swatches={swatches}
          active={active}
          onActive={activate}
          onOpen={open}
          describe={describe}
        />
      </div>
      <aside className="racks-list" aria-label={t.rackList}>
        {active === undefined ? null : (
          <p className="rack-active">
            <Link to={`/targets/${encodeURIComponent(store.whole.tiles.name[active] ?? '')}`}>
              <SafeText text={store.whole.tiles.name[active]} max={60} mono still />
            </Link>{' '}
            <span className="dim">{describe(active).split(' · ').slice(1).join(' · ')}</span>
          </p>
        )}
        <RackList store={store} version={version} chosen={chosen} onChoose={setChosen} onActive={setActive} />
      </aside>
    </div>
  )
}

/** Sites with how many targets each has: the way from a fleet that is too large for one drawing to one that is not. */
function Sites({ selector, onSelector }: { selector: string; onSelector: (selector: string) => void }) {
  const racks = useQuery({
    queryKey: ['racks', selector],
    queryFn: ({ signal }) => body(api.GET('/v1/racks', { params: { query: { selector } }, signal })),
    staleTime: 30_000,
  })
  const sites = new Map<string, number>()
  const rows = new Map<string, number>()
  for (const rack of racks.data?.items ?? []) {
    sites.set(rack.site, (sites.get(rack.site) ?? 0) + rack.targets)
    rows.set(rack.row, (rows.get(rack.row) ?? 0) + rack.targets)
  }
  const [label, found] = sites.size > 1 ? (['site', sites] as const) : (['row', rows] as const)
  return (
    <ul className="chips">
      {[...found].slice(0, 40).map(([value, n]) => (
        <li key={value}>
          <button
            type="button"
            className="small"
            onClick={() => onSelector([selector, value === '' ? `!${label}` : `${label}=${value}`].filter((part) => part !== '').join(','))}
          >
            <SafeText text={value || '–'} max={32} mono still /> <span className="dim">{count(n)}</span>
          </button>
        </li>
      ))}
    </ul>
  )
}
