// Situations on ports for raw TCP: every limit, ports that are not for the internet, and clients that speak something else.
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { cpSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { ROOT } from '../../cli/support.ts'
import type { Scene, Situation } from '../stage.ts'

const HOUR_MS = 3_600_000
const LOOPBACK = 'geo: { loopback: allow }'

/** A server that answers whatever comes with the same; its port. */
async function echo(scene: Scene): Promise<number> {
  const open = new Set<Socket>()
  const server = createServer(socket => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => open.delete(socket))
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  scene.teardown(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A policy with one stream `backup` to the echo server. */
function stream(keys: string, more = ''): NonNullable<Situation['policy']> {
  return async (source, scene) =>
    `${LOOPBACK}\n${more.replaceAll('SOURCE', source)}\nstreams: { backup: { address: '127.0.0.1:0', upstream: '127.0.0.1:${await echo(scene)}', ${keys} } }`
}

/** Opens a stream straight from an address; `first` is what came back for the bytes, or how it ended. */
function open(
  { bench, source, teardown }: Scene,
  bytes = 'hello',
  from = source,
): { readonly socket: Socket; readonly first: Promise<string> } {
  const { host = '127.0.0.1', port = 0 } = bench.portcullis.streams.addresses()[0] ?? {}
  const socket = connect({ host, port, localAddress: from })
  teardown(() => void socket.destroy())
  const first = new Promise<string>(done => {
    socket.once('data', data => done(data.toString('latin1')))
    socket.once('error', error => done((error as NodeJS.ErrnoException).code ?? 'error'))
    socket.once('end', () => done('end'))
  })
  socket.write(bytes)
  return { socket, first }
}

/** Opens, hears the echo and leaves; true: it was joined to the server. */
async function isJoined(scene: Scene, bytes = 'hello'): Promise<boolean> {
  const { socket, first } = open(scene, bytes)
  const answer = await first
  socket.destroy()
  while (scene.bench.portcullis.streams.connections().length > 0) await new Promise(setImmediate)
  return answer === bytes
}

/** As many streams as there is room for, then one more. */
function crowd(count: number, from?: string): Situation['happen'] {
  return async scene => {
    for (let index = 0; index < count; index++) await open(scene, 'hello', from).first
    return open(scene).first
  }
}

/** While the crowd is still there. */
const oneMore = async (scene: Scene): Promise<boolean> => (await open(scene).first) === 'hello'

const CROWDED = {
  place: 'here',
  cause: 'capacity',
  steps: /bin\/portcullis status --connections.*If so many belong there/s,
  mend: 'try',
  retry: oneMore,
} as const

export const STREAM_SITUATIONS: readonly Situation[] = [
  {
    ...CROWDED,
    title: 'a stream: as many as one address may have',
    policy: stream('connectionsPerSource: 2'),
    happen: crowd(2),
    sentence: /was refused on backup once because the address has too many streams open at once/,
    shown: /2 of 2 open/,
  },
  {
    ...CROWDED,
    title: 'a stream: as many as the site may have, and others of it hold them',
    policy: stream(
      'connectionsPerSite: 2',
      'sites: { acme: { name: Acme, addresses: [SOURCE, 127.0.8.8] } }',
    ),
    happen: crowd(2, '127.0.8.8'),
    sentence: /the site has too many streams open at once/,
    shown: /2 of 2 open from acme/,
  },
  {
    ...CROWDED,
    title: 'a stream: as many as the listener takes, and strangers hold them',
    policy: stream('connections: 2'),
    happen: crowd(2, '127.0.8.9'),
    sentence: /the stream listener has reached its number of connections/,
    shown: /2 of 2 open/,
  },
  {
    ...CROWDED,
    title: 'a stream: as many of its class as one address may have',
    policy: stream('class: transfer', 'classes: { transfer: { limits: { concurrentPerSource: 2 } } }'),
    happen: crowd(2),
    sentence: /too many streams of this class open at once/,
    shown: /2 of 2 transfer open/,
  },
  {
    title: 'SQL asked from the internet: the port is for trusted addresses only',
    place: 'here',
    policy: async (_, scene) => {
      const { root } = scene.bench
      cpSync(join(ROOT, 'policies/streams'), join(root, 'policies/streams'), { recursive: true })
      const at = `127.${randomInt(64, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`
      const others = [5001, 5003, 5004, 5005, 5006, 5008].join(', ')
      return `${LOOPBACK}\nstreams: { desk: { profile: supportworks, version: '7.2', without: [${others}, 21], address: '${at}', upstream: '127.0.0.1:${await echo(scene)}' } }`
    },
    happen: scene => open(scene).first,
    cause: 'port',
    sentence: /was refused on port 5002 of desk once, which is open to trusted addresses only: databases/,
    steps: /over a VPN.*trust it/s,
    mend: 'patch',
    retry: scene => isJoined(scene),
  },
  {
    title: 'a program that belongs to no service of a shared port',
    place: 'here',
    policy: async (_, scene) =>
      `${LOOPBACK}\nstreams: { shared: { kind: mixed, address: '127.0.0.1:0', upstream: '127.0.0.1:${await echo(scene)}', services: [{ starts: bytes, signatures: RELAY }] } }`,
    happen: scene => open(scene, 'SSH-2.0-OpenSSH_9.2\r\n').first,
    cause: 'protocol',
    sentence: /reaches stream shared, but what it sends \(.+\) belongs to no service there \(once\)/,
    steps: /port of its own product.*https: port 0 \(HTTPS/s,
    mend: () => Promise.resolve(),
    retry: scene => isJoined(scene, 'RELAY1'),
  },
  {
    title: 'a NetSupport client where nobody is meant to use it',
    place: 'here',
    policy: async (_, scene) =>
      `${LOOPBACK}\nstreams: { shared: { kind: mixed, address: '127.0.0.1:0', upstream: '127.0.0.1:${await echo(scene)}', services: [{ starts: bytes, signatures: RELAY }] } }`,
    happen: scene => open(scene, 'POST http://203.0.113.7/fakeurl.htm HTTP/1.1\r\nHost: x\r\n\r\n').first,
    cause: 'protocol',
    sentence: /NetSupport client called here/,
    steps: /attackers use this program as a remote-control tool/,
    mend: () => Promise.resolve(),
    retry: scene => isJoined(scene, 'RELAY1'),
  },
  {
    title: 'TLS on a port behind which nothing speaks it',
    place: 'here',
    policy: stream('speaks: plain'),
    happen: async scene => {
      const { port = 0 } = scene.bench.portcullis.streams.addresses()[0] ?? {}
      const tls = spawn(
        'openssl',
        ['s_client', '-connect', `127.0.0.1:${port}`, '-bind', `${scene.source}:0`],
        { stdio: 'ignore' },
      )
      await once(tls, 'close')
    },
    cause: 'plaintext',
    sentence: /speaks TLS on backup, behind which nothing does/,
    steps: /Switch TLS \(SSL\) off at this client/,
    // A raw stream that passes ends it; what the client offered before is forgotten after a day.
    mend: scene => Promise.resolve(scene.bench.advance(25 * HOUR_MS)),
    retry: scene => isJoined(scene),
  },
  {
    title: 'plain text on a stream whose TLS ends at the gate',
    place: 'here',
    policy: stream('kind: tls, host: rmm.example.test'),
    happen: scene => open(scene, 'BACKUP v1\r\n').first,
    cause: 'plaintext',
    sentence: /speaks .* on the TLS port of listener backup/,
    steps: /switch its encryption on/i,
    mend: () => Promise.resolve(),
    retry: async scene => {
      const { port = 0 } = scene.bench.portcullis.streams.addresses()[0] ?? {}
      const tls = spawn('openssl', [
        's_client',
        '-connect',
        `127.0.0.1:${port}`,
        '-bind',
        `${scene.source}:0`,
        '-servername',
        'rmm.example.test',
        '-quiet',
        '-no_ign_eof',
      ])
      tls.stdin.on('error', () => undefined)
      tls.stdin.write('BACKUP v1\n')
      const [data] = (await once(tls.stdout, 'data')) as [Buffer]
      tls.kill()
      await once(tls, 'close')
      return data.toString().startsWith('BACKUP v1')
    },
  },
]
