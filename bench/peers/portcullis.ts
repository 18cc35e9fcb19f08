// Portcullis itself with the policy as shipped; only names, ports and certificate are the bench's.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Peer } from './peer.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export const portcullis: Peer = {
  id: 'portcullis',
  work: 'shipped policy: TLS profiles, country check, classes and rules on head and body, journal',
  refuses: { foreignCountry: true, attack: true },
  version: () => (existsSync(`${ROOT}src/main.ts`) ? `portcullis on Node ${process.version}` : undefined),
  prepare: () => ({ argv: [process.execPath, `${ROOT}src/main.ts`, 'run'], cwd: ROOT }),
}
