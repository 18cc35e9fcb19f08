// Measures what stored events cost traffic: rounds with and without 5,000 events/s alternate on one gate under full load.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openReadOnly } from '../src/journal/store-database.ts'
import { storeFile } from '../src/journal/store-file.ts'
import { wrk } from './load/wrk.ts'
import { portcullis } from './peers/portcullis.ts'
import { note, print } from './report/print.ts'
import { SHORT_SLACK } from './report/short.ts'
import { median } from './report/statistics.ts'
import { align } from './report/table.ts'
import { writeSharedFiles } from './stage/files.ts'
import { isInside, rerunInside } from './stage/namespace.ts'
import { startPeer } from './stage/start-peer.ts'
import { startHttpUpstream } from './stage/upstream.ts'
import { threadUse } from './stage/usage.ts'

const USAGE = 'usage: npm run bench:journal -- [--rate 5000] [--rounds 6] [--seconds 5] [--short]'
const UPSTREAM_PORT = 9_000
const PORT = 9_100
const GOAL = 0.05

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '5' },
    // For CI: less of it, and the goal has room for a busy machine.
    short: { type: 'boolean', default: false },
  },
})
const rate = Number(values.rate)
const [rounds, seconds] = values.short ? [3, 1] : [Number(values.rounds), Number(values.seconds)]
if (!(rate > 0 && rounds > 0 && seconds > 0)) {
  note(USAGE)
  process.exit(2)
}
if (!isInside()) process.exit(await rerunInside(fileURLToPath(import.meta.url), process.argv.slice(2)))

const dir = process.env['PORTCULLIS_BENCH_NAMESPACE'] ?? ''
const files = await writeSharedFiles(dir)
const upstream = await startHttpUpstream(dir, UPSTREAM_PORT)
const child = fileURLToPath(new URL('stage/gate-with-events.ts', import.meta.url))
let stageDir = ''
const running = await startPeer(
  {
    ...portcullis,
    prepare: async stage => {
      await portcullis.prepare(stage)
      stageDir = stage.dir
      const policies = join(stage.dir, 'policies')
      return {
        argv: [process.execPath, '--disable-warning=ExperimentalWarning', child, policies, String(rate)],
        cwd: stage.dir,
      }
    },
  },
  { dir, files, port: PORT, upstreamPort: UPSTREAM_PORT },
)

type Round = { readonly perSecond: number; readonly mainShare: number; readonly mainUs: number }
const quiet: Round[] = []
const loud: Round[] = []
let loudMs = 0
for (let round = 0; round <= rounds; round++) {
  // The first pair warms up and does not count.
  for (const [kind, into] of [['quiet', quiet] as const, ['loud', loud] as const]) {
    if (kind === 'loud') process.kill(running.pid, 'SIGUSR2')
    const startMs = performance.now()
    const measured = await load()
    if (kind === 'loud') {
      process.kill(running.pid, 'SIGUSR2')
      loudMs += performance.now() - startMs
    }
    if (round > 0) into.push(measured)
    note(
      `${kind}: ${measured.perSecond.toFixed(0)} requests/s, main thread ${measured.mainUs.toFixed(1)} us each`,
    )
    await delay(values.short ? 700 : 1_500)
  }
}
const log = readFileSync(join(stageDir, 'log'), 'utf8')
const stored = countStored()
await running.stop()
await upstream.stop()

const reported = (loudMs / 1_000) * rate
const ratio = pairs((before, after) => after.mainUs / before.mainUs)
const throughput = pairs((before, after) => after.perSecond / before.perSecond)
const lost = log.includes('journal.dropped')
// On a busy machine fewer are made; what was made is stored or counted as dropped.
const all = stored >= reported * (values.short ? 1 / SHORT_SLACK : 0.98) && !lost
const met = ratio - 1 <= GOAL * (values.short ? SHORT_SLACK : 1)
print(
  align([
    ['quantity', 'without', `${rate} events/s`, 'ratio'],
    [
      'main thread per request, us',
      middle(quiet, 'mainUs'),
      middle(loud, 'mainUs'),
      `${ratio.toFixed(3)} ${met ? '✓' : '✗'}`,
    ],
    ['requests/s', middle(quiet, 'perSecond'), middle(loud, 'perSecond'), throughput.toFixed(3)],
  ]),
)
print(`${stored} events stored of about ${reported.toFixed(0)}${lost ? ', some were dropped ✗' : ''}`)
process.exit(met && all ? 0 : 1)

async function load(): Promise<Round> {
  const before = mainThreadNs()
  const started = performance.now()
  const { requests, seconds: took } = await wrk('get', { port: PORT, seconds, connections: 32, dir })
  const usedNs = mainThreadNs() - before
  const wallNs = (performance.now() - started) * 1e6
  return { perSecond: requests / took, mainShare: usedNs / wallNs, mainUs: usedNs / 1e3 / requests }
}

function mainThreadNs(): number {
  for (const [name, ns] of threadUse(running.pid)) if (name.endsWith(` ${running.pid}`)) return ns
  return 0
}

function countStored(): number {
  const database = openReadOnly(storeFile(join(stageDir, 'var')))
  try {
    return Number(
      database.prepare("SELECT sum(count) AS n FROM event_count WHERE name = 'upstream.switched'").get()?.[
        'n'
      ] ?? 0,
    )
  } finally {
    database.close()
  }
}

function pairs(of: (before: Round, after: Round) => number): number {
  return median(
    quiet.flatMap((before, index) => {
      const after = loud[index]
      return after === undefined ? [] : [of(before, after)]
    }),
  )
}

function middle(list: readonly Round[], key: keyof Round): string {
  return median(list.map(round => round[key])).toFixed(key === 'perSecond' ? 0 : 1)
}
