import { type ComponentType, lazy } from 'react'

/** A part of the console could not be fetched: nothing answers, or another version of sengu has other files. */
export class PartNotLoaded extends Error {}

/** A page that is fetched when it is opened. One that failed stays failed until the document is loaded anew. */
export function part(load: () => Promise<{ default: ComponentType }>) {
  return lazy(() =>
    load().catch((thrown: unknown) => {
      throw new PartNotLoaded('part of the console', { cause: thrown })
    }),
  )
}
