import type { components } from '../../../api/openapi'

type Record = components['schemas']['Record']

/** The record with or without a reason for maintenance, as it is sent back: without what is the server's. Pure. */
export function withMaintenance(record: Record, reason: string | undefined): Record {
  const spec = { ...(record.spec as { [field: string]: unknown } | undefined) }
  delete spec['maintenance']
  const { name, labels, annotations, revision } = record.metadata
  return {
    apiVersion: record.apiVersion,
    kind: record.kind,
    metadata: { name, ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}), ...(revision == null ? {} : { revision }) },
    spec: reason === undefined ? spec : { ...spec, maintenance: reason },
  }
}
