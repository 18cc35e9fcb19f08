// A gate that reports events of its own on request, for bench/journal.ts: SIGUSR2 starts and stops them.
import { mkdirSync } from 'node:fs'
import { startPortcullis } from '../../src/compose.ts'
import { createLineSink, descriptorWriter } from '../../src/journal/line-sink.ts'
import { EVENT_SAMPLES } from '../../test/support/event-samples.ts'

const TICK_MS = 5
const [policyDirectory = '', perSecond = '5000'] = process.argv.slice(2)
mkdirSync(policyDirectory, { recursive: true })
const portcullis = await startPortcullis({
  policyDirectory,
  version: 'bench',
  platform: process.platform,
  pid: process.pid,
  standardLines: createLineSink(descriptorWriter(1)),
  clock: Date.now,
  memory: () => ({ rssBytes: process.memoryUsage.rss(), heapBytes: 0 }),
  watch: false,
})

// An event of the gate itself: those that clients cause are limited long before this rate.
const fields = EVENT_SAMPLES['upstream.switched']
let timer: NodeJS.Timeout | null = null
process.on('SIGUSR2', () => {
  if (timer !== null) {
    clearInterval(timer)
    timer = null
    return
  }
  const startMs = performance.now()
  let reported = 0
  timer = setInterval(() => {
    // A late tick catches up: the rate is what is promised, not the interval.
    const due = ((performance.now() - startMs) / 1_000) * Number(perSecond)
    for (; reported < due; reported++)
      portcullis.reporter.report('upstream.switched', { ...fields, why: `${fields.why} ${reported}` })
  }, TICK_MS)
})
process.on('SIGTERM', () => void portcullis.stop().then(() => process.exit(0)))
