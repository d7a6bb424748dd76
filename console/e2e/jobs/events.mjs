// What happens now, what was changed before, and how the system itself stands.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, apply, open, startTask } from '../rig.mjs'

job('what happens appears by itself, and the audit says it later', {}, async (browser) => {
  // What an earlier time left behind is no news.
  const name = `seen-${Date.now().toString(36)}`
  const page = await open(browser, `/events?name=${name}`)
  await page.getByText('live', { exact: true }).first().waitFor()
  const labels = { site: 'hall-2', row: 'w1', rack: 'r01', unit: '40' }
  await apply({ apiVersion: 'sengu/v1', kind: 'Target', metadata: { name, labels }, spec: { kind: 'echo', address: 'x' } })
  await page.getByText(name).first().waitFor()
  await openRow(page, name)
  await page.getByRole('dialog').getByText('hall-2').first().waitFor()
  await page.keyboard.press('Escape')

  const failed = await startTask(name, 'say', { text: 'over and out' })
  const tasks = await open(browser, `/events?what=tasks`)
  await tasks.getByText(name).or(tasks.getByText(failed)).first().waitFor()

  const audit = await open(browser, `/events/changes?kind=Target&name=${name}`)
  await openRow(audit, name)
  await audit.getByRole('dialog').getByText(name).first().waitFor()
  assert.match(audit.url(), /revision=\d+/)
  await api('DELETE', `/v1/records/Target/${name}`)
})

job('the system says what it runs on, what it may use and what it is made of', {}, async (browser) => {
  // No store is being moved.
  browser.meant.push(/status of 404 .*store\/move/)
  const page = await open(browser, '/system')
  const { version } = await api('GET', '/v1/version')
  await page.getByText(version).first().waitFor()
  for (const heading of ['Interconnect', 'Store', 'Queues', 'Limits']) await page.getByRole('heading', { name: heading }).first().waitFor()
  await page.getByRole('button', { name: 'Licences' }).click()
  const licences = page.getByRole('grid', { name: 'Licences' })
  const find = page.locator('section', { has: licences }).getByRole('textbox', { name: 'find' })
  for (const name of ['tokio', 'react']) {
    await find.fill(name)
    await licences.getByText(name, { exact: true }).waitFor()
  }
})

/** A click beside the links in the row. */
async function openRow(page, name) {
  const row = page.getByRole('row', { name: new RegExp(name) }).first()
  await row.click({ position: { x: 4, y: 4 } })
}
