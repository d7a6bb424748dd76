// Says whether two folders hold the same built files. What is packed is compared by what it unpacks to: another version
// of Node may pack in other bytes.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'

const [kept, built] = process.argv.slice(2)

function files(folder, below = '') {
  return readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
    const path = join(below, entry.name)
    return entry.isDirectory() ? files(folder, path) : [path]
  })
}

function content(folder, path) {
  const bytes = readFileSync(join(folder, path))
  return path.endsWith('.br') ? brotliDecompressSync(bytes) : bytes
}

const [before, now] = [new Set(files(kept)), new Set(files(built))]
const differ = [...new Set([...before, ...now])].sort().filter((path) => {
  if (!before.has(path) || !now.has(path)) return true
  return !content(kept, path).equals(content(built, path))
})
for (const path of differ) {
  const how = !now.has(path) ? 'is no longer built' : !before.has(path) ? `is not in ${kept}` : 'differs'
  console.error(`${path} ${how}`)
}
process.exitCode = differ.length ? 1 : 0
