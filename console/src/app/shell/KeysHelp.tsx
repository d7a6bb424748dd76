import { Dialog } from '../../parts/Dialog'
import { useMessages } from '../messages'
import { changeSettings, useSettings } from '../settings'
import { messages } from './messages'
import { PAGES } from './pages'

export function KeysHelp({ onClose }: { onClose: () => void }) {
  const t = useMessages(messages)
  const { keys: on } = useSettings()
  const rows: [string[], string][] = [
    [['/', 'Ctrl K'], t.keyJump],
    [['?'], t.keyHelp],
    ...PAGES.map((page): [string[], string] => [[`g ${page.key}`], t[page.name]]),
    [['j'], t.keyTable],
    [['↑ ↓', 'j k'], t.keyMove],
    [['Home', 'End'], t.keyEnds],
    [['Enter'], t.keyOpen],
    [['← ↑ ↓ →'], t.keyTiles],
    [['Esc'], t.keyClose],
  ]
  return (
    <Dialog title={t.keysHelp} onClose={onClose}>
      <label className="keys-on">
        <input type="checkbox" checked={on} onChange={(event) => changeSettings({ keys: event.target.checked })} />
        {t.keysOn}
      </label>
      <dl className="keys">
        {rows.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  )
}
