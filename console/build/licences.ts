import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Plugin } from 'vite'

type Licence = { name: string; version: string; licence: string }
type Package = { version?: string; license?: string; dev?: boolean }

/** Adds the packages that the browser is given to the list of crates that `cargo xtask licences` writes. */
export function licences(): Plugin {
  let root = '.'
  let outDir = 'dist'
  return {
    name: 'sengu-licences',
    apply: 'build',
    configResolved(config) {
      root = config.root
      outDir = resolve(config.root, config.build.outDir)
    },
    writeBundle() {
      const crates = join(root, 'public', 'licences.json')
      const all: Licence[] = existsSync(crates) ? (JSON.parse(readFileSync(crates, 'utf8')) as Licence[]) : []
      all.push(...packages(join(root, 'package-lock.json')))
      all.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1))
      writeFileSync(join(outDir, 'licences.json'), `${JSON.stringify(all)}\n`)
    },
  }
}

function packages(lockFile: string): Licence[] {
  const lock = JSON.parse(readFileSync(lockFile, 'utf8')) as { packages: Record<string, Package> }
  return Object.entries(lock.packages)
    .filter(([path, found]) => path.startsWith('node_modules/') && !found.dev)
    .map(([path, found]) => ({
      name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version: found.version ?? '',
      licence: found.license ?? 'unknown',
    }))
}
