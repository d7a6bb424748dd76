import { SafeText } from './SafeText'

/** Any value of a device as indented JSON. It is hostile text like the rest. */
export function JsonText({ value, max = 2000 }: { value: unknown; max?: number }) {
  return (
    // It scrolls, so the keyboard must reach it.
    <pre className="json" role="region" aria-label="JSON" tabIndex={0}>
      <SafeText text={JSON.stringify(value, null, 2)} max={max} mono lines />
    </pre>
  )
}
