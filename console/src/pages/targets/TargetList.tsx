import { useQuery } from '@tanstack/react-query'
import { Link, useSearchParams } from 'react-router'
import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { address, api, body } from '../../api/client'
import { CommandHint } from '../../parts/CommandHint'
import { SelectorInput } from '../../parts/SelectorInput'
import { sengu } from '../../parts/shell-words'
import { messages } from './messages'
import type { Zoom } from './racks/layout'
import { RackView } from './racks/RackView'
import { isScalar, targetOf } from './target'
import { TargetTable } from './TargetTable'

/** Targets that a selector matches, as racks or as a table. Selector, view and colour are in the address. */
export function TargetList() {
  const t = useMessages(messages)
  useTitle(t.title)
  const [params, setParams] = useSearchParams()
  const selector = params.get('selector') ?? ''
  const view = params.get('view') === 'table' ? 'table' : 'racks'
  const colour = params.get('colour') ?? 'state'
  const size = params.get('size')
  const zoom: Zoom = size === 'small' || size === 'large' ? size : 'medium'
  const set = (name: string, value: string, usual: string) => {
    setParams(
      (before) => {
        const next = new URLSearchParams(before)
        if (value === usual) next.delete(name)
        else next.set(name, value)
        return next
      },
      { replace: name !== 'selector' },
    )
  }
  const call =
    view === 'racks'
      ? address('/v1/tiles', { selector, colour: colour === 'state' ? undefined : colour })
      : address('/v1/records/Target', { selector, limit: 200 })
  return (
    <section className="page fills">
      <header className="page-head">
        <h1>{t.title}</h1>
        <span className="toggle" role="group" aria-label={t.view}>
          {(['racks', 'table'] as const).map((each) => (
            <button key={each} type="button" aria-pressed={view === each} onClick={() => set('view', each, 'racks')}>
              {t[each]}
            </button>
          ))}
        </span>
        {view === 'racks' ? (
          <>
            <Colours selector={selector} colour={colour} onColour={(to) => set('colour', to, 'state')} />
            <span className="toggle" role="group" aria-label={t.size}>
              {(['small', 'medium', 'large'] as const).map((each) => (
                <button key={each} type="button" aria-pressed={zoom === each} aria-label={`${t.size} ${t[each]}`} onClick={() => set('size', each, 'medium')}>
                  {t[each]}
                </button>
              ))}
            </span>
          </>
        ) : null}
        <Link className="button" to={`/runs/new${selector === '' ? '' : `?selector=${encodeURIComponent(selector)}`}`}>
          {t.observeThese}
        </Link>
        <span className="end">
          <CommandHint command={sengu('get', 'targets', ...(selector === '' ? [] : ['-l', selector]), '-o', 'wide')} call={{ path: call }} />
        </span>
      </header>
      <SelectorInput value={selector} onChange={(to) => set('selector', to, '')} />
      {view === 'racks' ? (
        <RackView key={`${selector}\n${colour}`} selector={selector} colour={colour} zoom={zoom} onSelector={(to) => set('selector', to, '')} />
      ) : (
        <TargetTable selector={selector} onSelector={(to) => set('selector', to, '')} />
      )}
    </section>
  )
}

/** What targets can be coloured by: the names that a few of them have. Others can be given in the address. */
function Colours({ selector, colour, onColour }: { selector: string; colour: string; onColour: (colour: string) => void }) {
  const t = useMessages(messages)
  const sample = useQuery({
    queryKey: ['colours', selector],
    queryFn: async ({ signal }) => {
      const page = await body(
        api.GET('/v1/records/{kind}', { params: { path: { kind: 'Target' }, query: { selector, limit: 100 } }, signal }),
      )
      return page.items.map(targetOf)
    },
    staleTime: 60_000,
  })
  const readings = new Set<string>()
  const texts = new Set<string>(['kind', 'zone'])
  for (const target of sample.data ?? []) {
    for (const reading of target.status.readings) readings.add(reading.name)
    for (const [name, value] of Object.entries(target.status.facts)) if (isScalar(value)) texts.add(name)
    for (const name of Object.keys(target.labels)) texts.add(name)
  }
  for (const name of ['serial', 'uuid', 'last_reset']) texts.delete(name)
  if (colour !== 'state' && !readings.has(colour)) texts.add(colour)
  return (
    <label className="colours">
      {t.colour}{' '}
      <select value={colour} onChange={(event) => onColour(event.target.value)}>
        <option value="state">{t.colourState}</option>
        <optgroup label={t.colourReadings}>
          {[...readings].sort().map((name) => (
            <option key={name}>{name}</option>
          ))}
        </optgroup>
        <optgroup label={t.colourWords}>
          {[...texts].sort().map((name) => (
            <option key={name}>{name}</option>
          ))}
        </optgroup>
      </select>
    </label>
  )
}
