// A driver that is broken for some: promoted by a person, taken back by sengu.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, open, run } from '../rig.mjs'

/** The firmware that the version 1.5.0 of this fleet cannot drive. */
const BAD = '3.14.1'

job('a canary is promoted, and where it is broken it goes back by itself', {}, async (browser) => {
  const page = await open(browser, '/workers')
  await page.getByRole('link', { name: 'redfish' }).click()
  await page.getByRole('row', { name: /^1\.5\.0/ }).getByRole('button', { name: 'Promote' }).click()
  const dialog = page.getByRole('dialog', { name: 'Promote redfish@1.5.0' })
  await dialog.getByRole('radio', { name: /^One share/ }).check()
  await dialog.getByRole('textbox', { name: 'Share of the targets' }).fill('60%')
  await dialog.getByText('Begins with 60% of 60 targets: about 36.').waitFor()
  await dialog.getByRole('button', { name: 'Promote' }).click()
  await dialog.waitFor({ state: 'detached' })
  await page.locator('.page-head').getByText('rolling').waitFor()

  // The fleet goes on with its work; the page is not touched from here on.
  const held = page.locator('section.part', { hasText: 'Cells kept off a version' })
  for (let round = 0; round < 10 && (await held.getByText(BAD).count()) === 0; round++) {
    await run({ action: 'observe', selector: 'kind=redfish' })
    await held.getByText(BAD).first().waitFor({ timeout: 2_000 }).catch(() => undefined)
  }
  await held.getByText(BAD).first().waitFor()
  await held.getByText(/tasks failed \(the version in use: 0 of/).first().waitFor()
  await page.getByText('cell rolled back').first().waitFor()
  const { status } = await api('GET', '/v1/records/Release/redfish')
  assert.ok(status.held.length > 0)
  assert.ok(status.held.every((each) => each.cell.firmware === BAD))
  // The overview tells it to whoever looks there.
  const overview = await open(browser, '/')
  await overview.locator('section.part', { hasText: 'Rollouts' }).getByText('redfish').first().waitFor()

  await page.getByRole('button', { name: 'Roll back' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click()
  await page.getByText('rolled back').first().waitFor()
  const after = await api('GET', '/v1/records/Release/redfish')
  assert.equal(after.spec.version, '1.0.0')
})
