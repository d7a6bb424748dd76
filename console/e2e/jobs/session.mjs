// Who may come in, how, and what it leaves in the browser.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, at, cli, open, openRow, origin, stands, startTaskAs, tokenOf } from '../rig.mjs'

/** What the browser itself says of a request that is refused. */
const REFUSED = /status of 401/

job('the link of `sengu console` logs in, once, and stays nowhere', { role: null }, async (browser) => {
  browser.meant.push(REFUSED)
  const name = unheard('link')
  const link = (await cli('console', '--name', name)).match(/http\S+/)?.[0]
  assert.ok(link?.startsWith(`${origin}/console/login#code=`), 'a link with the code in its fragment')
  const page = await browser.newPage()
  await page.goto(link)
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  assert.match(page.url(), /\/console\/?$/)
  const code = link.split('=')[1]
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie)
  assert.ok(!kept.includes(code) && !kept.includes(tokenOf('operator')), kept)
  const [cookie] = await browser.cookies()
  assert.equal(cookie.httpOnly, true)
  assert.equal(cookie.sameSite, 'Strict')

  // It is of whoever made it.
  await knownBy(browser, page, name)

  const again = await browser.newPage()
  await again.goto(link)
  await again.getByText('The link has been used or is over').waitFor()
})

job('the name given at the login is shown, and what is done from then on is known by it', { role: null }, async (browser) => {
  browser.meant.push(REFUSED)
  const name = unheard('kay')
  const page = await browser.newPage()
  await page.goto(at('/tasks'))
  await page.getByLabel('Token').fill(tokenOf('operator'))
  await page.getByLabel('Your name (for the audit)').fill(name)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('heading', { name: 'Tasks', level: 1 }).waitFor()
  await knownBy(browser, page, name)
})

/** A name of which the audit has nothing yet. */
function unheard(who) {
  return `${who}-${Date.now().toString(36)}@e2e`
}

/** The name stands beside the role, and the audit has it beside what this session does. */
async function knownBy(browser, page, name) {
  await page.locator('.role').getByText(name, { exact: true }).waitFor()
  const task = await startTaskAs(page, 'echo-0005', 'noop')
  const audit = await open(browser, `/events/audit?who=${encodeURIComponent(name)}`)
  const row = audit.getByRole('grid', { name: 'Audit' }).getByRole('row', { name: new RegExp(task) })
  for (const word of [name, 'created']) await row.getByText(word, { exact: true }).waitFor()
  await openRow(row)
  for (const word of [name, 'cookie: this console', 'echo-0005']) await audit.getByRole('dialog').getByText(word, { exact: true }).first().waitFor()
  await audit.close()
}

job('a wrong token is refused in words, and the page that was wanted comes after the right one', { role: null }, async (browser) => {
  browser.meant.push(REFUSED)
  const page = await browser.newPage()
  await page.goto(at('/targets?view=table&selector=kind%3Decho'))
  await page.getByLabel('Token').fill('not-the-token')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').waitFor()
  await page.getByLabel('Token').fill(tokenOf('operator'))
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('grid', { name: 'Targets' }).waitFor()
  assert.equal(page.url(), at('/targets?view=table&selector=kind%3Decho'))
})

job('the end of a session leads to the login', {}, async (browser) => {
  browser.meant.push(REFUSED)
  const page = await open(browser, '/tasks')
  // As when it has run out, or the token was changed: the browser finds out by the next question.
  await browser.clearCookies()
  await page.getByLabel('Token').waitFor()
  assert.equal(page.url(), at('/login'))
})

job('whoever logs out is out', {}, async (browser) => {
  browser.meant.push(REFUSED)
  const page = await open(browser, '/')
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByLabel('Token').waitFor()
  const session = await browser.request.get(`${origin}/v1/session`)
  assert.equal(session.status(), 401)
})

job('a viewer sees everything and changes nothing', { role: 'viewer' }, async (browser) => {
  const [worker] = (await api('GET', '/v1/workers')).filter((each) => each.kind === 'redfish' && each.gets.length === 0)
  const [target] = (await api('GET', '/v1/records/Target?limit=1&selector=kind=redfish')).items
  const name = target.metadata.name
  for (const [path, act] of [
    [`/targets/${name}`, undefined],
    [`/workers/redfish`, 'Promote'],
    ['/runs/new?selector=kind%3Decho', 'Preview'],
  ]) {
    const page = await open(browser, path)
    if (act === undefined) await page.getByRole('button', { name: /^led\.set/ }).click()
    const button = page.getByRole('button', { name: act ?? 'Look over and start' }).last()
    await button.waitFor()
    assert.equal(await button.getAttribute('aria-disabled'), 'true')
    await button.click({ force: true })
    assert.equal(await page.getByRole('dialog').count(), 0)
    await page.getByText('A viewer may look and change nothing').first().waitFor()
  }
  // And the server thinks so too, whatever a page shows.
  const before = await api('GET', '/v1/records/Release/redfish')
  const page = await open(browser, '/')
  browser.meant.push(/status of 403/)
  const refused = await page.evaluate(async (version) => {
    const body = JSON.stringify({ version, share: '100%' })
    const reply = await fetch('/v1/releases/redfish/promote', { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    return [reply.status, (await reply.json()).code]
  }, worker.version)
  assert.deepEqual(refused, [403, 'forbidden'])
  assert.deepEqual((await api('GET', '/v1/records/Release/redfish')).spec, before.spec)
  await stands(page)
})
