// Compares Portcullis with other proxies in one run: rounds alternate over the peers, each pinned to one core.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { startBulkServer } from './load/bulk.ts'
import { parseOptions, USAGE, type Options } from './options.ts'
import { PEERS } from './peers/all.ts'
import type { Peer } from './peers/peer.ts'
import { otherCheckout } from './peers/portcullis.ts'
import { judge } from './report/goals.ts'
import { note, print } from './report/print.ts'
import type { Cell, PeerInfo, Result } from './report/result.ts'
import { SHORT_SLACK } from './report/short.ts'
import { betweenMarkers, markdownReport, textReport } from './report/table.ts'
import { ROWS, type Row, type Sample } from './rows.ts'
import { writeSharedFiles, type SharedFiles } from './stage/files.ts'
import { isInside, rerunInside } from './stage/namespace.ts'
import type { Running } from './stage/processes.ts'
import { negotiated, proveWork, startPeer } from './stage/start-peer.ts'
import { cpuUse } from './stage/usage.ts'
import { startHttpUpstream, startOwnUpstream } from './stage/upstream.ts'

const HTTP_UPSTREAM_PORT = 9_000
const WEBSOCKET_UPSTREAM_PORT = 9_001
const FIRST_PEER_PORT = 9_100
const WARM_CPU_NS = 5e9
const WARM_UP_TURNS = 8
const SHORT_WARM_UP_TURNS = 3
const RESULTS = fileURLToPath(new URL('results/', import.meta.url))
const DOCUMENT = fileURLToPath(new URL('../docs/performance.md', import.meta.url))

/** A peer that takes part. */
type Entrant = { readonly peer: Peer; readonly version: string; readonly port: number }

let options: Options
try {
  options = parseOptions(
    process.argv.slice(2),
    PEERS.map(peer => peer.id),
  )
} catch (error) {
  note(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
  process.exit(2)
}
if (!isInside()) {
  let worst = 0
  if (options.rows.length > 0)
    worst = await rerunInside(fileURLToPath(import.meta.url), process.argv.slice(2))
  for (const lab of options.labs) {
    note(`\n${lab} (npm run bench:${lab})`)
    const script = fileURLToPath(new URL(`${lab}.ts`, import.meta.url))
    const args = ['--disable-warning=ExperimentalWarning', script]
    const [code] = (await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit')) as [
      number | null,
    ]
    // A lab that misses a goal says so in its table; only one that could not run fails the whole.
    if (code === null || code > 1) worst ||= 1
  }
  process.exit(worst)
}

const dir = process.env['PORTCULLIS_BENCH_NAMESPACE'] ?? ''
const result = await compare(options, dir)
mkdirSync(RESULTS, { recursive: true })
const file = `${RESULTS}${result.date.replaceAll(':', '')}.tmp.json`
writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`)
print(options.json ? JSON.stringify(result) : textReport(result))
if (options.updateDocs) {
  writeFileSync(DOCUMENT, betweenMarkers(readFileSync(DOCUMENT, 'utf8'), markdownReport(result)))
}
if (!options.isShort) process.exit(0)
const missed = judge(result, SHORT_SLACK).filter(({ met }) => met === false)
for (const { text, reached } of missed) note(`beyond ${SHORT_SLACK} times its goal: ${text}: ${reached}`)
process.exit(missed.length === 0 ? 0 : 1)

/** Measures every chosen row for every chosen peer that is there. */
async function compare(chosen: Options, base: string): Promise<Result> {
  const skipped: Result['skipped'][number][] = []
  const entrants: Entrant[] = []
  const peers = chosen.base === null ? PEERS : [...PEERS, otherCheckout(chosen.base)]
  for (const [index, peer] of peers.entries()) {
    if (chosen.peers !== null && !chosen.peers.includes(peer.id)) continue
    const version = peer.version()
    if (version === undefined) skipped.push({ peer: peer.id, row: 'all', reason: 'not installed here' })
    else entrants.push({ peer, version, port: FIRST_PEER_PORT + index })
  }
  const files = await writeSharedFiles(base)
  const upstream = await startHttpUpstream(base, HTTP_UPSTREAM_PORT)
  const webSocketUpstream = await startOwnUpstream(base, WEBSOCKET_UPSTREAM_PORT)
  const bulkServer = chosen.rows.some(id => id.startsWith('stream-')) ? await startBulkServer(base) : null
  const infos = new Map<string, PeerInfo>()
  const rows: Result['rows'][number][] = []
  for (const row of ROWS.filter(entry => chosen.rows.includes(entry.id))) {
    const taking = entrants.filter(({ peer }) => {
      if (row.peers !== undefined && !row.peers.includes(peer.id)) return false
      if (row.peers === undefined && peer.rulesOnly === true) return false
      const reason = peer.leavesOut?.[row.id]
      if (reason !== undefined) skipped.push({ peer: peer.id, row: row.id, reason })
      return reason === undefined
    })
    note(row.title)
    const upstreamPort = row.id === 'websocket' ? WEBSOCKET_UPSTREAM_PORT : HTTP_UPSTREAM_PORT
    const cells = row.fresh
      ? await freshRounds(row, taking, { chosen, base, files, upstreamPort, skipped })
      : await alternatingRounds(row, taking, { chosen, base, files, upstreamPort, skipped, infos })
    const { id, title, unit, second } = row
    rows.push({ id, title, unit, second, cells })
  }
  await upstream.stop()
  await webSocketUpstream.stop()
  await bulkServer?.stop()
  return {
    date: `${new Date().toISOString().slice(0, 19)}Z`,
    machine: `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, Linux ${kernel()}`,
    upstream: upstream.description,
    seconds: chosen.seconds,
    rounds: chosen.rounds,
    webSockets: chosen.webSockets,
    ratePerSecond: chosen.ratePerSecond,
    quick: chosen.seconds < 4,
    peers: entrants.map(
      ({ peer, version }) =>
        infos.get(peer.id) ?? { id: peer.id, version, work: peer.work, tls: 'TLS not probed' },
    ),
    skipped,
    rows,
  }
}

/** Compilers work by use, not by the clock: on a busy machine a process may get little of its core. */
function isWarm(pid: number): boolean {
  return cpuUse(pid).runNs >= WARM_CPU_NS
}

type RowSetting = {
  readonly skipped: Result['skipped'][number][]
  readonly chosen: Options
  readonly base: string
  readonly files: SharedFiles
  readonly upstreamPort: number
}

/** All peers run from the start and are warmed up; then round after round each is measured once. */
async function alternatingRounds(
  row: Row,
  entrants: readonly Entrant[],
  setting: RowSetting & { readonly infos: Map<string, PeerInfo> },
): Promise<Cell[]> {
  const running: { readonly entrant: Entrant; readonly process: Running; readonly samples: Sample[] }[] = []
  for (const entrant of entrants) {
    const { peer, port, version } = entrant
    const process = await started(row, entrant, setting)
    if (process === null) continue
    running.push({ entrant, process, samples: [] })
    if (!setting.infos.has(peer.id)) {
      const tls = await negotiated(port, setting.base)
      setting.infos.set(peer.id, { id: peer.id, version, work: peer.work, tls })
    }
  }
  const contextOf = ({ entrant, process }: (typeof running)[number], round: number) => ({
    ...setting.chosen,
    pid: process.pid,
    port: entrant.port,
    dir: setting.base,
    round,
  })
  const turns = setting.chosen.isShort ? SHORT_WARM_UP_TURNS : WARM_UP_TURNS
  for (const one of running) {
    for (let turn = 0; turn < turns && !isWarm(one.process.pid); turn++) {
      const sample = await (row.warmUp ?? row.measure)(contextOf(one, 0))
      note(`  warm-up ${one.entrant.peer.id} ${describe(sample)}`)
    }
  }
  for (let round = 1; round <= setting.chosen.rounds; round++) {
    for (const one of running) {
      const sample = await row.measure(contextOf(one, round))
      one.samples.push(sample)
      note(`  round ${round} ${one.entrant.peer.id} ${describe(sample)}`)
    }
  }
  for (const { process } of running) await process.stop()
  return running.map(({ entrant, samples }) => ({ peer: entrant.peer.id, samples }))
}

/** Every measurement gets a newly started process: memory remembers what came before. */
async function freshRounds(row: Row, entrants: readonly Entrant[], setting: RowSetting): Promise<Cell[]> {
  const samples = new Map(entrants.map(({ peer }) => [peer.id, [] as Sample[]]))
  for (let round = 1; round <= setting.chosen.rounds; round++) {
    for (const entrant of entrants) {
      const { peer, port } = entrant
      const process = await started(row, entrant, setting)
      if (process === null) continue
      const context = { ...setting.chosen, pid: process.pid, port, dir: setting.base, round }
      const sample = await row.measure(context)
      samples.get(peer.id)?.push(sample)
      note(`  round ${round} ${peer.id} ${describe(sample)}`)
      await process.stop()
    }
  }
  return [...samples].filter(([, list]) => list.length > 0).map(([peer, list]) => ({ peer, samples: list }))
}

/** Starts a peer, or notes why it does not take part in the row. */
async function started(row: Row, { peer, port }: Entrant, setting: RowSetting): Promise<Running | null> {
  try {
    const process = await startPeer(peer, { ...setting, dir: setting.base, port })
    try {
      await proveWork(peer, port)
    } catch (error) {
      await process.stop()
      throw error
    }
    return process
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    note(`  ${peer.id}: ${reason.slice(0, 600)}`)
    setting.skipped.push({
      peer: peer.id,
      row: row.id,
      reason: /(?:ALERT|Error).*/.exec(reason)?.[0] ?? reason,
    })
    return null
  }
}

function describe(sample: Sample): string {
  return `${sample.value.toFixed(2)} (${sample.second.toFixed(0)}, busy ${sample.busy.toFixed(2)}, failed ${sample.failed})`
}

function kernel(): string {
  return readFileSync('/proc/sys/kernel/osrelease', 'latin1').trim()
}
