// The whole gate in this process: a policy directory written as YAML, a practice RMM behind it, and its log lines to wait for.
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { connect as connectTcp, isIPv6, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { stringify } from 'yaml'
import { callAdmin } from '../../src/admin/client.ts'
import type { GateStatus } from '../../src/admin/status.ts'
import { startPortcullis, type Portcullis } from '../../src/compose.ts'
import type { EventFields, EventName } from '../../src/journal/events.ts'
import type { LineSink } from '../../src/journal/line-sink.ts'
import { startPracticeRmm, type PracticeRmm } from '../../src/practice/rmm.ts'
import { testAuthority, testCertificate } from './certificates.ts'

/** The repository. */
export const ROOT = resolve(import.meta.dirname, '../..')
/** The name that carries agents, and one that carries people: they differ when the servers are down. */
export const AGENT_NAME = 'rmm.example.test'
export const CONSOLE_NAME = 'console.example.test'
/** Addresses whose countries all databases agree on. */
export const US = '216.160.83.56'
export const GB = '81.2.69.142'
export const SE = '89.160.20.112'
export const CN = '111.235.160.1'

const WAIT_MS = 60_000
const LOOK_MS = 3
/** A look may cost as much as a request: who waits long looks less often. */
const MAX_LOOK_MS = 25

/** A log line as it was written. */
export type LoggedEvent<K extends EventName = EventName> = EventFields[K] & {
  readonly event: K
  readonly msg: string
}

/** Log lines that can be waited for. */
export class LogLines {
  readonly all: LoggedEvent[] = []
  readonly #waiting = new Set<() => void>()

  /** What the gate writes to. */
  readonly sink: LineSink = {
    write: line => this.take(line),
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
    takeDropped: () => ({ lines: 0, why: '' }),
  }

  take(line: string): void {
    this.all.push(JSON.parse(line) as LoggedEvent)
    for (const look of this.#waiting) look()
  }

  /** Lines of one event so far. */
  of<K extends EventName>(name: K): LoggedEvent<K>[] {
    return this.all.filter(entry => entry.event === name) as unknown as LoggedEvent<K>[]
  }

  /** Waits for the first line of an event that fits. @throws when it does not come */
  async next<K extends EventName>(
    name: K,
    fits: (entry: LoggedEvent<K>) => boolean = () => true,
  ): Promise<LoggedEvent<K>> {
    const late = AbortSignal.timeout(WAIT_MS)
    for (;;) {
      const found = this.of(name).find(fits)
      if (found !== undefined) return found
      if (late.aborted) throw new Error(`no fitting ${name}; the last lines are\n${this.tail()}`)
      await new Promise<void>(done => {
        const look = (): void => {
          this.#waiting.delete(look)
          late.removeEventListener('abort', look)
          done()
        }
        this.#waiting.add(look)
        late.addEventListener('abort', look, { once: true })
      })
    }
  }

  /** The last lines, for messages of failing tests. */
  tail(): string {
    return this.all
      .slice(-15)
      .map(entry => `${entry.event}: ${entry.msg}`)
      .join('\n')
  }
}

/** A policy as an object; `stringify` makes the YAML of it. */
export type PolicyParts = Readonly<Record<string, unknown>>

/** What differs from the usual whole gate. */
export type WholeGateOptions = {
  /** Keys of portcullis.yaml that replace or join the usual ones. */
  readonly policy?: PolicyParts
  /** Servers behind the gate; one practice RMM of its own when left out. */
  readonly upstream?: PolicyParts
  /** The usual server, when the test has started it already; it is stopped with the gate. */
  readonly rmm?: PracticeRmm
  readonly watch?: boolean
  readonly clock?: () => number
  /** Files that lie in geoip/ at the start, by name. */
  readonly databases?: Readonly<Record<string, Buffer>>
  /** An RSA certificate beside the ECDSA one. */
  readonly rsa?: boolean
  /** Rule files beside the shipped ones, by name. */
  readonly rules?: Readonly<Record<string, string>>
}

/** A running whole gate. */
export type WholeGate = AsyncDisposable & {
  readonly portcullis: Portcullis
  readonly lines: LogLines
  readonly directory: string
  /** The usual server behind the gate; it has no requests when the policy names others. */
  readonly rmm: PracticeRmm
  readonly ca: string
  /** Port of the listener whose load balancer is 127.0.0.1. */
  readonly port: number
  /** Port of the listener without a load balancer. */
  readonly directPort: number
  /** Keys of the policy as started; spread them to write another one. */
  readonly policy: PolicyParts
  /** Replaces portcullis.yaml by rename, as editors do; nothing is reloaded unless the gate watches. */
  readonly write: (policy: PolicyParts | string) => void
  readonly status: () => Promise<GateStatus>
  /** Calls the admin API with the token. */
  readonly admin: (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) => Promise<unknown>
  /** The value of a series of the metrics, labels in any order; 0 when there is none. */
  readonly metric: (name: string, labels?: Readonly<Record<string, string>>) => Promise<number>
  /** How often an event was reported, logged or not. */
  readonly count: (event: EventName) => Promise<number>
  /** Resolves when no connection, request or upstream exchange is left. */
  readonly idle: () => Promise<void>
}

// Reading the shipped packs, making them ready and running their own tests takes longer than most scenarios.
const ONE_RULE = `pack: one
rules:
  - id: windows-file
    title: File of the Windows system asked for
    severity: high
    refs: [CWE-22]
    when: { in: args, has: win.ini }
    tests: { fires: ['GET /x?file=../../windows/win.ini'], quiet: ['GET /x?file=report.pdf'] }
`
/** For `rules` of a policy: the shipped packs, as the profile names them, instead of one rule. */
export const SHIPPED_RULES: PolicyParts = {}

/** The usual policy; `directory` holds policies/, certs/, geoip/ and state/. */
export function usualPolicy(upstream: PolicyParts): PolicyParts {
  return {
    version: 1,
    home: ['US'],
    model: 'all-traffic',
    profile: 'connectwise-automate',
    listeners: {
      https: { address: '127.0.0.1:0', loadBalancers: ['127.0.0.1'] },
      direct: { address: '127.0.0.1:0' },
    },
    names: {
      [AGENT_NAME]: { upstream: 'rmm' },
      [CONSOLE_NAME]: { upstream: 'rmm', whenDown: 'unavailable' },
    },
    upstreams: { rmm: upstream },
    geo: { loopback: 'allow' },
    rules: { packs: ['one'] },
    limits: { drain: '1s' },
    journal: { requests: 'all' },
    admin: { address: '127.0.0.1:0' },
    directories: { certs: '../certs', geoip: '../geoip', state: '../state' },
  }
}

/** Makes a directory with a policy as `usualPolicy` says, certificates for both names, the shipped profiles, and the rules that the policy is about. */
export async function policyDirectory(policy: PolicyParts, rsa = false): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-whole-'))
  for (const name of ['policies', 'certs', 'geoip', 'state']) mkdirSync(join(directory, name))
  const copied = namesShippedRules(policy) ? ['profiles', 'rules'] : ['profiles']
  for (const name of copied)
    cpSync(join(ROOT, 'policies', name), join(directory, 'policies', name), { recursive: true })
  mkdirSync(join(directory, 'policies/rules'), { recursive: true })
  writeFileSync(join(directory, 'policies/rules/one.yaml'), ONE_RULE)
  for (const host of [AGENT_NAME, CONSOLE_NAME]) {
    await writeCertificate(directory, host, 'ecdsa')
    if (rsa) await writeCertificate(directory, host, 'rsa')
  }
  writePolicy(directory, policy)
  return directory
}

function namesShippedRules({ rules = SHIPPED_RULES }: PolicyParts): boolean {
  const { packs } = rules as { readonly packs?: readonly string[] }
  return packs?.some(pack => existsSync(join(ROOT, 'policies/rules', `${pack}.yaml`))) ?? true
}

/** Puts a new certificate for a host into certs/. Returns its PEM. */
export async function writeCertificate(
  directory: string,
  host: string,
  type: 'ecdsa' | 'rsa' = 'ecdsa',
): Promise<string> {
  const { cert, key } = await testCertificate([host], { type })
  const base = join(directory, 'certs', `${host}.${type}`)
  writeFileSync(`${base}.key`, key)
  writeFileSync(`${base}.crt`, cert)
  return cert
}

/** Replaces portcullis.yaml in one step. */
export function writePolicy(directory: string, policy: PolicyParts | string): void {
  const text = typeof policy === 'string' ? policy : stringify(policy, { aliasDuplicateObjects: false })
  const file = join(directory, 'policies', 'portcullis.yaml')
  writeFileSync(`${file}.tmp`, text)
  renameSync(`${file}.tmp`, file)
}

/** Starts the whole gate on free ports. Dispose it: that stops it and removes its directory. */
export async function startWholeGate(options: WholeGateOptions = {}): Promise<WholeGate> {
  const rmm = options.rmm ?? (await startPracticeRmm())
  const policy = { ...usualPolicy(options.upstream ?? { primary: rmm.url }), ...options.policy }
  const directory = await policyDirectory(policy, options.rsa)
  for (const [name, bytes] of Object.entries(options.databases ?? {}))
    writeFileSync(join(directory, 'geoip', name), bytes)
  for (const [name, text] of Object.entries(options.rules ?? {}))
    writeFileSync(join(directory, 'policies', 'rules', name), text)
  const lines = new LogLines()
  const cleanUp = async (): Promise<void> => {
    await rmm.stop()
    rmSync(directory, { recursive: true, force: true })
  }
  let portcullis: Portcullis
  try {
    portcullis = await startPortcullis({
      policyDirectory: join(directory, 'policies'),
      version: 'test',
      platform: 'test',
      pid: 1,
      standardLines: lines.sink,
      clock: options.clock ?? Date.now,
      memory: () => ({ rssBytes: 0, heapBytes: 0 }),
      watch: options.watch ?? false,
    })
  } catch (cause) {
    await cleanUp()
    throw cause
  }
  const portOf = (listener: string): number =>
    portcullis.gate.addresses().find(entry => entry.listener === listener)?.port ?? 0
  const admin: WholeGate['admin'] = async (method, path, body) => {
    const endpoint = portcullis.adminEndpoint()
    if (endpoint === null) throw new Error('the admin address is not open')
    return callAdmin({ endpoint, stateDir: join(directory, 'state') }, method, path, body)
  }
  const metric: WholeGate['metric'] = async (name, labels = {}) =>
    readMetric(await metricsText(portcullis), name, labels)
  const status = async (): Promise<GateStatus> => (await admin('GET', '/v1/status')) as GateStatus
  return {
    portcullis,
    lines,
    directory,
    rmm,
    ca: await testAuthority(),
    port: portOf('https'),
    directPort: portOf('direct'),
    policy,
    write: next => writePolicy(directory, next),
    status,
    admin,
    metric,
    count: event => metric('portcullis_events_total', { event }),
    idle: async () => {
      await until(async () => {
        if (Object.values(portcullis.gate.counts()).some(count => count > 0)) return false
        return (await status()).upstreams.every(member => member.openRequests === 0)
      })
    },
    [Symbol.asyncDispose]: async () => {
      await portcullis.stop()
      await cleanUp()
    },
  }
}

/** The text that Prometheus would get. */
export async function metricsText(portcullis: Portcullis): Promise<string> {
  const endpoint = portcullis.adminEndpoint()
  const answer = await fetch(`http://127.0.0.1:${endpoint?.port ?? 0}/metrics`)
  return answer.text()
}

/** Sums the series of a metric that have the labels. */
export function readMetric(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  let sum = 0
  for (const line of text.split('\n')) {
    const match = /^([a-z_]+)(?:\{(.*)\})? ([-+0-9.eE]+)/.exec(line)
    if (match === null || match[1] !== name) continue
    const given = match[2] ?? ''
    if (Object.entries(labels).every(([key, value]) => given.includes(`${key}="${value}"`)))
      sum += Number(match[3])
  }
  return sum
}

/** Asks again and again until the condition holds. @throws when it does not in a minute */
export async function until(
  condition: () => boolean | Promise<boolean>,
  otherwise = `still not so: ${condition.toString()}`,
): Promise<void> {
  const late = AbortSignal.timeout(WAIT_MS)
  for (let pauseMs = LOOK_MS; !(await condition()); pauseMs = Math.min(MAX_LOOK_MS, pauseMs * 1.2)) {
    if (late.aborted) throw new Error(otherwise)
    await new Promise(done => setTimeout(done, pauseMs))
  }
}

/** How a client connects. */
export type ClientOptions = {
  /** The address that the load balancer announces; `direct:127.0.0.9` connects from that address without one. */
  readonly from?: string
  readonly name?: string
  readonly tls?: ConnectionOptions
  /** Another port, for example of a listener that was opened later. */
  readonly port?: number
}

/** Opens a TCP connection with its PROXY header, or directly. */
export async function openTcp(
  gate: Pick<WholeGate, 'port' | 'directPort'>,
  options: ClientOptions = {},
): Promise<Socket> {
  const { from = US } = options
  const direct = from.startsWith('direct:') ? from.slice('direct:'.length) : null
  const port = options.port ?? (direct === null ? gate.port : gate.directPort)
  const socket = connectTcp({ host: '127.0.0.1', port, localAddress: direct ?? '127.0.0.1', noDelay: true })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  if (direct === null) {
    const family = isIPv6(from) ? 'TCP6' : 'TCP4'
    socket.write(`PROXY ${family} ${from} ${isIPv6(from) ? '::1' : '127.0.0.1'} 50000 443\r\n`)
  }
  return socket
}

/** Opens a TLS connection. Rejects with the error of the handshake. */
export async function openTls(
  gate: Pick<WholeGate, 'port' | 'directPort' | 'ca'>,
  options: ClientOptions = {},
): Promise<TLSSocket> {
  const raw = await openTcp(gate, options)
  const socket = connectTls({
    socket: raw,
    servername: options.name ?? AGENT_NAME,
    ca: gate.ca,
    ...options.tls,
  })
  raw.on('close', () => socket.destroy())
  await once(socket, 'secureConnect')
  socket.on('error', () => undefined)
  return socket
}

/** What came back. */
export type Answer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly text: string
}

/** What is asked. */
export type Question = {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer | Readable
}

/** A client with one connection that it keeps, and opens again when it was closed. */
export type Client = Disposable & {
  /** Connections opened so far. */
  readonly connections: () => number
  /** The response as it begins; its body is for the caller. */
  readonly begin: (question: Question) => Promise<IncomingMessage>
  readonly ask: (question: Question) => Promise<Answer>
}

/** Makes a keep-alive client of one source. */
export function client(
  gate: Pick<WholeGate, 'port' | 'directPort' | 'ca'>,
  options: ClientOptions = {},
): Client {
  let connections = 0
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  type Opened = (error: Error | null, socket: Socket) => void
  const open = async (opened: Opened): Promise<void> => {
    connections++
    try {
      opened(null, await openTls(gate, options))
    } catch (error) {
      opened(error as Error, undefined as never)
    }
  }
  agent.createConnection = (_options, opened) => {
    void open(opened as Opened)
    return undefined
  }
  const begin: Client['begin'] = async question => {
    const outgoing = httpRequest({
      agent,
      host: options.name ?? AGENT_NAME,
      method: question.method ?? 'GET',
      path: question.path ?? '/LabTech/Agent.aspx',
      headers: { host: options.name ?? AGENT_NAME, ...question.headers },
    })
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
    const { body } = question
    if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) outgoing.end(body)
    else body.pipe(outgoing)
    const [response] = await answered
    return response
  }
  return {
    connections: () => connections,
    begin,
    ask: async question => {
      const response = await begin(question)
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk as Buffer)
      const body = Buffer.concat(chunks)
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        body,
        text: body.toString('utf8'),
      }
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

/** Asks once over a connection of its own. */
export async function ask(
  gate: Pick<WholeGate, 'port' | 'directPort' | 'ca'>,
  question: Question = {},
  options: ClientOptions = {},
): Promise<Answer> {
  using own = client(gate, options)
  return await own.ask(question)
}
