// What the console costs, measured against a sengu of its own: `SENGU_PROGRAM=target/release/sengu node e2e/figures.mjs
// [load] [paint] [frames] [cost] [memory]`. Without a part, all. `--targets N`, `--minutes N`.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { targets: { type: 'string', default: '100000' }, minutes: { type: 'string', default: '5' } },
})
const TARGETS = Number(values.targets)
const MINUTES = Number(values.minutes)
const PARTS = ['load', 'paint', 'frames', 'cost', 'memory'].filter((part) => positionals.length === 0 || positionals.includes(part))
/** Targets of one site: what the rack view is asked to draw. */
const SITE = 10_000
const RATE = 2_000
/** Tasks that one request creates. */
const REQUEST = 500
const TABS = 20

const place = mkdtempSync(join(tmpdir(), 'sengu-figures-'))
process.env.SENGU_DATA = join(place, 'data')
const program = process.env.SENGU_PROGRAM ?? 'sengu'
const log = openSync(join(place, 'up.log'), 'a')
const server = spawn(program, ['up', '--listen', '127.0.0.1:0', '--data', process.env.SENGU_DATA], { stdio: ['ignore', 'ignore', log] })
async function measure() {
  const endpoint = join(process.env.SENGU_DATA, 'endpoint')
  while (!existsSync(endpoint)) await pause(100)
  const rig = await import('./rig.mjs')
  await rig.until('sengu is ready', async () => (await fetch(`${rig.origin}/readyz`)).ok)
  const begun = Date.now()
  for (let from = 0; from < TARGETS; from += SITE) await rig.api('POST', '/v1/apply', fleet(from, Math.min(TARGETS, from + SITE)), 'application/yaml')
  tell('fleet', `${count(TARGETS)} targets described in ${seconds(Date.now() - begun)}`)
  if (PARTS.includes('load')) await load(rig)
  if (PARTS.includes('paint')) await paint(rig)
  if (PARTS.includes('frames')) await frames(rig)
  if (PARTS.includes('cost')) await cost(rig)
  if (PARTS.includes('memory')) await memory(rig)
  await rig.close()
}

function fleet(from, to) {
  const one = (n) => {
    const rack = Math.floor(n / 40)
    const labels = `site: s${Math.floor(n / SITE)}, row: w${Math.floor(rack / 10) % 25}, rack: r${rack % 250}, unit: "${(n % 40) + 1}"`
    return `apiVersion: sengu/v1\nkind: Target\nmetadata: {name: ${name(n)}, labels: {${labels}}}\nspec: {kind: echo, address: x}`
  }
  return Array.from({ length: to - from }, (_, each) => one(from + each)).join('\n---\n')
}

const name = (n) => `t${String(n).padStart(6, '0')}`

/** Bytes over the wire until the overview stands, with nothing in the cache. */
async function load(rig) {
  const context = await rig.loggedIn('operator')
  const page = await context.newPage()
  const devtools = await context.newCDPSession(page)
  await devtools.send('Network.enable')
  const urls = new Map()
  const bytes = { console: 0, api: 0 }
  let requests = 0
  devtools.on('Network.requestWillBeSent', ({ requestId, request }) => urls.set(requestId, request.url))
  devtools.on('Network.dataReceived', ({ requestId, encodedDataLength }) => add(requestId, encodedDataLength))
  devtools.on('Network.responseReceived', ({ requestId, response }) => {
    requests += 1
    add(requestId, response.encodedDataLength)
  })
  const add = (id, more) => {
    bytes[urls.get(id)?.includes('/v1/') ? 'api' : 'console'] += more
  }
  await page.goto(rig.at('/'))
  await rig.stands(page)
  await page.waitForTimeout(1_000)
  tell('load', `${kib(bytes.console)} of the console and ${kib(bytes.api)} of the API in ${requests} requests (wanted: at most 300 KB)`)
  await context.close()
}

/** From the navigation to the first paint, and to the count of all targets on the screen; each time with an empty cache. */
async function paint(rig) {
  const [first, whole] = [[], []]
  for (let round = 0; round < 7; round++) {
    const context = await rig.loggedIn('operator')
    const page = await context.newPage()
    await page.goto(rig.at('/'), { waitUntil: 'commit' })
    const stood = await page.waitForFunction((text) => document.body?.innerText.includes(text) && performance.now(), count(TARGETS), { polling: 'raf' })
    whole.push(await stood.jsonValue())
    first.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0))
    await context.close()
  }
  tell('paint', `first paint ${ms(median(first))}, overview of ${count(TARGETS)} targets ${ms(median(whole))} (slowest of 7: ${ms(Math.max(...whole))}; wanted: at most 1 s)`)
}

/** Frames per second of the rack view of one site while its tasks come and go. */
async function frames(rig) {
  const context = await rig.loggedIn('operator', { width: 1600, height: 1000 })
  const page = await context.newPage()
  await page.goto(rig.at('/targets?selector=site%3Ds0&size=small'))
  await page.getByRole('application').locator('canvas').waitFor()
  await page.waitForTimeout(1_000)
  const still = await page.evaluate(paintedFor, 5_000)
  const stop = await tasksPerSecond(rig, RATE)
  await page.waitForTimeout(2_000)
  const busy = await page.evaluate(paintedFor, 20_000)
  // And while somebody moves about in it.
  const moving = page.evaluate(paintedFor, 10_000)
  const box = await page.getByRole('application').locator('canvas').boundingBox()
  for (let turn = 0; turn < 40; turn++) {
    await page.mouse.move(box.x + 20 + turn * 9, box.y + 30 + ((turn * 37) % 400))
    await page.mouse.wheel(0, turn % 2 === 0 ? 300 : -280)
    await page.waitForTimeout(200)
  }
  const moved = await moving
  const rate = await stop()
  const said = ({ perSecond, longest }) => `${perSecond.toFixed(0)}/s, longest gap ${ms(longest)}`
  tell('frames', `${count(SITE)} tiles: still ${said(still)}; at ${rate.toFixed(0)} tasks/s ${said(busy)}; scrolled meanwhile ${said(moved)} (wanted: at least 30/s)`)
  await context.close()
}

function paintedFor(duration) {
  return new Promise((resolve) => {
    const begun = performance.now()
    let [last, seen, longest] = [begun, 0, 0]
    const next = (now) => {
      seen += 1
      longest = Math.max(longest, now - last)
      last = now
      if (now - begun < duration) requestAnimationFrame(next)
      else resolve({ perSecond: (seen * 1000) / (now - begun), longest })
    }
    requestAnimationFrame(next)
  })
}

/** What the server loses to those who look: as many tasks as it can do, alone and with as many overviews open. */
async function cost(rig) {
  const rounds = { alone: [], watched: [] }
  await burst(rig, 5_000)
  for (let round = 0; round < 5; round++) {
    rounds.alone.push(await burst(rig, 20_000))
    const away = new AbortController()
    const tabs = Array.from({ length: TABS }, () => watch(rig, away.signal))
    rounds.watched.push(await burst(rig, 20_000))
    away.abort()
    await Promise.all(tabs)
  }
  const rate = (all) => median(all.map((each) => each.rate))
  const cpu = (all) => median(all.map((each) => each.cpu))
  const lost = (1 - rate(rounds.watched) / rate(rounds.alone)) * 100
  tell(
    'cost',
    `${rate(rounds.alone).toFixed(0)} tasks/s alone, ${rate(rounds.watched).toFixed(0)} with ${TABS} overviews (${lost.toFixed(1)} % less; wanted: at most 5 %); ` +
      `CPU per task ${cpu(rounds.alone).toFixed(0)} and ${cpu(rounds.watched).toFixed(0)} µs`,
  )
  await share(rig)
}

/** At a rate that leaves it time to rest: how much of one core the server uses. */
async function share(rig) {
  const all = { alone: [], watched: [] }
  for (let round = 0; round < 3; round++) {
    for (const how of ['alone', 'watched']) {
      const away = new AbortController()
      const tabs = how === 'alone' ? [] : Array.from({ length: TABS }, () => watch(rig, away.signal))
      const stop = await tasksPerSecond(rig, RATE)
      await pause(2_000)
      const [cpu, begun] = [cpuMicros(), Date.now()]
      await pause(8_000)
      all[how].push((cpuMicros() - cpu) / (Date.now() - begun) / 10)
      await stop()
      away.abort()
      await Promise.all(tabs)
    }
  }
  const of = (numbers) => `${median(numbers).toFixed(1)} %`
  tell('cost', `at ${count(RATE)} tasks/s the server uses ${of(all.alone)} of a core alone, ${of(all.watched)} with ${TABS} overviews`)
}

/** An overview that is open: what a tab reads, without the tab. */
async function watch(rig, signal) {
  const headers = { authorization: `Bearer ${rig.tokenOf('viewer')}` }
  try {
    const reply = await fetch(`${rig.origin}/v1/overview/watch`, { headers, signal })
    await reply.body.pipeTo(new WritableStream())
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

async function burst(rig, tasks) {
  const ended = async () => (await rig.api('GET', '/v1/top')).tasks.ended
  const [before, cpu, begun] = [await ended(), cpuMicros(), Date.now()]
  let made = 0
  const maker = async () => {
    while (made < tasks) {
      const from = made
      made += REQUEST
      await create(rig, from)
    }
  }
  await Promise.all([maker(), maker(), maker(), maker()])
  await rig.until('all have ended', async () => (await ended()) - before >= tasks, 300)
  return { rate: (tasks * 1000) / (Date.now() - begun), cpu: (cpuMicros() - cpu) / tasks }
}

const create = (rig, from) =>
  rig.api('POST', '/v1/tasks', { action: 'noop', targets: Array.from({ length: REQUEST }, (_, each) => name((from + each) % Math.min(SITE, TARGETS))) })

/** Creates so many tasks each second until it is told to stop; then it says how many a second have ended. */
async function tasksPerSecond(rig, rate) {
  const before = (await rig.api('GET', '/v1/top')).tasks.ended
  const begun = Date.now()
  let [made, over] = [0, false]
  const done = (async () => {
    while (!over) {
      const due = ((Date.now() - begun) * rate) / 1000
      if (made < due) {
        await create(rig, made)
        made += REQUEST
      } else await pause(20)
    }
  })()
  return async () => {
    over = true
    await done
    const after = (await rig.api('GET', '/v1/top')).tasks.ended
    return ((after - before) * 1000) / (Date.now() - begun)
  }
}

/** The heap of tabs that stay open, after garbage, while tasks go on. */
async function memory(rig) {
  const context = await rig.loggedIn('operator')
  const tabs = []
  for (const [what, path] of [
    ['overview', '/'],
    ['racks', '/targets?selector=site%3Ds0'],
    ['events', '/events?what=tasks'],
  ]) {
    const page = await context.newPage()
    await page.goto(rig.at(path))
    const devtools = await context.newCDPSession(page)
    await devtools.send('Performance.enable')
    // In the background a tab gives its streams back: each of these is to be as one that is looked at.
    await devtools.send('Emulation.setFocusEmulationEnabled', { enabled: true })
    tabs.push({ what, devtools, heaps: [] })
  }
  const stop = await tasksPerSecond(rig, RATE)
  for (let at = 0; at <= MINUTES * 2; at++) {
    await pause(30_000)
    for (const { devtools, heaps } of tabs) {
      await devtools.send('HeapProfiler.collectGarbage')
      const { metrics } = await devtools.send('Performance.getMetrics')
      heaps.push(metrics.find((metric) => metric.name === 'JSHeapUsedSize').value)
    }
  }
  const rate = await stop()
  for (const { what, heaps } of tabs) tell('memory', `${what} at ${rate.toFixed(0)} tasks/s, each 30 s: ${heaps.map((heap) => (heap / 2 ** 20).toFixed(1)).join(' ')} MiB`)
  await context.close()
}

/** User and system time of the server and of what it started. */
function cpuMicros() {
  const ticks = (pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
    return Number(fields[11]) + Number(fields[12])
  }
  const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ').filter(Boolean)
  return [server.pid, ...children].reduce((sum, pid) => sum + ticks(pid), 0) * 10_000
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]
const count = (n) => n.toLocaleString('en')
const ms = (n) => `${n.toFixed(0)} ms`
const seconds = (n) => `${(n / 1000).toFixed(1)} s`
const kib = (n) => `${(n / 1024).toFixed(1)} KiB`
const tell = (what, text) => console.log(`${what.padEnd(7)} ${text}`)

try {
  await measure()
} finally {
  server.kill('SIGTERM')
  await new Promise((resolve) => server.once('exit', resolve))
  rmSync(place, { recursive: true, force: true })
}
