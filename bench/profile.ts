// Profiles a Node peer under the load of one row and prints where its CPU time goes.
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startBulkServer } from './load/bulk.ts'
import { PEERS } from './peers/all.ts'
import { filesBySelfTime, functionsBySelfTime, type SelfTime } from './report/self-time.ts'
import { note, print } from './report/print.ts'
import { align } from './report/table.ts'
import { ROWS } from './rows.ts'
import { writeSharedFiles } from './stage/files.ts'
import { INSPECTOR_ARGS, openInspector } from './stage/inspector.ts'
import { isInside, rerunInside } from './stage/namespace.ts'
import { threadUse } from './stage/usage.ts'
import { startPeer } from './stage/start-peer.ts'
import { startHttpUpstream } from './stage/upstream.ts'

const USAGE = 'usage: node bench/profile.ts [--row get] [--peer portcullis] [--seconds 5] [--top 30]'
const UPSTREAM_PORT = 9_000
const PEER_PORT = 9_100
const RESULTS = fileURLToPath(new URL('results/', import.meta.url))

const { values } = parseArgs({
  options: {
    row: { type: 'string', default: 'get' },
    peer: { type: 'string', default: 'portcullis' },
    seconds: { type: 'string', default: '5' },
    top: { type: 'string', default: '30' },
  },
})
const peer = PEERS.find(entry => entry.id === values.peer && ['portcullis', 'http-proxy'].includes(entry.id))
const row = ROWS.find(entry => entry.id === values.row && !entry.fresh)
if (peer === undefined || row === undefined) {
  note(`${USAGE}\nonly peers that run on Node can be profiled: portcullis, http-proxy`)
  process.exit(2)
}
if (!isInside()) process.exit(await rerunInside(fileURLToPath(import.meta.url), process.argv.slice(2)))

const dir = process.env['PORTCULLIS_BENCH_NAMESPACE'] ?? ''
const files = await writeSharedFiles(dir)
const upstream = await startHttpUpstream(dir, UPSTREAM_PORT)
const bulkServer = row.id.startsWith('stream-') ? await startBulkServer(dir) : null
const running = await startPeer(peer, {
  dir,
  files,
  port: PEER_PORT,
  upstreamPort: UPSTREAM_PORT,
  nodeArgs: INSPECTOR_ARGS,
})
const context = { pid: running.pid, port: PEER_PORT, dir, round: 0, webSockets: 0, ratePerSecond: 333 }
await row.measure({ ...context, seconds: 3 })
const threadsBefore = threadUse(running.pid)
const plain = await row.measure({ ...context, seconds: Number(values.seconds) })
const threads = [...threadUse(running.pid)]
  .map(([name, ns]) => ({ name, ms: (ns - (threadsBefore.get(name) ?? 0)) / 1e6 }))
  .filter(thread => thread.ms >= 1)
const inspector = await openInspector()
const profile = await inspector.profile(() => row.measure({ ...context, seconds: Number(values.seconds) }))
inspector.close()
await running.stop()
await upstream.stop()
await bulkServer?.stop()
mkdirSync(RESULTS, { recursive: true })
const file = `${RESULTS}${peer.id}-${row.id}.tmp.cpuprofile`
writeFileSync(file, JSON.stringify(profile))
print(
  `${row.title}: ${plain.value.toFixed(1)} ${row.unit}, ${plain.second.toFixed(0)} ${row.second} (not profiled)`,
)
print(`threads: ${threads.map(thread => `${thread.name} ${thread.ms.toFixed(0)} ms`).join(', ')}`)
print(`\n${table(functionsBySelfTime(profile).slice(0, Number(values.top)))}`)
print(`\n${table(filesBySelfTime(profile).slice(0, 20))}`)
print(`\nprofile: bench/results/${peer.id}-${row.id}.tmp.cpuprofile`)
process.exit(0)

function table(times: readonly SelfTime[]): string {
  return align(times.map(({ name, ms, share }) => [name, ms.toFixed(0), `${(share * 100).toFixed(1)} %`]))
}
