// Measures heartbeats with real processes: through the tunnel of a connector, over a bad link, and the plain relay against nginx.
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { addKey } from '../src/access/edit.ts'
import { testAuthority } from '../test/support/certificates.ts'
import { openAgents, type Agents, type AgentsResult } from './load/udp-agents.ts'
import { adapted } from './peers/portcullis.ts'
import { note, print } from './report/print.ts'
import { judgeShort, type Bound } from './report/short.ts'
import { align } from './report/table.ts'
import { writeSharedFiles } from './stage/files.ts'
import { HOST, isInside, LOAD_CORE, PROXY_ADDRESS, PROXY_CORE, rerunInside } from './stage/namespace.ts'
import { startPinned, type Running } from './stage/processes.ts'
import { openSlowLink } from './stage/slow-link.ts'
import { cpuUse } from './stage/usage.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const USAGE =
  'usage: npm run bench:heartbeats -- [--seconds 10] [--agents 5000] [--only agents,flood,lossy,relay] [--short]\n' +
  '  --short  for CI: a few seconds of agents and relay, and an exit code; the goals have room for a busy machine'
const ROWS = ['agents', 'flood', 'lossy', 'relay'] as const
const KEY = 'benchmark key of one run'
const [GATE_TLS, GATE_UDP, PLAIN_UDP, ECHO, NGINX_UDP] = [9_443, 9_175, 9_176, 9_075, 9_177]
const FAR_ADDRESS = '8.8.4.7'
/** Datagrams of agents; as many answers come back. */
const FLOOD_PER_SECOND = 10_000
/** Datagrams of agents for the plain relay, which is compared by CPU per datagram there and back. */
const RELAY_PER_SECOND = 5_000

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    agents: { type: 'string', default: '5000' },
    only: { type: 'string' },
    short: { type: 'boolean', default: false },
  },
})
const isShort = values.short
const [seconds, count] = isShort ? [3, 1_000] : [Number(values.seconds), Number(values.agents)]
const wanted = (values.only ?? (isShort ? 'agents,relay' : ROWS.join())).split(',')
/** Datagrams of agents in a second: 5,000 agents send every five seconds. */
const agentsPerSecond = isShort ? 1_000 : count / 5
const bounds: Bound[] = []
if (!(seconds > 0 && count > 0) || wanted.some(row => !ROWS.some(known => known === row))) {
  note(USAGE)
  process.exit(2)
}
if (!isInside()) process.exit(await rerunInside(fileURLToPath(import.meta.url), process.argv.slice(2)))

const dir = process.env['PORTCULLIS_BENCH_NAMESPACE'] ?? ''
const files = await writeSharedFiles(dir)
const gate = await startGate()
const table: string[][] = [
  [
    'row',
    'answered',
    'lost',
    'p50 ms',
    'p99 ms',
    'gate % of a core',
    'other % of a core',
    'gate µs',
    'other µs',
  ],
]

if (wanted.includes('agents') || wanted.includes('flood')) {
  const echo = await startEcho([])
  const connector = await startConnector([], PROXY_ADDRESS)
  const agents = await opened(GATE_UDP, count)
  if (wanted.includes('agents'))
    await measure('tunnel, every agent each 5 s', agents, agentsPerSecond, connector)
  if (wanted.includes('flood'))
    await measure(`tunnel, ${FLOOD_PER_SECOND}/s there and back`, agents, FLOOD_PER_SECOND, connector)
  agents.close()
  await connector.stop()
  await echo.stop()
}
if (wanted.includes('lossy')) {
  try {
    const link = await openSlowLink(PROXY_ADDRESS, FAR_ADDRESS, 20, 5)
    const echo = await startEcho(link.prefix)
    const connector = await startConnector(link.prefix, PROXY_ADDRESS)
    const agents = await opened(GATE_UDP, count)
    await measure('tunnel over 40 ms and 5 % loss each way', agents, agentsPerSecond, connector)
    agents.close()
    await connector.stop()
    await echo.stop()
    link.close()
  } catch (error) {
    note(`  left out: ${error instanceof Error ? error.message : String(error)}`)
  }
}
if (wanted.includes('relay')) {
  const echo = await startEcho([])
  const relayed = await opened(PLAIN_UDP, 500)
  const own = await measure(`plain relay, ${RELAY_PER_SECOND} datagrams/s`, relayed, RELAY_PER_SECOND, gate)
  relayed.close()
  const nginx = await startNginx()
  if (nginx !== null) {
    const agents = await opened(NGINX_UDP, 500)
    const theirs = await measure('nginx stream, the same', agents, RELAY_PER_SECOND, nginx)
    agents.close()
    await nginx.stop()
    print(`plain relay: ${(own / theirs).toFixed(2)} x the CPU of nginx per datagram (goal: at most 3)`)
    bounds.push({ text: 'plain relay: CPU per datagram, nginx = 1', value: own / theirs, most: 3, unit: 'x' })
  }
  await echo.stop()
}
print(align(table))
await gate.stop()
process.exit(isShort ? judgeShort(bounds) : 0)

async function opened(port: number, agents: number): Promise<Agents> {
  const made = await openAgents(agents, PROXY_ADDRESS, port)
  // Opens every flow, and lets the compilers see the way.
  await made.run(Math.min(agents, 2_500), Math.ceil(agents / 2_500) + 1)
  await made.run(Math.min(10_000, agents * 2), 3)
  return made
}

/** Measures one row. Returns CPU nanoseconds per answered datagram of the other process. */
async function measure(title: string, agents: Agents, rate: number, other: Running): Promise<number> {
  const before = [cpuUse(gate.pid).runNs, cpuUse(other.pid).runNs]
  const startNs = process.hrtime.bigint()
  const result = await agents.run(rate, seconds)
  const wallNs = Number(process.hrtime.bigint() - startNs)
  const used = [gate, other].map(({ pid }, index) => cpuUse(pid).runNs - (before[index] ?? 0))
  const shares = used.map(ns => ((100 * ns) / wallNs).toFixed(1))
  const each = used.map(ns => (ns / 1e3 / result.answered).toFixed(1))
  table.push([title, ...words(result), ...shares, ...each])
  if (isShort && title.startsWith('tunnel')) {
    // 15 % of a core for the 1,000 in a second.
    for (const [index, who] of ['gate', 'connector'].entries())
      bounds.push({
        text: `tunnel: CPU per heartbeat, ${who}`,
        value: Number(each[index]),
        most: 150,
        unit: 'us',
      })
    const lost = (100 * (result.sent - result.answered)) / result.sent
    bounds.push({ text: 'tunnel: lost', value: lost, most: 0.5, unit: '%' })
  }
  note(`  ${table.at(-1)?.join(', ') ?? ''}`)
  return (used[1] ?? 0) / result.answered
}

function words({ sent, answered, p50Ms, p99Ms }: AgentsResult): readonly string[] {
  return [String(answered), String(sent - answered), p50Ms.toFixed(1), p99Ms.toFixed(1)]
}

async function startGate(): Promise<Running> {
  const policies = join(dir, 'policies')
  cpSync(join(ROOT, 'policies'), policies, { recursive: true })
  const file = join(policies, 'portcullis.yaml')
  const limits = 'flows: 40000, flowsPerSource: 40000, newFlows: 40000, newFlowsPerSource: 40000'
  const more = `
gateway: { connectors: { rmm: { key: bench } } }
heartbeats:
  tunnel: { address: '${PROXY_ADDRESS}:${GATE_UDP}', upstream: 'connector://rmm/echo', ${limits} }
  plain: { address: '${PROXY_ADDRESS}:${PLAIN_UDP}', upstream: '127.0.0.1:${ECHO}', ${limits} }
`
  const shipped = adapted(readFileSync(file, 'utf8'), GATE_TLS, { host: '127.0.0.1', port: 9 })
  writeFileSync(file, shipped + more)
  for (const [folder, name, from] of [
    ['certs', `${HOST}.crt`, files.certFile],
    ['certs', `${HOST}.key`, files.keyFile],
  ] as const) {
    mkdirSync(join(dir, folder), { recursive: true })
    copyFileSync(from, join(dir, folder, name))
  }
  mkdirSync(join(dir, 'var'), { recursive: true, mode: 0o700 })
  await addKey(join(dir, 'var/access.json'), KEY, { name: 'bench', maxClients: null }, Date.now())
  const log = join(dir, 'gate.log')
  return startPinned({
    argv: [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'src/main.ts'),
      'run',
      '--policy',
      policies,
    ],
    core: PROXY_CORE,
    cwd: dir,
    logFile: log,
    ready: async () => {
      await delay(200)
      return readFileSync(log, 'utf8').includes(String(PLAIN_UDP))
    },
  })
}

function startEcho(prefix: readonly string[]): Promise<Running> {
  const program = fileURLToPath(new URL('stage/udp-echo.ts', import.meta.url))
  return startPinned({
    argv: [...prefix, process.execPath, program, String(ECHO)],
    core: LOAD_CORE,
    logFile: join(dir, 'echo.log'),
    ready: async () => {
      await delay(800)
      return true
    },
  })
}

async function startConnector(prefix: readonly string[], address: string): Promise<Running> {
  const folder = join(dir, 'connector')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'gateway.key'), `${KEY}\n`)
  chmodSync(join(folder, 'gateway.key'), 0o600)
  writeFileSync(join(folder, 'ca.pem'), await testAuthority())
  writeFileSync(
    join(folder, 'connector.yaml'),
    JSON.stringify({
      version: 1,
      name: 'rmm',
      key: { file: 'gateway.key' },
      gates: [{ url: `https://${HOST}:${GATE_TLS}`, address, ca: 'ca.pem' }],
      services: { echo: { udp: `127.0.0.1:${ECHO}`, sources: 50_000 } },
    }),
  )
  const log = join(folder, 'log')
  writeFileSync(log, '')
  const config = join(folder, 'connector.yaml')
  return startPinned({
    argv: [
      ...prefix,
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'src/connector-main.ts'),
      'run',
      '--config',
      config,
    ],
    core: LOAD_CORE,
    logFile: log,
    ready: async () => {
      await delay(1_000)
      return readFileSync(log, 'utf8').includes('Attached')
    },
  })
}

/** nginx with its stream module in the same place; null: it is not installed. */
async function startNginx(): Promise<Running | null> {
  const module = '/usr/lib/nginx/modules/ngx_stream_module.so'
  if (!existsSync('/usr/sbin/nginx') || !existsSync(module)) {
    note('  nginx is left out: nginx with libnginx-mod-stream is not installed here')
    return null
  }
  const conf = join(dir, 'stream.conf')
  writeFileSync(
    conf,
    `load_module ${module};
daemon off; worker_processes 1; worker_rlimit_nofile 60000; pid ${join(dir, 'stream.pid')}; error_log stderr crit;
events { worker_connections 20000; }
stream { server { listen ${PROXY_ADDRESS}:${NGINX_UDP} udp; proxy_timeout 150s; proxy_pass 127.0.0.1:${ECHO}; } }
`,
  )
  return startPinned({
    argv: ['/usr/sbin/nginx', '-c', conf],
    core: PROXY_CORE,
    logFile: join(dir, 'nginx.log'),
    ready: async () => {
      await delay(500)
      return true
    },
  })
}
