// Runs mixed traffic for minutes, with reloads, and says whether memory, heap or handles grow.
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startMixedTraffic } from './load/mixed.ts'
import { PEERS } from './peers/all.ts'
import { judgeGrowth } from './report/growth.ts'
import { note, print } from './report/print.ts'
import { align } from './report/table.ts'
import { writeSharedFiles } from './stage/files.ts'
import { INSPECTOR_ARGS, openInspector } from './stage/inspector.ts'
import { isInside, rerunInside } from './stage/namespace.ts'
import { startPeer } from './stage/start-peer.ts'
import { startOwnUpstream } from './stage/upstream.ts'
import { openHandles, residentBytes } from './stage/usage.ts'

const USAGE = `usage: npm run soak -- [--minutes 10] [--short] [--peer portcullis]
  --short   20 s, for CI: finds only gross growth`
const UPSTREAM_PORT = 9_000
const PEER_PORT = 9_100
const SAMPLES = 40
/** Growth per minute, as a share of the mean, that passes. A process is still finding its size in the first seconds. */
const TOLERANCE = 0.002
const SHORT_TOLERANCE = 0.4
/** Ceiling of the short form: long runs of this load settle at about 210 MB. */
const SHORT_RESIDENT_BYTES = 260e6
/** Handles above the idle state that may be left after the load: pooled upstream connections have been seen by then. */
const HANDLE_SLACK = 4

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    short: { type: 'boolean', default: false },
    peer: { type: 'string', default: 'portcullis' },
  },
})
const minutes = values.short ? 1 / 3 : Number(values.minutes)
const peer = PEERS.find(entry => entry.id === values.peer)
if (peer === undefined || !(minutes > 0)) {
  note(USAGE)
  process.exit(2)
}
if (!isInside()) process.exit(await rerunInside(fileURLToPath(import.meta.url), process.argv.slice(2)))

const onNode = ['portcullis', 'http-proxy'].includes(peer.id)
const dir = process.env['PORTCULLIS_BENCH_NAMESPACE'] ?? ''
const files = await writeSharedFiles(dir)
const upstream = await startOwnUpstream(dir, UPSTREAM_PORT)
const running = await startPeer(peer, {
  dir,
  files,
  port: PEER_PORT,
  upstreamPort: UPSTREAM_PORT,
  nodeArgs: onNode ? INSPECTOR_ARGS : [],
})
const inspector = onNode ? await openInspector() : null
const idleHandles = openHandles(running.pid)
const traffic = startMixedTraffic(PEER_PORT)
const startMs = performance.now()
const series = {
  heap: [] as [number, number][],
  resident: [] as [number, number][],
  handles: [] as [number, number][],
}
let reloads = 0

for (let sample = 1; sample <= SAMPLES; sample++) {
  await delay(Math.max(0, (minutes * 60_000 * sample) / SAMPLES - (performance.now() - startMs)))
  const minute = (performance.now() - startMs) / 60_000
  if (inspector !== null) series.heap.push([minute, await inspector.heapAfterCollection()])
  series.resident.push([minute, residentBytes(running.pid)])
  series.handles.push([minute, openHandles(running.pid)])
  if (peer.id === 'portcullis') {
    process.kill(running.pid, 'SIGHUP')
    reloads++
  }
  if (sample % 4 === 0) note(describeSample(minute))
}
await traffic.stop()
const leftHandles = await settledHandles(running.pid)

const tolerance = values.short ? SHORT_TOLERANCE : TOLERANCE
const growths = [
  ...(inspector === null ? [] : [judgeGrowth('heap after collection, kB', kilo(series.heap), { tolerance })]),
  // In 20 s a process has not yet got the memory that it will keep, so its slope says nothing: a ceiling holds instead.
  ...(values.short && inspector !== null
    ? []
    : [judgeGrowth('resident, kB', kilo(series.resident), { tolerance })]),
  judgeGrowth('handles', series.handles, { tolerance }),
]
const { counts } = traffic
print(
  align([
    ['quantity', 'after warm-up', 'at the end', 'growth per minute', ''],
    ...growths.map(growth => [
      growth.name,
      growth.first.toFixed(0),
      growth.last.toFixed(0),
      `${growth.perMinute.toFixed(1)} ± ${growth.error.toFixed(1)}`,
      growth.grows ? '✗ grows' : '✓',
    ]),
  ]),
)
print(
  `${counts.checkIns} check-ins, ${counts.connections} connections, ${counts.webSockets} WebSockets, ${counts.aborts} aborts, ${reloads} reloads, ${counts.failures} failures${counts.failures === 0 ? '' : ` (last: ${counts.lastFailure})`}`,
)
const handlesBack = leftHandles <= idleHandles + HANDLE_SLACK
print(`handles: ${idleHandles} before, ${leftHandles} after the load ${handlesBack ? '✓' : '✗'}`)
const residentEnd = series.resident.at(-1)?.[1] ?? 0
const withinCeiling = !values.short || inspector === null || residentEnd <= SHORT_RESIDENT_BYTES
if (values.short)
  print(`resident at the end: ${(residentEnd / 1e6).toFixed(0)} MB ${withinCeiling ? '✓' : '✗'}`)
inspector?.close()
await running.stop()
await upstream.stop()
process.exit(
  counts.failures === 0 && handlesBack && withinCeiling && !growths.some(growth => growth.grows) ? 0 : 1,
)

function describeSample(minute: number): string {
  const last = (list: readonly [number, number][]) => list.at(-1)?.[1] ?? 0
  const { checkIns, failures } = traffic.counts
  return `${minute.toFixed(1)} min: heap ${(last(series.heap) / 1e6).toFixed(1)} MB, resident ${(last(series.resident) / 1e6).toFixed(1)} MB, ${last(series.handles)} handles, ${checkIns} check-ins, ${failures} failures`
}

/** Idle upstream connections time out by and by: waits up to 30 s for the handles to return. */
async function settledHandles(pid: number): Promise<number> {
  for (let waited = 0; waited < 60 && openHandles(pid) > idleHandles + HANDLE_SLACK; waited++)
    await delay(500)
  return openHandles(pid)
}

function kilo(points: readonly (readonly [number, number])[]): [number, number][] {
  return points.map(([minute, bytes]) => [minute, bytes / 1e3])
}
