import { useMemo } from 'react'
import { Link } from 'react-router'
import { useMessages } from '../../../app/messages'
import { type Column, DataTable, wholeList } from '../../../parts/DataTable'
import { count } from '../../../parts/format'
import { SafeText } from '../../../parts/SafeText'
import { StateBadge } from '../../../parts/StateBadge'
import { messages } from '../messages'
import { type Letter, LETTERS } from './colours'
import type { TileStore } from './store'

/** A rack by its place in the dictionaries. */
export type RackKey = { site: number; row: number; rack: number }
type RackRow = RackKey & { key: string; total: number; bad: number }

const BAD: Letter[] = ['u', 'q', 'f']

type Props = {
  store: TileStore
  version: number
  chosen: RackKey | undefined
  onChoose: (rack: RackKey | undefined) => void
  onActive: (tile: number) => void
}

/** The racks in words: those that are not well first. A rack opens into its targets. The drawing is never needed. */
export function RackList({ store, version, chosen, onChoose, onActive }: Props) {
  return chosen ? (
    <OneRack store={store} version={version} chosen={chosen} onChoose={onChoose} onActive={onActive} />
  ) : (
    <AllRacks store={store} version={version} onChoose={onChoose} />
  )
}

function placeOf(store: TileStore, { site, row, rack }: RackKey): string {
  const { sites, rows, racks } = store.whole
  return [sites[site], rows[row], racks[rack]].filter((part) => part !== undefined && part !== '').join(' / ')
}

function AllRacks({ store, version, onChoose }: Pick<Props, 'store' | 'version' | 'onChoose'>) {
  const t = useMessages(messages)
  const rows = useMemo(() => {
    const found = new Map<string, RackRow>()
    const { site, row, rack } = store.whole.tiles
    for (let i = 0; i < store.length; i++) {
      const key = `${site[i] ?? 0}/${row[i] ?? 0}/${rack[i] ?? 0}`
      let entry = found.get(key)
      if (!entry) found.set(key, (entry = { key, site: site[i] ?? 0, row: row[i] ?? 0, rack: rack[i] ?? 0, total: 0, bad: 0 }))
      entry.total += 1
      if (BAD.includes(store.letters[i] ?? '?')) entry.bad += 1
    }
    const place = (entry: RackRow) => placeOf(store, entry)
    const order = new Intl.Collator('en', { numeric: true })
    return [...found.values()].sort((a, b) => b.bad - a.bad || order.compare(place(a), place(b)))
    // The store changes within; its version says when.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [store, version])
  const columns: Column<RackRow>[] = [
    {
      key: 'place',
      header: t.place,
      width: 'minmax(0, 1fr)',
      cell: (row) => <SafeText text={placeOf(store, row) || t.noRack} max={60} mono still />,
    },
    {
      key: 'n',
      header: t.title,
      width: 'max-content',
      align: 'end',
      cell: (row) => (row.bad > 0 ? <span className="tone-bad">{t.ofWhich(count(row.total), count(row.bad))}</span> : count(row.total)),
    },
  ]
  return <DataTable label={t.rackList} columns={columns} pages={wholeList(rows)} rowKey={(row) => row.key} onOpen={onChoose} height="100%" />
}

function OneRack({ store, version, chosen, onChoose, onActive }: Props & { chosen: RackKey }) {
  const t = useMessages(messages)
  const tiles = useMemo(() => {
    const { site, row, rack, unit } = store.whole.tiles
    const found: number[] = []
    for (let i = 0; i < store.length; i++) {
      if (site[i] === chosen.site && row[i] === chosen.row && rack[i] === chosen.rack) found.push(i)
    }
    const order = new Intl.Collator('en', { numeric: true })
    return found.sort((a, b) => order.compare(unit[b] ?? '', unit[a] ?? ''))
  }, [store, chosen])
  const columns: Column<number>[] = [
    { key: 'unit', header: 'U', width: '38px', align: 'end', cell: (i) => <SafeText text={store.whole.tiles.unit[i]} max={6} mono still /> },
    {
      key: 'name',
      header: t.name,
      width: 'minmax(0, 1fr)',
      cell: (i) => (
        <Link to={`/targets/${encodeURIComponent(store.whole.tiles.name[i] ?? '')}`} tabIndex={-1}>
          <SafeText text={store.whole.tiles.name[i]} max={48} mono still />
        </Link>
      ),
    },
    {
      key: 'state',
      header: t.state,
      width: 'minmax(96px, max-content)',
      cell: (i) => <StateBadge state={LETTERS[store.letters[i] ?? '?']} />,
    },
  ]
  return (
    <>
      <p className="rack-chosen">
        <button type="button" className="small" onClick={() => onChoose(undefined)}>
          ← {t.backToRacks}
        </button>{' '}
        <b>
          <SafeText text={placeOf(store, chosen) || t.noRack} max={60} mono still />
        </b>
      </p>
      <DataTable
        key={version < 0 ? 'never' : 'tiles'}
        label={placeOf(store, chosen)}
        columns={columns}
        pages={wholeList(tiles)}
        rowKey={String}
        onOpen={onActive}
        height="100%"
      />
    </>
  )
}
