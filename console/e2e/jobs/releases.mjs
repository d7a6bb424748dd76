// A driver that is broken for some: promoted by a person, taken back by sengu.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, open, run } from '../rig.mjs'

/** The firmware that the version 1.5.0 of this fleet cannot drive. */
const BAD = '3.14.1'

job('a canary is promoted, and where it is broken it goes back by itself', {}, async (browser) => {
  const page = await open(browser, '/workers')
  await page.getByRole('link', { name: 'redfish' }).click()
  const told = page.locator('section.part', { hasText: 'Moves' }).getByText(/goes back: \d+ of \d+ tasks failed/)
  await page.getByText('Moves').waitFor()
  const before = await told.count()
  await page.getByRole('row', { name: /^1\.5\.0/ }).getByRole('button', { name: 'Promote' }).click()
  const dialog = page.getByRole('dialog', { name: 'Promote redfish@1.5.0' })
  await dialog.getByRole('radio', { name: /^One share/ }).check()
  await dialog.getByRole('textbox', { name: 'Share of the targets' }).fill('60%')
  await dialog.getByText('Begins with 60% of 60 targets: about 36.').waitFor()
  await dialog.getByRole('button', { name: 'Promote' }).click()
  await dialog.waitFor({ state: 'detached' })
  // The fleet goes on with its work; the page is not touched from here on.
  for (let round = 0; round < 10 && (await told.count()) === before; round++) {
    await run({ action: 'observe', selector: 'kind=redfish' })
    await told.nth(before).waitFor({ timeout: 2_000 }).catch(() => undefined)
  }
  await told.nth(before).waitFor()
  const { status } = await api('GET', '/v1/records/Release/redfish')
  const last = status.history.at(-1)
  await page.getByText(last.message).first().waitFor()
  if (last.what === 'cell-rolled-back') {
    const held = page.locator('section.part', { hasText: 'Cells kept off a version' })
    await held.getByText(BAD).first().waitFor()
    assert.ok(status.held.every((each) => each.cell.firmware === BAD))
  } else {
    // Those that fail were first to end: with nothing that went well beside them, all of it goes back.
    assert.equal(last.what, 'rolled-back')
    await page.getByText('Everything goes to 1.0.0').waitFor()
  }
  // The overview tells it to whoever looks there.
  const overview = await open(browser, '/')
  await overview.locator('section.part', { hasText: 'Rollouts' }).getByText('redfish').first().waitFor()

  if (last.what === 'cell-rolled-back') {
    await page.getByRole('button', { name: 'Roll back' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click()
    await page.getByText('the rollout was ended on request').first().waitFor()
  }
  const after = await api('GET', '/v1/records/Release/redfish')
  assert.equal(after.spec.version, '1.0.0')
})
