// Pictures of every page for the docs: both languages and both themes, and each once as on a phone.
// `SENGU_DATA=.. SENGU_PROGRAM=.. node e2e/screenshots.mjs [folder]`
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { everyPage } from './pages.mjs'
import { at, close, loggedIn, stands } from './rig.mjs'
import { scene } from './scene.mjs'

const folder = process.argv[2] ?? fileURLToPath(new URL('../../docs/images/console', import.meta.url))
const LOOKS = [
  { language: 'en', theme: 'dark', width: 1280, height: 800 },
  { language: 'en', theme: 'light', width: 1280, height: 800 },
  { language: 'ja', theme: 'dark', width: 1280, height: 800 },
  { language: 'ja', theme: 'light', width: 1280, height: 800 },
]
/** A phone: each page once, the looks in turn. */
const NARROW = LOOKS.map((look) => ({ ...look, width: 390, height: 844 }))
const QUALITY = 30

const { halfway } = await scene()
const pages = (await everyPage()).map(([name, path]) => (name === 'run' ? [name, `/runs/${halfway}`] : [name, path]))
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
let bytes = 0
for (const look of LOOKS) await shoot(look, pages, `${look.language}-${look.theme}`)
for (const [turn, look] of NARROW.entries()) await shoot(look, pages.filter((_, each) => each % NARROW.length === turn), `narrow-${look.language}-${look.theme}`)
console.log(`${folder}: ${Math.round(bytes / 1024)} KiB`)
await close()

async function shoot(look, some, suffix) {
  const browser = await loggedIn('operator', look, 'kay@desk')
  const page = await browser.newPage()
  // WebP is what the browser can and its driver does not offer.
  const devtools = await browser.newCDPSession(page)
  for (const [name, path] of some) {
    await page.goto(at(path))
    await stands(page)
    // What is live has said something by then.
    await page.waitForTimeout(1_300)
    const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: QUALITY })
    const file = join(folder, `${name}-${suffix}.webp`)
    writeFileSync(file, Buffer.from(data, 'base64'))
    bytes += statSync(file).size
  }
  await browser.close()
}
