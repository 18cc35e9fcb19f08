// A whole gate with connectors by hand before it, operators by command line, and a proxy through which each comes from an address of its own.
import type { Client, OperatorSession } from '../../src/policy/running-state.ts'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { ExecutionContext } from 'ava'
import type { GateStatus } from '../../src/admin/status.ts'
import { HOST, startRunningBench, type CliResult, type RunningBench } from '../cli/support.ts'
import { attach, type HandConnector } from '../tunnel/harness.ts'
import { testAuthority } from '../support/certificates.ts'
import { US } from '../support/whole-gate.ts'
import type { HeldIdentity } from '../../src/tunnel/client-identity.ts'
import type { Identity } from '../../src/tunnel/identity.ts'
import type { DialError } from '../../src/tunnel/connector/dial.ts'

/** Where operators and clients sit unless a test says otherwise. */
export const OPERATOR_ADDRESS = US
export const CLIENT_ADDRESS = '216.160.83.60'

/** Who asks, as the command line is told. */
export type Asking = {
  readonly operator?: string
  readonly password?: string
  readonly key?: string
  /** Address that the gate sees. */
  readonly from?: string
}

/** A running `portcullis connect`. */
export type Connected = {
  readonly port: number
  /** Ends it as Ctrl+C would; resolves with what it left behind. */
  readonly stop: () => Promise<CliResult>
}

/** Everything of one test. */
export type GatewayBench = RunningBench & {
  /** Adds a key through the command line. */
  readonly addKey: (name: string, value: string, ...more: readonly string[]) => Promise<void>
  readonly addOperator: (name: string, password: string, ...more: readonly string[]) => Promise<void>
  /** Attaches a client; rejects with a DialError. Its services are ports on loopback. */
  readonly client: (
    name: string,
    key: string,
    services: Readonly<Record<string, number>>,
    more?: { readonly from?: string; readonly identity?: Partial<Identity>; readonly held?: HeldIdentity },
  ) => Promise<HandConnector>
  /** Runs a command as an operator on another machine. */
  readonly operator: (words: readonly string[], who: Asking) => Promise<CliResult>
  readonly connect: (target: string, who: Asking) => Promise<Connected>
  /** A proxy behind which everybody comes from this address. */
  readonly proxyFrom: (source: string) => Promise<string>
  /** Texts of the gateway log (GW001.log) so far, without their times. */
  readonly gatewayLog: () => Promise<readonly string[]>
  readonly status: () => Promise<GateStatus>
  readonly clients: () => Promise<readonly Client[]>
  readonly sessions: () => Promise<readonly OperatorSession[]>
  readonly remote: (who: Asking) => Promise<{
    readonly words: readonly string[]
    readonly env: Readonly<Record<string, string>>
  }>
}

/** Starts one. */
export async function startGatewayBench(t: ExecutionContext, more = ''): Promise<GatewayBench> {
  const bench = await startRunningBench(t, `journal: { log: file }\n${more}`)
  const proxies = new Map<string, Promise<string>>()
  const proxyFrom = (source: string): Promise<string> => {
    const known = proxies.get(source) ?? startProxy(t, source, bench.port)
    proxies.set(source, known)
    return known
  }
  const status = async (): Promise<GateStatus> =>
    (await bench.json(['status'])).value as unknown as GateStatus
  const remote: GatewayBench['remote'] = async who => ({
    words: `--gate https://${HOST}:${bench.port} --operator ${who.operator ?? 'alice'}`
      .split(' ')
      .concat('--ca', bench.authorityFile),
    env: {
      PORTCULLIS_PASSWORD: who.password ?? PASSWORD,
      PORTCULLIS_KEY: who.key ?? 'Testing1',
      HTTPS_PROXY: await proxyFrom(who.from ?? OPERATOR_ADDRESS),
    },
  })
  const secret = async (words: readonly string[], value: string): Promise<void> => {
    const { code, err } = await bench.cli(words, { input: lines(value) })
    if (code !== 0) throw new Error(err)
  }
  return {
    ...bench,
    proxyFrom,
    remote,
    status,
    clients: async () => (await status()).clients,
    sessions: async () => (await status()).sessions,
    addKey: (name, value, ...words) => secret(['keys', 'add', name, ...words], value),
    addOperator: (name, password, ...words) =>
      secret(['operators', 'add', name, '--role', 'support', ...words], password),
    client: async (name, key, services, { from = CLIENT_ADDRESS, identity = {}, held } = {}) => {
      const proxy = new URL(await proxyFrom(from))
      const connector = await attach(
        {
          address: {
            host: HOST,
            port: bench.port,
            address: null,
            pinsSha256: [],
            caPem: await testAuthority(),
          },
        },
        services,
        {
          key,
          ...(held === undefined ? {} : { held }),
          identity: { name, instance: `instance-of-${name}-0000000`, ...identity },
          proxy: { host: proxy.hostname, port: Number(proxy.port), user: null, password: '' },
        },
      )
      t.teardown(() => connector.session.end('the test is over'))
      await connector.ready
      // Attached on both sides: the gate has seen the settings of the connector, too.
      while ((await status()).clients.every(client => client.name !== name)) await nextTurn()
      return connector
    },
    operator: async (words, who) => {
      const asked = await remote(who)
      return bench.cli([...words, ...asked.words], { env: asked.env })
    },
    connect: async (target, who) => {
      const asked = await remote(who)
      const stop = new AbortController()
      const printed = Promise.withResolvers<string>()
      const running = bench.cli(['connect', target, '--local', '0', '--json', ...asked.words], {
        env: asked.env,
        stop: stop.signal,
        onOutput: printed.resolve,
      })
      const first = await Promise.race([printed.promise, running])
      if (typeof first !== 'string') throw new Error(first.err)
      const { local } = JSON.parse(first) as { local: { port: number } }
      const end = async (): Promise<CliResult> => {
        stop.abort()
        return running
      }
      t.teardown(end)
      return { port: local.port, stop: end }
    },
    gatewayLog: async () => {
      await bench.portcullis.reporter.flush()
      const directory = join(bench.root, 'var', 'log')
      const files = readdirSync(directory).filter(name => /^GW\d+\.log$/.test(name))
      return files
        .toSorted()
        .flatMap(name => readFileSync(join(directory, name), 'utf8').trimEnd().split('\n'))
        .map(line => line.replace(/^\d\d-[A-Z][a-z]{2}-\d\d, \d\d:\d\d:\d\d, /, ''))
    },
  }
}

/** Password of operators unless a test says otherwise. */
export const PASSWORD = 'correct horse battery'

/** Resolves when other work of the process has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve)
  })
}

/** The code under which a gate refused a client. */
export async function refusalOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt
    return 'attached'
  } catch (error) {
    return (error as DialError).failure.code
  }
}

/** Standard input with one line. */
export function lines(text: string): Readable {
  return Readable.from([`${text}\n`])
}

/** Everything that comes back from a local port after these bytes, until the other side ends. */
export async function exchange(port: number, text: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  socket.end(text)
  const parts: Buffer[] = []
  for await (const chunk of socket) parts.push(chunk as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

/** An HTTP proxy that allows CONNECT to the gate, and stands before it as a load balancer that knows where each client is. */
async function startProxy(t: ExecutionContext, source: string, gatePort: number): Promise<string> {
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    return socket
  }
  const server = createServer({ allowHalfOpen: true }, inbound => {
    keep(inbound)
    let head = ''
    const read = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      inbound.off('data', read).pause()
      const outbound = keep(connect({ host: '127.0.0.1', port: gatePort, allowHalfOpen: true }))
      outbound.once('connect', () => {
        const family = source.includes(':') ? 'TCP6' : 'TCP4'
        const to = family === 'TCP6' ? '::1' : '127.0.0.1'
        outbound.write(`PROXY ${family} ${source} ${to} ${outbound.localPort ?? 0} ${gatePort}\r\n`)
        inbound.write('HTTP/1.1 200 OK\r\n\r\n')
        inbound.pipe(outbound).pipe(inbound)
      })
      outbound.once('close', () => inbound.destroy())
      inbound.once('close', () => outbound.destroy())
    }
    inbound.on('data', read)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
