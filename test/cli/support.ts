// A gate in this process with a throw-away policy, a practice RMM behind it, real clients before it, and the command line beside it.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Writable } from 'node:stream'
import { parse, stringify } from 'yaml'
import { runCommandLine } from '../../src/cli/command-line.ts'
import type { CommandContext } from '../../src/cli/command.ts'
import type { InputStream } from '../../src/cli/secrets.ts'
import { Terminal } from '../../src/cli/terminal.ts'
import { startPortcullis, type Portcullis } from '../../src/compose.ts'
import type { TlsVersion } from '../../src/net/tls-version.ts'
import { dial } from '../../src/practice/agent-dial.ts'
import { startPracticeRmm, type PracticeRmm } from '../../src/practice/rmm.ts'
import { testAuthority, testCertificate } from '../support/certificates.ts'

/** The checkout. */
export const ROOT = resolve(import.meta.dirname, '../..')
/** The name that the gate serves. */
export const HOST = 'rmm.example.test'
/** A name that it has a certificate for, but does not serve yet. */
export const OTHER_HOST = 'old.example.test'

/** Where things are said that must be put away in the end: a test, or what many tests share. */
export type Owner = { readonly teardown: (put: () => void | Promise<void>) => void }

/** What a command left behind. */
export type CliResult = { readonly code: number; readonly out: string; readonly err: string }

/** How a command is run. */
export type CliOptions = {
  readonly columns?: number
  readonly colour?: boolean
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly root?: string
  readonly input?: InputStream
  readonly output?: Writable
  /** Stops the command as Ctrl+C would. */
  readonly stop?: AbortSignal
  /** Sees what the command prints as it is printed. */
  readonly onOutput?: (text: string) => void
}

/** What a client got: a status, or the code of the error that ended it. */
export type ClientResult = { readonly status: number; readonly body: string } | { readonly error: string }

/** How a client asks. */
export type Ask = {
  readonly path?: string
  readonly method?: string
  readonly host?: string
  readonly serverName?: string
  readonly tls?: TlsVersion
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** False: do not wait for the end of all connections afterwards. */
  readonly settle?: boolean
}

/** Everything of one test. */
export type Bench = {
  /** Root of the throw-away checkout; policies/ is below it. */
  readonly root: string
  readonly cli: (words: readonly string[], options?: CliOptions) => Promise<CliResult>
  readonly json: (words: readonly string[]) => Promise<{ readonly code: number; readonly value: Json }>
  /** Moves the clock of gate and commands on. */
  readonly advance: (ms: number) => void
  readonly nowMs: () => number
  readonly policyText: () => string
  readonly writePolicy: (text: string) => void
  /** Merges YAML into the policy file the way a person would: blocks are joined, lists get longer. */
  readonly mergePolicy: (yaml: string) => void
}

/** A bench whose gate runs. */
export type RunningBench = Bench & {
  readonly portcullis: Portcullis
  readonly practice: PracticeRmm
  readonly port: number
  /** PEM file of the authority that signed the certificates of the gate. */
  readonly authorityFile: string
  /** Asks through the gate as a client with this public address (over a PROXY header of a load balancer). */
  readonly ask: (source: string, ask?: Ask) => Promise<ClientResult>
  /** Connects as this source, sends the bytes and waits for the end. */
  readonly send: (source: string, bytes: string | null) => Promise<string>
  /** Resolves when no connection is open any more: everything about it has then been reported. */
  readonly settled: () => Promise<void>
}

/** Parsed JSON of which a test asks what it expects. */
export type Json = Readonly<Record<string, unknown>>

// Loading the shipped packs with all their own tests takes longer than a whole situation; one rule is enough here.
const RULES = `pack: generic
rules:
  - id: windows-file
    title: File of the Windows system asked for
    severity: high
    refs: [CWE-22]
    when: { in: args, has: win.ini }
    tests: { fires: ['GET /x?file=../../windows/win.ini'], quiet: ['GET /x?file=report.pdf'] }
`

/** A policy that is complete; `more` is merged into it. */
export function policyFor(upstream: string, admin: string, more = ''): string {
  const base = parse(`
version: 1
home: [US]
model: all-traffic
profile: connectwise-automate
listeners:
  https: { address: '127.0.0.1:0', loadBalancers: [127.0.0.1] }
names:
  ${HOST}: { upstream: rmm }
upstreams:
  rmm: { primary: '${upstream}', returnAfter: 1s }
rules: { packs: [generic] }
admin: { address: '${admin}' }
`) as Json
  return stringify(merged(base, more === '' ? {} : (parse(more) as Json)))
}

/** A policy directory without a gate. */
export function startBench(t: Owner, more = '', upstream = 'http://127.0.0.1:9'): Bench {
  const root = mkdtempSync(join(tmpdir(), 'portcullis cli-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  const policies = join(root, 'policies')
  for (const folder of ['profiles', 'rules']) mkdirSync(join(policies, folder), { recursive: true })
  const profile = 'profiles/connectwise-automate.yaml'
  cpSync(join(ROOT, 'policies', profile), join(policies, profile))
  writeFileSync(join(policies, 'rules/generic.yaml'), RULES)
  const file = join(policies, 'portcullis.yaml')
  // An address of its own out of 16 million, so that benches of all test files can run at once.
  const admin = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}:9090`
  writeFileSync(file, policyFor(upstream, admin, more))
  let offsetMs = 0
  const nowMs = (): number => Date.now() + offsetMs
  const cli: Bench['cli'] = async (words, options = {}) => {
    const out: string[] = []
    const err: string[] = []
    const width = options.columns === undefined ? {} : { columns: options.columns }
    const context: CommandContext = {
      terminal: new Terminal(
        {
          write: text => {
            out.push(text)
            options.onOutput?.(text)
          },
          ...width,
        },
        { write: text => err.push(text) },
        { colour: options.colour ?? false },
      ),
      env: options.env ?? {},
      cwd: options.cwd ?? root,
      root: options.root ?? root,
      nowMs,
      pid: process.pid,
      platform: 'test',
      user: 'tester',
      isTerminal: false,
      execArgv: [],
      ...(options.input === undefined ? {} : { input: options.input }),
      memory: () => ({ rssBytes: 1, heapBytes: 1 }),
      ...(options.output === undefined ? {} : { output: options.output }),
      onSignal: listener => {
        const stop = (): void => listener('stop')
        options.stop?.addEventListener('abort', stop, { once: true })
        return () => options.stop?.removeEventListener('abort', stop)
      },
    }
    const code = await runCommandLine(words, context)
    return { code, out: out.join(''), err: err.join('') }
  }
  return {
    root,
    cli,
    json: async words => {
      const { code, out, err } = await cli([...words, '--json'])
      if (out === '') throw new Error(err)
      return { code, value: JSON.parse(out) as Json }
    },
    advance: ms => {
      offsetMs += ms
    },
    nowMs,
    policyText: () => readFileSync(file, 'utf8'),
    writePolicy: text => writeFileSync(file, text),
    mergePolicy: yaml =>
      writeFileSync(file, stringify(merged(parse(readFileSync(file, 'utf8')) as Json, parse(yaml) as Json))),
  }
}

/** Starts a practice RMM and a gate; both are gone after the test. */
export async function startRunningBench(t: Owner, more = ''): Promise<RunningBench> {
  const practice = await startPracticeRmm()
  t.teardown(() => practice.stop())
  const bench = startBench(t, more, practice.url)
  mkdirSync(join(bench.root, 'certs'))
  const { cert, key } = await testCertificate([HOST, OTHER_HOST])
  for (const host of [HOST, OTHER_HOST]) {
    writeFileSync(join(bench.root, `certs/${host}.crt`), cert)
    writeFileSync(join(bench.root, `certs/${host}.key`), key)
  }
  const portcullis = await startGate(t, bench)
  const port = portcullis.gate.addresses()[0]?.port ?? 0
  const authority = await testAuthority()
  const authorityFile = join(bench.root, 'authority.crt')
  writeFileSync(authorityFile, authority)
  const connectAs = (source: string, ask: Ask): Promise<{ readonly socket: Socket }> => {
    const serverName = ask.serverName ?? HOST
    return dial(
      { protocol: 'https', host: serverName, port },
      {
        proxySource: source,
        resolve: () => ({ host: '127.0.0.1', port }),
        ca: authority,
        ...(ask.tls === undefined ? {} : { tls: { min: ask.tls, max: ask.tls } }),
      },
      AbortSignal.timeout(10_000),
    )
  }
  const settled = async (): Promise<void> => {
    const isOpen = (): boolean => Object.values(portcullis.gate.counts()).some(count => count > 0)
    while (isOpen()) await new Promise(setImmediate)
  }
  return {
    ...bench,
    portcullis,
    practice,
    port,
    authorityFile,
    settled,
    ask: async (source, ask = {}) => {
      try {
        const { socket } = await connectAs(source, ask)
        try {
          return await exchange(socket, ask)
        } finally {
          socket.destroy()
          if (ask.settle !== false) await settled()
        }
      } catch (error) {
        if (ask.settle !== false) await settled()
        return { error: (error as NodeJS.ErrnoException).code ?? String(error) }
      }
    },
    send: async (source, bytes) => {
      const socket = connect({ host: '127.0.0.1', port })
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      const parts: Buffer[] = []
      socket.on('data', (chunk: Buffer) => parts.push(chunk))
      const header = `PROXY TCP4 ${source} 127.0.0.1 ${socket.localPort ?? 0} ${port}\r\n`
      if (bytes === null) socket.end(header)
      else socket.write(header + bytes)
      if (!socket.closed) await once(socket, 'close')
      await settled()
      return Buffer.concat(parts).toString('latin1')
    },
  }
}

/** Starts a gate on the policy of a bench. */
export async function startGate(t: Owner, bench: Bench): Promise<Portcullis> {
  const portcullis = await startPortcullis({
    policyDirectory: join(bench.root, 'policies'),
    version: 'test',
    platform: 'test',
    pid: process.pid,
    standardLines: {
      write: () => undefined,
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
      takeDropped: () => ({ lines: 0, why: '' }),
    },
    clock: bench.nowMs,
    memory: () => ({ rssBytes: 1, heapBytes: 1 }),
    watch: false,
  })
  t.teardown(() => portcullis.stop())
  return portcullis
}

async function exchange(socket: Socket, ask: Ask): Promise<ClientResult> {
  const outgoing = request({
    createConnection: () => socket,
    method: ask.method ?? 'GET',
    path: ask.path ?? '/LabTech/Agent.aspx',
    headers: {
      host: ask.host ?? HOST,
      connection: 'close',
      ...(ask.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(ask.body)) }),
      ...ask.headers,
    },
  })
  outgoing.end(ask.body)
  const failed = once(outgoing, 'error').then(([error]) => Promise.reject(error as Error))
  const [response] = (await Promise.race([once(outgoing, 'response'), failed])) as [IncomingMessage]
  outgoing.on('error', () => undefined)
  const parts: Buffer[] = []
  for await (const chunk of response) parts.push(chunk as Buffer)
  return { status: response.statusCode ?? 0, body: Buffer.concat(parts).toString('utf8') }
}

/** Blocks joined, lists made longer, everything else replaced. */
export function merged(base: unknown, more: unknown): unknown {
  if (Array.isArray(base) && Array.isArray(more)) return [...(base as unknown[]), ...(more as unknown[])]
  if (!isBlock(base) || !isBlock(more)) return more
  const out: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(more)) out[key] = key in base ? merged(base[key], value) : value
  return out
}

function isBlock(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
