// To do the same to many, with an eye on it.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, at, open } from '../rig.mjs'

const ECHOES = 'kind=echo,row in (r0,r1,r2,r3)'

job('a run is started from a selector, watched by its grid, paused, and goes on to its end', {}, async (browser) => {
  const page = await open(browser, `/targets?view=table&selector=${encodeURIComponent(ECHOES)}`)
  await page.getByRole('link', { name: 'Run on these…' }).click()
  await page.getByRole('combobox', { name: 'action' }).selectOption({ label: 'echo.once' })
  await page.getByLabel('sleep_ms').fill('400')
  await page.getByRole('textbox', { name: 'batch (20 or 10%)' }).fill('10')
  await page.getByRole('textbox', { name: 'may fail (5 or 2%)' }).fill('5')
  await page.getByRole('button', { name: 'Preview' }).click()
  const dialog = page.getByRole('dialog', { name: 'once on 40 targets' })
  for (const words of [ECHOES, 'stops after more than 5 failures', '4: 10, 10, 10, 10']) await dialog.getByText(words).first().waitFor()
  // It changes many: their number has to be typed.
  const start = dialog.getByRole('button', { name: 'Start on 40 targets' })
  assert.equal(await start.isDisabled(), true)
  await dialog.getByLabel('Type 40 to go on').fill('40')
  // However slow this page is, the run is not over before it is paused.
  await whileNothingBegins(async () => {
    await start.click()
    await page.waitForURL(/\/runs\/r-/)
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click()
    await page.locator('.page-head').getByText('paused').waitFor()
  })
  const name = page.url().split('/').pop()
  const grid = page.getByRole('region', { name: 'Each target' }).or(page.locator('section.part', { hasText: 'Each target' }))
  await grid.first().waitFor()
  await page.getByRole('button', { name: 'Resume' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click()
  await page.locator('.page-head').getByText('succeeded').waitFor()
  await page.getByText('40 / 40').waitFor()
  await page.getByText('4 of 4').waitFor()
  const { status } = await api('GET', `/v1/runs/${name}`)
  assert.equal(status.counts.done, 40)
  // The list has it too.
  await page.goto(at('/runs'))
  await page.getByText(name).first().waitFor()
})

/** Does `work` while no execution environment takes a task. */
async function whileNothingBegins(work) {
  const wees = (await api('GET', '/v1/records/Wee')).items
  const all = (turn) => Promise.all(wees.map(({ metadata }) => api('POST', `/v1/wees/${metadata.name}/${turn}`)))
  try {
    await all('cordon')
    await work()
  } finally {
    await all('uncordon')
  }
}
