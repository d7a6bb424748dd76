// Writes src/api/openapi.ts from the API's document. `--check` only says whether it is in step.
import { readFileSync, writeFileSync } from 'node:fs'
import openapiTS, { astToString } from 'openapi-typescript'

const DOCUMENT = process.env.SENGU_OPENAPI ?? new URL('../../docs/reference/openapi.json', import.meta.url)
const TYPES = new URL('../src/api/openapi.ts', import.meta.url)

const document = JSON.parse(readFileSync(DOCUMENT, 'utf8'))
for (const operations of Object.values(document.paths)) {
  // Ids of operations are unique within a module of the server only; without them each is typed in its place.
  for (const operation of Object.values(operations)) delete operation.operationId
}
const types = `// Generated from docs/reference/openapi.json by \`npm run types\`.\n${astToString(await openapiTS(document))}`
if (!process.argv.includes('--check')) writeFileSync(TYPES, types)
else if (readFileSync(TYPES, 'utf8') !== types) {
  console.error('src/api/openapi.ts is not in step with the API: npm run types')
  process.exitCode = 1
}
