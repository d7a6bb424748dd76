import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'
import type { Plugin } from 'vite'

const TEXT = /\.(?:js|css|html|svg|json|webmanifest)$/
/** Below this a second file costs more than it saves. */
const WORTH_IT_BYTES = 512

/** Writes `X.br` beside each text asset: the server hands it out as it is, and never compresses anything itself. */
export function compressed(): Plugin {
  let outDir = 'dist'
  return {
    name: 'sengu-compressed',
    apply: 'build',
    enforce: 'post',
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir)
    },
    // Not as the bundle is closed: that comes after a build that failed, too, and hides why.
    writeBundle: {
      order: 'post',
      handler() {
        for (const path of files(outDir)) {
          if (!TEXT.test(path) || statSync(path).size < WORTH_IT_BYTES) continue
          const text = readFileSync(path)
          const params = {
            [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
            [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
            [constants.BROTLI_PARAM_SIZE_HINT]: text.length,
          }
          writeFileSync(`${path}.br`, brotliCompressSync(text, { params }))
        }
      },
    },
  }
}

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? files(path) : [path]
  })
}
