// Names, labels, answers and log lines are chosen by others. They are shown, and nothing else ever comes of them.
import assert from 'node:assert/strict'
import { job } from '../job.mjs'
import { api, apply, at, fits, onPages, open, openRow, run, startTaskAs } from '../rig.mjs'

const SCRIPT = '<script>hit=1;alert(1)</script><img src=x onerror="hit=1;alert(2)"><a href="javascript:alert(3)">x</a>'
const RTL = 'abc\u202Egnp.exe\u2066\u200F\u061C'
const ANSI = '\u001b[31mred\u001b[0m\u001b]8;;http://evil.example/\u0007link\u001b]8;;\u0007\u0000\u0008\r'
const LONG = 'x'.repeat(4096)
const ZALGO = `e${'\u0301\u0323'.repeat(120)}`
const LINES = [SCRIPT, RTL, ANSI, LONG, ZALGO, '\u{1F469}\u200D\u{1F469}\u200D\u{1F466} \uFFFE \uD7FF', '{{7*7}} ${7*7} %s %n'].join('\n')
const NAME = 'hostile-1'
/** Nobody proves who he is. */
const WHO = `<img src=x onerror="hit=1;alert(4)">${RTL}`

/** Characters that would act on a terminal or on the direction of what stands beside them. */
// eslint-disable-next-line no-control-regex
const ACTING = /[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/

job('hostile names, labels, answers and log lines are shown and do nothing', { name: WHO }, async (browser) => {
  await apply({
    apiVersion: 'sengu/v1',
    kind: 'Target',
    metadata: {
      name: NAME,
      labels: { site: SCRIPT, row: RTL, rack: 'x'.repeat(256), unit: '\u202e9', owner: ZALGO.slice(0, 60) },
      annotations: { script: SCRIPT, long: LONG, ansi: ANSI, rtl: RTL },
    },
    spec: { kind: 'echo', address: `${SCRIPT}${RTL}` },
  })
  // By this session, so that the audit has its name.
  await startTaskAs(await open(browser, '/'), NAME, 'noop')
  const name = await run({ action: 'say', params: { text: LINES }, selector: `name=${NAME}` })
  const [task] = (await api('GET', `/v1/tasks?run=${name}&limit=1`)).items
  assert.equal(task.ending?.outcome.status, 'done', JSON.stringify(task))
  const pages = [
    `/`,
    `/targets?selector=name%3D${NAME}`,
    `/targets?selector=name%3D${NAME}&colour=site`,
    `/targets?selector=name%3D${NAME}&view=table`,
    `/targets?selector=${encodeURIComponent(SCRIPT)}`,
    `/targets/${NAME}`,
    `/targets/${encodeURIComponent(SCRIPT)}`,
    `/runs/${name}`,
    `/runs/new?selector=${encodeURIComponent(SCRIPT)}`,
    `/tasks?run=${name}`,
    `/tasks?action=${encodeURIComponent(SCRIPT)}`,
    `/tasks/${task.id}`,
    `/tasks/${encodeURIComponent(SCRIPT)}`,
    `/events?name=${NAME}`,
    `/events/audit?name=${NAME}`,
    `/events/audit?who=${encodeURIComponent(WHO)}`,
    `/events/audit?kind=${encodeURIComponent(SCRIPT)}&name=${encodeURIComponent(SCRIPT)}&what=${encodeURIComponent(RTL)}`,
    `/workers/${encodeURIComponent(SCRIPT)}`,
  ]
  // A question that cannot be answered is answered so; the page says it.
  browser.meant.push(/status of 4(00|04|22)/)
  await onPages(browser, pages, async (page, path) => {
    await page.setViewportSize({ width: 1280, height: 800 })
    await visit(page, path)
    await harmless(page, path)
    await page.setViewportSize({ width: 390, height: 800 })
    await harmless(page, `${path}, narrow`)
  })
  // So is who did it, and what was written where.
  for (const [query, text] of [
    [`who=${encodeURIComponent(WHO)}`, 'onerror="hit=1;alert(4)"'],
    [`kind=Target&what=created&name=${NAME}`, 'gnp.exe'],
  ]) {
    const audit = await open(browser, `/events/audit?${query}`)
    await openRow(audit.getByRole('row', { name: /created/ }).first())
    await audit.getByRole('dialog').getByText(text).first().waitFor()
    await harmless(audit, `the audit, ${query}, opened`)
  }
  // All of it is there to be read.
  const said = await open(browser, `/tasks/${task.id}`)
  await said.getByText(SCRIPT).first().waitFor()
  const more = said.getByRole('button', { name: /\d more$/ })
  while ((await more.count()) > 0) await more.first().click()
  await harmless(said, 'the task with everything unfolded')
  const shown = await said.locator('body').innerText()
  for (const text of ['gnp.exe', 'red', '{{7*7}} ${7*7} %s %n', LONG]) assert.ok(shown.includes(text), text.slice(0, 40))
  await api('DELETE', `/v1/records/Target/${NAME}`)
})

async function visit(page, path) {
  await page.goto(at(path))
  await page.locator('h1, [role="alert"]').first().waitFor()
  await page.locator('[aria-busy="true"]').first().waitFor({ state: 'detached' })
}

async function harmless(page, where) {
  const seen = await page.evaluate(() => ({
    hit: 'hit' in window,
    scripts: [...document.querySelectorAll('script')].filter((each) => !each.src.startsWith(`${location.origin}/console/assets/`)).length,
    links: [...document.querySelectorAll('a')].filter((each) => !['http:', 'https:'].includes(each.protocol)).length,
    images: document.images.length,
    text: document.body.innerText,
    title: document.title,
  }))
  assert.equal(seen.hit, false, where)
  assert.deepEqual([seen.scripts, seen.links, seen.images], [0, 0, 0], where)
  const acting = ACTING.exec(seen.text.replaceAll('\t', ' ')) ?? ACTING.exec(seen.title)
  assert.equal(acting, null, `${where}: U+${acting?.[0].codePointAt(0).toString(16)} as it came, in …${seen.text.slice(Math.max(0, (acting?.index ?? 0) - 40), (acting?.index ?? 0) + 10)}`)
  await fits(page, where)
}
