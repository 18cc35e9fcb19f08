// Portcullis itself with the policy as shipped; only port, upstream and certificate are the bench's.
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BULK_PORT, STREAM_OFFSET } from '../load/bulk.ts'
import { HOST } from '../stage/namespace.ts'
import type { Peer } from './peer.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = join(ROOT, 'src/main.ts')

export const portcullis: Peer = {
  id: 'portcullis',
  work: 'the policy as shipped: TLS profiles, ClientHello inspection, country check, classes, rules on head and body, journal and store',
  refuses: { foreignCountry: true, attack: true },
  version: () => {
    if (!existsSync(MAIN)) return undefined
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    return `portcullis ${version} on Node ${process.version}`
  },
  prepare: stage => {
    const policies = join(stage.dir, 'policies')
    cpSync(join(ROOT, 'policies'), policies, { recursive: true })
    const file = join(policies, 'portcullis.yaml')
    const bulk = `{ kind: tcp, address: '0.0.0.0:${stage.port + STREAM_OFFSET}', upstream: '127.0.0.1:${BULK_PORT}' }`
    const policy = adapted(readFileSync(file, 'utf8'), stage.port, stage.upstream)
    writeFileSync(file, `${policy}streams: { bulk: ${bulk} }\n`)
    const certs = join(stage.dir, 'certs')
    mkdirSync(certs, { recursive: true })
    copyFileSync(stage.certFile, join(certs, `${HOST}.crt`))
    copyFileSync(stage.keyFile, join(certs, `${HOST}.key`))
    return {
      argv: [process.execPath, '--disable-warning=ExperimentalWarning', MAIN, 'run', '--policy', policies],
      cwd: stage.dir,
    }
  },
}

/** The shipped policy with the bench's port and upstream. Throws when the shipped policy no longer has the lines. */
export function adapted(
  policy: string,
  port: number,
  upstream: { readonly host: string; readonly port: number },
): string {
  const replaced = (text: string, pattern: RegExp, by: string) => {
    if (!pattern.test(text)) throw new Error(`policies/portcullis.yaml has no line like ${pattern.source}`)
    return text.replace(pattern, by)
  }
  const withPort = replaced(policy, /(\n {4}address: )'0\.0\.0\.0:\d+'/, `$1'0.0.0.0:${port}'`)
  return replaced(withPort, /(\n {4}primary: )\S+/, `$1http://${upstream.host}:${upstream.port}`)
}
