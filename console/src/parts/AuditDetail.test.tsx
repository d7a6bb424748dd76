import { cleanup, render, screen, within } from '@testing-library/react'
import { MemoryRouter } from 'react-router'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Actor } from './Actor'
import type { AuditEntry } from './audit'
import { AuditDetail } from './AuditDetail'

afterEach(cleanup)
beforeAll(() => {
  // jsdom has no modal dialogs.
  HTMLDialogElement.prototype.showModal = function show() {
    this.open = true
  }
})

const SCRIPT = '<img src=x onerror="window.owned = true">'
const entry: AuditEntry = {
  position: 41,
  at: '2026-01-02T03:04:05Z',
  by: { role: 'operator', name: `kay\u202e${SCRIPT}`, via: 'cookie' },
  what: 'configured',
  kind: 'Target',
  name: 'bmc-1',
  note: `note ${SCRIPT}`,
  targets: ['bmc-1', 'bmc-2'],
  fields: [
    { path: 'labels.rack', before: 'r1', after: SCRIPT },
    { path: 'spec.port', after: 22 },
  ],
  cut: true,
}

describe('an act that is opened', () => {
  test('has all that is kept of it, and nothing in it acts', () => {
    const { container } = render(
      <MemoryRouter>
        <AuditDetail entry={entry} onClose={() => undefined} />
      </MemoryRouter>,
    )
    expect(container.querySelectorAll('img, script').length).toBe(0)
    expect(container.textContent).toContain(`kay⟦RLO⟧${SCRIPT}`)
    expect(container.textContent).toContain(`note ${SCRIPT}`)
    expect(container.textContent).toContain('position 41')
    const rows = within(screen.getByRole('table')).getAllByRole('row').slice(1)
    expect(rows.map((row) => row.textContent)).toEqual([`labels.rackr1${SCRIPT}`, 'spec.portabsent22'])
    expect(screen.getByText('More has changed than is kept here.')).toBeTruthy()
    expect(screen.getByRole('link', { name: 'bmc-2' }).getAttribute('href')).toBe('/targets/bmc-2')
    expect(screen.getByRole('link', { name: 'All that was done to it' }).getAttribute('href')).toBe('/events/audit?name=bmc-1')
  })
})

test("sengu's own acts have a mark that no name brings", () => {
  const own = render(<Actor by={{ role: 'sengu' }} />)
  expect(own.container.querySelector('.mark')).not.toBeNull()
  const other = render(<Actor by={{ role: 'operator', name: 'sengu' }} />)
  expect(other.container.querySelector('.mark')).toBeNull()
  expect(other.container.textContent).toBe('operator sengu')
})
