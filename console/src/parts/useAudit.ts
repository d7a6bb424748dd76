import { address, request } from '../api/client'
import { type CursorPage, type Look, type Pages, useCursorPages } from '../api/pages'
import type { AuditEntry, AuditFilter } from './audit'

const REFRESH_MS = 5_000

/** The call of the API that gives the first page. Pure. */
export function auditCall(filter: AuditFilter, limit: number): string {
  return address('/v1/audit', { ...filter, limit })
}

/** Who did what, newest first. The server looks through a part of all acts for each page, so one may be short or empty. */
export function useAudit(filter: AuditFilter, look: Look): Pages<AuditEntry> {
  return useCursorPages<AuditEntry>(
    ['audit', filter, look.rows],
    (cursor, signal) => request<CursorPage<AuditEntry>>('GET', address('/v1/audit', { ...filter, limit: look.rows, cursor }), undefined, signal),
    { refetchMs: REFRESH_MS, look },
  )
}
