// Portcullis itself with the policy as shipped; only port, upstream and certificate are the bench's.
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BULK_PORT, STREAM_OFFSET } from '../load/bulk.ts'
import { HOST } from '../stage/namespace.ts'
import type { Peer } from './peer.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export const portcullis: Peer = fromCheckout('portcullis', ROOT)

/** Another checkout of Portcullis, so that a change is measured against what was before it in the same run. */
export function otherCheckout(root: string): Peer {
  return fromCheckout('base', resolve(root))
}

function fromCheckout(id: string, root: string): Peer {
  const main = join(root, 'src/main.ts')
  return {
    id,
    work: 'the policy as shipped: TLS profiles, ClientHello inspection, country check, classes, rules on head and body, journal and store',
    refuses: { foreignCountry: true, attack: true },
    version: () => {
      if (!existsSync(main)) return undefined
      const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
      return `portcullis ${version} on Node ${process.version}`
    },
    prepare: stage => {
      const policies = join(stage.dir, 'policies')
      cpSync(join(root, 'policies'), policies, { recursive: true })
      const file = join(policies, 'portcullis.yaml')
      const bulk = `{ kind: tcp, address: '0.0.0.0:${stage.port + STREAM_OFFSET}', upstream: '127.0.0.1:${BULK_PORT}' }`
      const policy = adapted(readFileSync(file, 'utf8'), stage.port, stage.upstream)
      // Two of them run beside each other, and the usual admin address is that of the checkout itself.
      const admin = id === 'base' ? `admin: { address: '127.0.0.1:${stage.port + 500}' }\n` : ''
      writeFileSync(file, `${policy}streams: { bulk: ${bulk} }\n${admin}`)
      const certs = join(stage.dir, 'certs')
      mkdirSync(certs, { recursive: true })
      copyFileSync(stage.certFile, join(certs, `${HOST}.crt`))
      copyFileSync(stage.keyFile, join(certs, `${HOST}.key`))
      return {
        argv: [process.execPath, '--disable-warning=ExperimentalWarning', main, 'run', '--policy', policies],
        cwd: stage.dir,
      }
    },
  }
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
