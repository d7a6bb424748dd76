// What every file here stands on: the sengu that runs, a browser, and a guard that sees whatever a page must never do.
// `SENGU_DATA` is the data directory of a running `sengu up`, `SENGU_PROGRAM` the program (by default the one on PATH).
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'

const DATA = process.env.SENGU_DATA ?? join(homedir(), '.local/state/sengu')
const PROGRAM = process.env.SENGU_PROGRAM ?? 'sengu'
const CHROMIUM = process.env.SENGU_CHROMIUM ?? '/usr/bin/chromium'
/** A build of the console to look at in the place of the one in the program: `npm run build`, and no Rust. */
const DIST = process.env.SENGU_CONSOLE_DIST
/** Where pictures of what went wrong are put. */
const FAILED = process.env.SENGU_E2E_OUT

const kept = (name) => readFileSync(join(DATA, name), 'utf8').trim()
export const origin = kept('endpoint')
/** As whom the audit knows what is asked here without a browser. */
export const CALLER = 'kim@e2e'
export const tokenOf = (role) => kept(role === 'viewer' ? 'token-viewer' : 'token')

/** Runs the command line to its end and gives what it printed. */
export async function cli(...words) {
  const { stdout } = await promisify(execFile)(PROGRAM, words, { env: { ...process.env, SENGU_DATA: DATA } })
  return stdout
}

/** Asks the API as an operator. */
export async function api(method, path, body, type = 'application/json') {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const headers = { authorization: `Bearer ${tokenOf('operator')}`, 'sengu-name': CALLER, ...(text === undefined ? {} : { 'content-type': type }) }
  const reply = await fetch(origin + path, { method, headers, body: text })
  const answer = await reply.text()
  assert.ok(reply.ok, `${method} ${path}: ${reply.status} ${answer}`)
  return answer === '' ? undefined : JSON.parse(answer)
}

/** Describes records: JSON is YAML. */
export const apply = (...records) => api('POST', '/v1/apply', records.map((record) => JSON.stringify(record)).join('\n---\n'), 'application/yaml')

export async function startTask(target, action, params = {}) {
  const made = await api('POST', '/v1/tasks', { targets: [target], action, params })
  return made.tasks[0].id
}

/** Starts a run and waits until it is over, or goes on at once with `wait: false`. */
export async function run(spec, { wait = true } = {}) {
  const { metadata } = await api('POST', '/v1/runs', spec)
  if (wait) {
    await until(`run ${metadata.name} is over`, async () => {
      const { status } = await api('GET', `/v1/runs/${metadata.name}?wait=2s`)
      return ['Succeeded', 'Failed', 'Cancelled'].includes(status?.phase)
    })
  }
  return metadata.name
}

/** Waits until `look` gives something that is not empty. */
export async function until(what, look, seconds = 30) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (found) return found
    assert.ok(Date.now() < end, `not within ${seconds} s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

let started
export function browser() {
  // Chromium refuses its sandbox to root, as which containers run.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  started ??= chromium.launch({ executablePath: CHROMIUM, args })
  return started
}

export async function close() {
  await (await started)?.close()
}

/** A browser of its own: nobody is logged in. What a page must never do is in `wrong`. */
export async function profile({ width = 1280, height = 800, theme = 'dark', language = 'en' } = {}) {
  const context = await (await browser()).newContext({
    viewport: { width, height },
    colorScheme: theme,
    locale: language === 'ja' ? 'ja-JP' : 'en-US',
    reducedMotion: 'reduce',
  })
  context.setDefaultTimeout(15_000)
  if (DIST !== undefined) await context.route(`${origin}/console/**`, fromDist)
  const wrong = []
  /** Console errors of the browser that are meant to be: a request that is refused. */
  const meant = []
  context.on('request', (request) => {
    const url = request.url()
    if (!url.startsWith(`${origin}/`) && !url.startsWith('data:')) wrong.push(`request to ${url}`)
    if (url.includes(tokenOf('operator')) || url.includes(tokenOf('viewer'))) wrong.push(`token in ${url}`)
  })
  context.on('console', (message) => {
    if (message.type() !== 'error') return
    const text = `${message.text()} (${message.location().url})`
    if (!meant.some((pattern) => pattern.test(text))) wrong.push(`console: ${text}`)
  })
  context.on('weberror', (error) => wrong.push(`script: ${error.error().stack ?? error.error().message}`))
  context.on('page', (page) => {
    page.on('dialog', (dialog) => {
      wrong.push(`dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
  })
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))
  })
  return Object.assign(context, { wrong, meant })
}

const OF_THE_FILE = new Set(['content-type', 'content-encoding', 'content-length'])

/** A file of that build, with the headers that the program gives. */
async function fromDist(route) {
  const path = new URL(route.request().url()).pathname.slice('/console/'.length)
  const served = await route.fetch({ url: `${origin}/console/` })
  const headers = Object.fromEntries(Object.entries(served.headers()).filter(([name]) => !OF_THE_FILE.has(name)))
  await route.fulfill({ headers, path: join(DIST, /\.\w+$/.test(path) ? path : 'index.html') })
}

/** A profile in which somebody has logged in by the token in the data directory, under a name or without one. */
export async function loggedIn(role, look = {}, name = undefined) {
  const context = await profile(look)
  const reply = await context.request.post(`${origin}/v1/session`, { data: { token: tokenOf(role), name } })
  assert.equal(reply.status(), 200)
  return context
}

export const at = (path) => `${origin}/console${path}`

/** Opens a page of the console and waits until it stands. */
export async function open(context, path) {
  const page = await context.newPage()
  await page.goto(at(path))
  await stands(page)
  return page
}

/** Starts a task as a page does: as whoever has logged in there. */
export function startTaskAs(page, target, action, params = {}) {
  return page.evaluate(async (body) => {
    const reply = await fetch('/v1/tasks', { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    const made = await reply.json()
    if (!reply.ok) throw new Error(JSON.stringify(made))
    return made.tasks[0].id
  }, JSON.stringify({ targets: [target], action, params }))
}

/** A click on a row beside the links in it. */
export async function openRow(row) {
  await row.click({ position: { x: 4, y: 4 } })
}

/** Does `work` with each of `all`, on two pages side by side: much of it is waiting. */
export async function onPages(context, all, work) {
  const left = [...all]
  const lane = async () => {
    const page = await context.newPage()
    for (let each = left.shift(); each !== undefined; each = left.shift()) await work(page, each)
  }
  await Promise.all([lane(), lane()])
}

/** There is a heading, and nothing is being loaded. */
export async function stands(page) {
  await page.locator('h1').first().waitFor()
  await page.locator('[aria-busy="true"]').first().waitFor({ state: 'detached' })
}

/** Waits until nothing is wider than the window: widths that a script decides follow the window some frames later. */
export async function fits(page, where) {
  const over = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  await until(`${where}: nothing is wider than the window (at first by ${await over()} px)`, async () => (await over()) <= 0)
}

/** Keeps a picture of every page that is open, for whoever asks why a test failed. */
export async function picture(context, name) {
  if (FAILED === undefined) return
  mkdirSync(FAILED, { recursive: true })
  for (const [number, page] of context.pages().entries()) {
    await page.screenshot({ path: join(FAILED, `${name.replace(/\W+/g, '-')}-${number}.png`) }).catch(() => undefined)
  }
}
