// To find a device by where it stands, to do something with it, and to see it through.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, at, open, startTask, until } from '../rig.mjs'

job('a target is found by its rack, by keyboard alone', {}, async (browser) => {
  const page = await open(browser, '/')
  await page.keyboard.press('g')
  await page.keyboard.press('t')
  const racks = page.getByRole('grid', { name: 'Racks as a list' })
  await racks.getByText('hall-1 / w1 / r02').waitFor()
  await racks.focus()
  while ((await marked(racks)) !== 'hall-1 / w1 / r02') await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  const rack = page.getByRole('grid', { name: 'hall-1 / w1 / r02' })
  await rack.getByText('redfish-21', { exact: true }).waitFor()
  await rack.focus()
  while ((await marked(rack)) !== 'redfish-21') await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'redfish-21' }).first().click()
  await page.getByRole('heading', { name: 'redfish-21', level: 1 }).waitFor()
  assert.equal(page.url(), at('/targets/redfish-21'))
})

/** The first name in the row that is marked. */
async function marked(grid) {
  const row = grid.locator('[aria-selected="true"]')
  if ((await row.count()) === 0) return undefined
  return (await row.locator('.safe').allInnerTexts()).find((text) => !/^\d+$/.test(text))
}

job('a tile of the drawing opens its target', {}, async (browser) => {
  const page = await open(browser, '/targets?selector=rack%3Dr03')
  const drawing = page.getByRole('application')
  await drawing.focus()
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.waitForURL(/\/targets\/[^/?]+$/)
  const [, name] = page.url().split('/targets/')
  const { metadata } = await api('GET', `/v1/records/Target/${name}`)
  assert.equal(metadata.labels.rack, 'r03')
})

job('a selector of the command line selects the same targets', {}, async (browser) => {
  browser.meant.push(/status of 422/)
  const page = await open(browser, '/targets?view=table')
  const selector = page.getByLabel('Selector', { exact: true })
  await selector.fill('kind=redfish,rack in (r01,r02)')
  await selector.press('Enter')
  await page.getByText('40 rows').waitFor()
  await selector.fill('rack in (')
  await selector.press('Enter')
  await page.getByRole('alert').or(page.locator('.tone-bad')).first().waitFor()
})

job('an action is run from the page of its target and watched to its end', {}, async (browser) => {
  const page = await open(browser, '/targets/redfish-5')
  await page.getByRole('button', { name: /^power\.cycle probe/ }).click()
  await page.getByRole('button', { name: 'Look over and start' }).click()
  const dialog = page.getByRole('dialog', { name: 'power.cycle on redfish-5' })
  for (const words of ['hall-1', 'never done twice']) await dialog.getByText(words).first().waitFor()
  const start = dialog.getByRole('button', { name: 'Start power.cycle' })
  const typed = dialog.getByLabel('Type redfish-5 to go on')
  if ((await typed.count()) > 0) {
    assert.equal(await start.isDisabled(), true)
    await typed.fill('redfish-5')
  }
  await start.click()
  await dialog.waitFor({ state: 'detached' })
  const started = page.locator('section.started').first()
  const id = await started.getAttribute('aria-label')
  await started.getByText('done', { exact: true }).first().waitFor()
  const task = await api('GET', `/v1/tasks/${id}`)
  assert.equal(task.ending.outcome.status, 'done')
  assert.deepEqual([task.target, task.action, task.origin], ['redfish-5', 'power.cycle', 'person'])
  // It is in the timeline too, by itself.
  await page.locator('section', { hasText: 'Timeline' }).getByText(id).first().waitFor()
})

job('why a task waits is one sentence, and its link leads to what holds the target', {}, async (browser) => {
  const holder = await startTask('echo-0003', 'once', { sleep_ms: 50_000 })
  const waiting = await startTask('echo-0003', 'noop')
  const page = await open(browser, '/tasks?target=echo-0003&state=open')
  await page.getByRole('link', { name: waiting }).click()
  const why = page.getByRole('region', { name: 'Why' })
  await why.getByRole('link', { name: `go to ${holder}` }).click()
  await page.getByRole('heading', { name: holder }).waitFor()
  // The page of the target says the same.
  const target = await open(browser, '/targets/echo-0003')
  await target.getByText('holds the lane').waitFor()
  // And out of the way with it.
  await page.getByRole('button', { name: 'Cancel task' }).click()
  await page.getByRole('dialog').getByText(holder).first().waitFor()
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel task' }).click()
  await until('both have ended', async () => {
    const tasks = await Promise.all([holder, waiting].map((id) => api('GET', `/v1/tasks/${id}?wait=1s`)))
    return tasks.every((task) => task.state === 'ended')
  })
  await target.getByText('Nothing is in hand and nothing waits.').waitFor()
})

job('why a task waits is said in Japanese, with the names in it as they are', { look: { language: 'ja' } }, async (browser) => {
  const holder = await startTask('echo-0004', 'once', { sleep_ms: 50_000 })
  const waiting = await startTask('echo-0004', 'noop')
  const page = await open(browser, `/tasks/${waiting}`)
  await page.getByText(`ターゲット echo-0004 は ${holder} が占有しています。`).waitFor()
  for (const id of [waiting, holder]) await api('POST', `/v1/tasks/${id}/cancel`)
  await page.getByText('取り消されました').waitFor()
  await until('the holder has ended', async () => (await api('GET', `/v1/tasks/${holder}?wait=1s`)).state === 'ended')
})

job('the overview leads to the targets that are in maintenance', {}, async (browser) => {
  const path = '/v1/records/Target/echo-0005'
  const record = await api('GET', path)
  const put = await api('PUT', path, { ...record, spec: { ...record.spec, maintenance: 'new fans' } })
  const page = await open(browser, '/')
  await page.getByRole('link', { name: /^1\D*maintenance/ }).click()
  await page.getByRole('grid').getByText('echo-0005', { exact: true }).waitFor()
  await page.getByText('1 row', { exact: true }).waitFor()
  await api('PUT', path, { ...record, metadata: put.metadata })
})
