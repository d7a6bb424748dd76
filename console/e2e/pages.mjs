// Every page of the console, with something on it: found by asking the API. Used by what has to look at all of them.
import { api } from './rig.mjs'

const first = async (path) => (await api('GET', path)).items[0]

/** `[name, path]` in the order of the navigation. */
export async function everyPage() {
  const target = (await first('/v1/records/Target?limit=1&selector=kind=redfish')) ?? (await first('/v1/records/Target?limit=1'))
  const run = await first('/v1/records/Run?limit=1')
  const wee = await first('/v1/records/Wee?limit=1')
  const ended = (await first('/v1/tasks?limit=1&status=failed')) ?? (await first('/v1/tasks?limit=1'))
  const open = (await api('GET', '/v1/tasks?limit=100&state=open')).items.find((task) => task.state === 'waiting')
  const name = (record) => encodeURIComponent(record.metadata.name)
  return [
    ['overview', '/'],
    ['racks', '/targets'],
    ['racks-by-reading', '/targets?colour=temperature_celsius&size=large'],
    ['targets', '/targets?view=table'],
    ['target', `/targets/${name(target)}`],
    ['runs', '/runs'],
    ['run-new', '/runs/new?selector=kind%3Dredfish&action=power.cycle'],
    ['run', `/runs/${name(run)}`],
    ['workers', '/workers'],
    ['worker', `/workers/${target.spec.kind}`],
    ['wee', `/workers/wees/${name(wee)}`],
    ['tasks', '/tasks'],
    ['task', `/tasks/${ended.id}`],
    ...(open === undefined ? [] : [['task-waiting', `/tasks/${open.id}`]]),
    ['events', '/events'],
    ['audit', '/events/audit'],
    ['system', '/system'],
    ['not-there', '/targets/no-such-target'],
  ]
}
