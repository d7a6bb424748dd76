import { type ReactNode, useId } from 'react'
import { useSearchParams } from 'react-router'

/** A part that is opened when it is wanted, and asks for nothing before. What is open is in the address. */
export function Section({ name, title, children }: { name: string; title: string; children: () => ReactNode }) {
  const [params, setParams] = useSearchParams()
  const id = useId()
  const shown = (params.get('show') ?? '').split(',').filter(Boolean)
  const open = shown.includes(name)
  const turn = () =>
    setParams(
      (before) => {
        const next = new URLSearchParams(before)
        const all = open ? shown.filter((each) => each !== name) : [...shown, name]
        if (all.length === 0) next.delete('show')
        else next.set('show', all.join(','))
        return next
      },
      { replace: true },
    )
  return (
    <section className="part">
      <h2>
        <button type="button" className="plain section-turn" aria-expanded={open} aria-controls={id} onClick={turn}>
          <span aria-hidden="true">{open ? '▾' : '▸'}</span> {title}
        </button>
      </h2>
      <div id={id} hidden={!open} className="section-body">
        {open ? children() : null}
      </div>
    </section>
  )
}
