import { readFileSync } from 'node:fs'
import react from '@vitejs/plugin-react'
import { defineConfig, type UserConfig } from 'vite'
import { compressed } from './build/compressed.ts'
import { licences } from './build/licences.ts'

/** While developing, `/v1` goes to a sengu that runs; its token stays in this process. */
function proxy(): NonNullable<UserConfig['server']>['proxy'] {
  const server = process.env['SENGU_SERVER'] ?? 'http://127.0.0.1:7468'
  const tokenFile = process.env['SENGU_TOKEN_FILE']
  const headers = tokenFile ? { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` } : {}
  return { '/v1': { target: server, headers } }
}

export default defineConfig({
  base: '/console/',
  plugins: [react(), licences(), compressed()],
  server: { host: '127.0.0.1', port: 7470, strictPort: true, proxy: proxy() ?? {} },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: false,
    // The binary has no inline anything: no data: fonts or scripts, and no preload helper's inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
})
