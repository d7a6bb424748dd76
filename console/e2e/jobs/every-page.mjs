// What holds for all pages: nobody is shut out, and nothing is wider than a phone.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { job } from '../job.mjs'
import { everyPage } from '../pages.mjs'
import { at, fits, onPages, until } from '../rig.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const DESK = { width: 1280, height: 800 }
const PHONE = { width: 390, height: 844 }
/** Without a command: nothing is shown yet, or nothing is there. */
const UNHINTED = ['login', 'not-there', 'run-new']
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']

job('no page and no dialog breaks a rule of WCAG 2.2 A or AA in either theme, is wider than a phone, or keeps its command to itself', { look: DESK }, async (browser) => {
  browser.meant.push(/status of 404/)
  await browser.addInitScript({ content: AXE })
  const broken = []
  const look = async (page, name) => {
    await page.emulateMedia({ colorScheme: 'dark' })
    broken.push(...(await violations(page, `${name}, dark`, { runOnly: { type: 'tag', values: RULES } })))
    // Only colours are others in the other theme.
    await page.emulateMedia({ colorScheme: 'light' })
    broken.push(...(await violations(page, `${name}, light`, { runOnly: ['color-contrast'] })))
  }
  await onPages(browser, [['login', '/login'], ...(await everyPage())], async (page, [name, path]) => {
    await page.goto(at(path))
    await settled(page)
    await look(page, name)
    await page.setViewportSize(PHONE)
    await fits(page, name)
    broken.push(...(await hinted(page, name)))
    await page.setViewportSize(DESK)
  })
  await onPages(browser, DIALOGS, async (page, [path, ...buttons]) => {
    await page.goto(at(path))
    await settled(page)
    for (const button of buttons) await page.getByRole('button', { name: button, disabled: false }).last().click()
    await page.getByRole('dialog').getByRole('button').last().waitFor()
    await look(page, `${path} ${buttons.at(-1)}`)
  })
  assert.deepEqual(broken, [])
})

/** What asks before it acts: a page, and the buttons that lead there. */
const DIALOGS = [
  ['/targets/redfish-1', /^power\.cycle probe/, 'Look over and start'],
  ['/targets/redfish-1', 'Begin maintenance'],
  ['/runs/new?selector=kind%3Decho&action=noop', 'Preview'],
  ['/workers/redfish', 'Promote'],
  ['/workers/wees/local', 'Drain'],
  ['/', 'Keys'],
]

async function violations(page, where, rules) {
  const found = await page.evaluate((options) => window.axe.run(document, options), { ...rules, resultTypes: ['violations'] })
  return found.violations.map(({ id, help, nodes }) => {
    const places = nodes.slice(0, 3).map((node) => `${node.target.join(' ')} ${node.failureSummary}`)
    return `${where}: ${id}: ${help}: ${places.join(' | ')}`
  })
}

job('no page is wider than a phone, in Japanese as in English', { look: { ...PHONE, language: 'ja', theme: 'light' } }, async (browser) => {
  browser.meant.push(/status of 404/)
  await onPages(browser, await everyPage(), async (page, [name, path]) => {
    await page.goto(at(path))
    await settled(page)
    await fits(page, name)
    assert.equal(await page.locator('html').getAttribute('lang'), 'ja')
  })
})

/** Each page says how the same is done without it. */
async function hinted(page, name) {
  if (UNHINTED.includes(name)) return []
  await page.locator('details.hint summary').first().click()
  const lines = page.locator('details.hint[open] .hint-line code')
  await lines.nth(1).waitFor()
  const [command, call] = await lines.allInnerTexts()
  return /^sengu /.test(command) && /^curl /.test(call) ? [] : [`${name}: ${command} / ${call}`]
}

async function settled(page) {
  await page.locator('h1, [role="alert"]').first().waitFor()
  await until('it has loaded', async () => (await page.locator('[aria-busy="true"]').count()) === 0)
  await page.waitForTimeout(150)
}
