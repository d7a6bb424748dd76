import { Component, type ReactNode } from 'react'
import { ApiProblem, asProblem } from '../../api/problem'
import { Problem } from '../../parts/Standing'
import { useMessages } from '../messages'
import { PartNotLoaded } from '../part'
import { messages } from './messages'

/** A page that fails takes nothing else with it; going elsewhere, or trying again, mends it. */
export class Guarded extends Component<{ children: ReactNode }, { thrown: unknown }> {
  override state: { thrown: unknown } = { thrown: undefined }

  static getDerivedStateFromError(thrown: unknown) {
    return { thrown }
  }

  override render() {
    if (this.state.thrown === undefined) return this.props.children
    return <Failed thrown={this.state.thrown} again={() => this.setState({ thrown: undefined })} />
  }
}

function Failed({ thrown, again }: { thrown: unknown; again: () => void }) {
  const t = useMessages(messages)
  const missing = thrown instanceof PartNotLoaded
  return (
    <section className="page">
      <h1>{missing ? t.notLoaded : t.defect}</h1>
      <Problem
        problem={missing ? new ApiProblem(0, 'part_not_loaded', t.notLoadedWhy) : asProblem(thrown)}
        again={missing ? () => location.reload() : again}
      />
    </section>
  )
}
