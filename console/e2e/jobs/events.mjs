// What happens now, what was changed before, and how the system itself stands.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, apply, open, startTask } from '../rig.mjs'

job('what happens appears by itself, and the audit says it later', {}, async (browser) => {
  const page = await open(browser, '/events?name=seen-by')
  await page.getByText('live', { exact: true }).first().waitFor()
  const labels = { site: 'hall-2', row: 'w1', rack: 'r01', unit: '40' }
  await apply({ apiVersion: 'sengu/v1', kind: 'Target', metadata: { name: 'seen-by-all', labels }, spec: { kind: 'echo', address: 'x' } })
  await page.getByText('seen-by-all').first().waitFor()
  await page.getByText('seen-by-all').first().click()
  await page.getByRole('dialog').getByText('hall-2').first().waitFor()
  await page.keyboard.press('Escape')

  const failed = await startTask('seen-by-all', 'say', { text: 'over and out' })
  const tasks = await open(browser, `/events?what=tasks`)
  await tasks.getByText('seen-by-all').or(tasks.getByText(failed)).first().waitFor()

  const audit = await open(browser, '/events/changes?kind=Target&name=seen-by-all')
  await audit.getByText('seen-by-all').first().click()
  await audit.getByRole('dialog').getByText('seen-by-all').first().waitFor()
  assert.match(audit.url(), /revision=\d+/)
  await api('DELETE', '/v1/records/Target/seen-by-all')
})

job('the system says what it runs on, what it may use and what it is made of', {}, async (browser) => {
  const page = await open(browser, '/system')
  const { version } = await api('GET', '/v1/version')
  await page.getByText(version).first().waitFor()
  for (const heading of ['Interconnect', 'Store', 'Queues', 'Limits', 'Licences']) await page.getByRole('heading', { name: heading }).first().waitFor()
  await page.getByText('tokio', { exact: true }).waitFor({ state: 'attached' })
  await page.getByText('react', { exact: true }).waitFor({ state: 'attached' })
})
