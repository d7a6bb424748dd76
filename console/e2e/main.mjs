// All jobs, one after the other, against one running sengu: `node e2e/main.mjs`, or a part: `--test-name-pattern=rack`.
import { after } from 'node:test'
import { close } from './rig.mjs'

await import('./jobs/session.mjs')
await import('./jobs/targets.mjs')
await import('./jobs/runs.mjs')
await import('./jobs/hostile.mjs')
await import('./jobs/events.mjs')
await import('./jobs/releases.mjs')
await import('./jobs/every-page.mjs')
after(close)
