// Starts a peer in front of the upstream and says what TLS it negotiates.
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { ab } from '../load/ab.ts'
import { getRequest, openConnection } from '../load/http-connection.ts'
import { CHECK_IN_PATH } from '../load/work.ts'
import type { Peer } from '../peers/peer.ts'
import type { SharedFiles } from './files.ts'
import { FOREIGN_ADDRESS, PROXY_CORE } from './namespace.ts'
import { startPinned, type Running } from './processes.ts'

/** Country of PROXY_ADDRESS. */
const HOME_COUNTRY = 'US'

/** Starts it on the port; resolves once a check-in through it succeeds. `args` go before the program's own arguments. */
export async function startPeer(
  peer: Peer,
  options: {
    readonly dir: string
    readonly port: number
    readonly upstreamPort: number
    readonly files: SharedFiles
    readonly nodeArgs?: readonly string[]
  },
): Promise<Running> {
  const dir = mkdtempSync(join(options.dir, `${peer.id}-`))
  const launch = await peer.prepare({
    ...options.files,
    dir,
    port: options.port,
    upstream: { host: '127.0.0.1', port: options.upstreamPort },
    homeCountry: HOME_COUNTRY,
  })
  const [program = '', ...args] = launch.argv
  return startPinned({
    argv: [program, ...(options.nodeArgs ?? []), ...args],
    core: PROXY_CORE,
    logFile: join(dir, 'log'),
    ready: () => serves(options.port),
    ...(launch.env === undefined ? {} : { env: launch.env }),
    ...(launch.cwd === undefined ? {} : { cwd: launch.cwd }),
  })
}

/** Negotiated version, cipher suite and group, as the load generator for new connections sees them. */
export async function negotiated(port: number, dir: string): Promise<string> {
  const { protocol, group } = await ab({ port, dir, seconds: 1, connections: 1 })
  return `${protocol.split(',').slice(0, 2).join(' ')}, ${group.split(' ')[0] ?? ''}`
}

/** Proves that the peer does the work it says it does. Throws when it lets through what it must refuse. */
export async function proveWork(peer: Peer, port: number): Promise<void> {
  if (peer.refuses.foreignCountry && (await serves(port, CHECK_IN_PATH, FOREIGN_ADDRESS))) {
    throw new Error('it serves a country that it must refuse')
  }
  if (peer.refuses.attack && (await serves(port, ATTACK_PATH)))
    throw new Error('it serves an attack that it must refuse')
}

const ATTACK_PATH = `${CHECK_IN_PATH}?q=%3Cscript%3Ealert(document.cookie)%3C/script%3E&f=../../../../etc/passwd`

async function serves(port: number, path: string = CHECK_IN_PATH, localAddress?: string): Promise<boolean> {
  try {
    const connection = await openConnection(port, localAddress)
    try {
      return (await connection.exchange(getRequest(path))) === 200
    } finally {
      connection.socket.destroy()
    }
  } catch {
    return false
  }
}
