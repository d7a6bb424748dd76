import { Component, type ReactNode } from 'react'
import { asProblem } from '../../api/problem'
import { Problem } from '../../parts/Standing'

/** A page that fails takes nothing else with it; going elsewhere, or trying again, mends it. */
export class Guarded extends Component<{ children: ReactNode }, { thrown: unknown }> {
  override state: { thrown: unknown } = { thrown: undefined }

  static getDerivedStateFromError(thrown: unknown) {
    return { thrown }
  }

  override render() {
    if (this.state.thrown === undefined) return this.props.children
    return <Problem problem={asProblem(this.state.thrown)} again={() => this.setState({ thrown: undefined })} />
  }
}
