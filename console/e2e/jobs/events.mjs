// What happens now, what was changed before, and how the system itself stands.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, apply, CALLER, open, openRow, startTask } from '../rig.mjs'

job('what happens appears by itself, and the audit says later who did it, when and how', {}, async (browser) => {
  // What an earlier time left behind is no news.
  const name = `seen-${Date.now().toString(36)}`
  const page = await open(browser, `/events?name=${name}`)
  await page.getByText('live', { exact: true }).first().waitFor()
  const inRack = (rack) => ({
    apiVersion: 'sengu/v1',
    kind: 'Target',
    metadata: { name, labels: { site: 'hall-2', row: 'w1', rack, unit: '40' } },
    spec: { kind: 'echo', address: 'x' },
  })
  await apply(inRack('r01'))
  await page.getByText(name).first().waitFor()
  await openRow(page.getByRole('row', { name: new RegExp(name) }).first())
  await page.getByRole('dialog').getByText('hall-2').first().waitFor()
  await page.keyboard.press('Escape')

  const failed = await startTask(name, 'say', { text: 'over and out' })
  const tasks = await open(browser, `/events?what=tasks`)
  await tasks.getByText(name).or(tasks.getByText(failed)).first().waitFor()

  const audit = await open(browser, `/events/audit?kind=Target&name=${name}`)
  const acts = audit.getByRole('grid', { name: 'Audit' })
  await acts.getByRole('row', { name: /created/ }).waitFor()
  // What is done while it is looked at comes by itself.
  await apply(inRack('r02'))
  const moved = acts.getByRole('row', { name: /configured/ })
  await moved.getByText('labels.rack: r01 → r02').waitFor()
  await moved.getByText(CALLER).waitFor()
  const [entry] = (await api('GET', `/v1/audit?kind=Target&name=${name}&what=configured`)).items
  assert.deepEqual(entry.by, { role: 'operator', name: CALLER, via: 'token' })
  assert.equal(await moved.locator('time').getAttribute('datetime'), entry.at)
  assert.match(await moved.locator('time').getAttribute('title'), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/)
  await openRow(moved)
  const dialog = audit.getByRole('dialog')
  await dialog.getByRole('row', { name: /labels\.rack.*r01.*r02/ }).waitFor()
  await dialog.getByText(CALLER).waitFor()
  await audit.keyboard.press('Escape')
  await audit.getByRole('combobox', { name: 'what' }).selectOption('created')
  await moved.waitFor({ state: 'detached' })
  await acts.getByRole('row', { name: /created/ }).waitFor()
  assert.match(audit.url(), /what=created/)

  // The page of the target tells it too, and who asked for a task that changes something.
  const asked = await startTask(name, 'noop')
  const target = await open(browser, `/targets/${name}`)
  const told = target.getByRole('grid', { name: 'Audit' })
  await told.getByText('labels.rack: r01 → r02').waitFor()
  await told.getByRole('row', { name: new RegExp(asked) }).getByText(CALLER).waitFor()
  await api('DELETE', `/v1/records/Target/${name}`)
})

job('the system says what it runs on, what it may use and what it is made of', {}, async (browser) => {
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
