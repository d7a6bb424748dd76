// What holds for all pages: nobody is shut out, and nothing is wider than a phone.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { job } from '../job.mjs'
import { everyPage } from '../pages.mjs'
import { at, until } from '../rig.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']

for (const theme of ['dark', 'light']) {
  job(`no page breaks a rule of WCAG 2.2 A or AA, ${theme}`, { look: { theme } }, async (browser) => {
    browser.meant.push(/status of 404/)
    await browser.addInitScript({ content: AXE })
    const broken = []
    const page = await browser.newPage()
    for (const [name, path] of [['login', '/login'], ...(await everyPage())]) {
      await page.goto(at(path))
      await settled(page)
      const found = await page.evaluate((values) => window.axe.run(document, { runOnly: { type: 'tag', values } }), RULES)
      for (const { id, help, nodes } of found.violations) {
        broken.push(`${name}: ${id}: ${help}: ${nodes.map((node) => `${node.target.join(' ')} ${node.failureSummary}`).slice(0, 3).join(' | ')}`)
      }
    }
    assert.deepEqual(broken, [])
  })
}

job('no page is wider than a phone, and each says its command and its call', { look: { width: 390, height: 844, language: 'ja' } }, async (browser) => {
  browser.meant.push(/status of 404/)
  const page = await browser.newPage()
  const wide = []
  for (const [name, path] of await everyPage()) {
    await page.goto(at(path))
    await settled(page)
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    if (over > 0) wide.push(`${name}: ${over} px`)
    if (name === 'not-there' || name === 'run-new') continue
    await page.locator('details.hint summary').first().click()
    const [command, call] = await page.locator('details.hint[open] .hint-line code').allInnerTexts()
    if (!/^sengu /.test(command) || !/^curl /.test(call)) wide.push(`${name}: ${command} / ${call}`)
  }
  assert.deepEqual(wide, [])
})

async function settled(page) {
  await page.locator('h1, [role="alert"]').first().waitFor()
  await until('it has loaded', async () => (await page.locator('[aria-busy="true"]').count()) === 0)
  await page.waitForTimeout(150)
}
