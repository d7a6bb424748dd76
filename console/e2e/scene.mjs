// Something to look at on every page, made through the API on a fleet that is already described: a run halfway, tasks
// that wait for another, devices that do not answer, a version on its way.
import { api, apply, run, startTask, until } from './rig.mjs'

export async function scene() {
  // Nobody listens there.
  const dead = [1, 2, 3].map((n) => ({
    apiVersion: 'sengu/v1',
    kind: 'Target',
    metadata: { name: `redfish-dark-${n}`, labels: { site: 'hall-1', row: 'w1', rack: 'r03', unit: String(42 + n) } },
    spec: { kind: 'redfish', address: `https://127.0.0.1:${n}`, secret: 'redfish' },
  }))
  await apply(...dead)
  await run({ action: 'observe', selector: 'kind=redfish', timeout: '3s' })
  await promoted()
  const halfway = await run({ action: 'once', params: { sleep_ms: 700 }, selector: 'kind=echo', batch: '10', maxFail: '3' }, { wait: false })
  await until('a part has ended', async () => (await api('GET', `/v1/runs/${halfway}`)).status?.counts.done >= 10)
  await api('POST', `/v1/runs/${halfway}/pause`)
  // In hand for as long as the pictures take, and what waits for it.
  for (let minutes = 0; minutes < 6; minutes++) await startTask('echo-0001', 'once', { sleep_ms: 60_000 })
  for (const action of ['noop', 'noop']) await startTask('echo-0001', action)
  return { halfway }
}

/** A version that fails for some of the fleet goes to most of it, and back where it fails. */
async function promoted() {
  const pushed = (await api('GET', '/v1/workers')).find((each) => each.name === 'redfish@1.5.0')
  if (pushed === undefined) return
  await api('POST', '/v1/releases/redfish/promote', { version: '1.5.0', share: '60%', replace: true })
  await until('a cell has gone back', async () => {
    await run({ action: 'observe', selector: 'kind=redfish', timeout: '3s' })
    const { held, history } = (await api('GET', '/v1/records/Release/redfish')).status
    return (held ?? []).length > 0 || history.at(-1).what === 'rolled-back'
  })
}
