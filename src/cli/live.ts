// diagnose --live: watches sources while somebody there tries again, says in plain words what comes, and ends with the verdict.
import { diagnose } from '../diagnose/diagnosis.ts'
import { sentenceOfRow } from '../journal/catalogue.ts'
import { escapeControls } from '../journal/redact.ts'
import type { LedgerRow } from '../journal/ledger-facts.ts'
import type { StoreReader } from '../journal/store-core.ts'
import { parseCidr } from '../net/cidr.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { printFinding } from './diagnosis-report.ts'
import { openSurroundings } from './evidence.ts'
import { formatSpan, formatTime, parseDuration } from './format.ts'
import { openStore, requireGate } from './gate-access.ts'
import type { Target } from './subjects.ts'

const POLL_MS = 700
const DEFAULT_FOR = '15m'
const MAX_LINES_PER_POLL = 40
const HOUR_MS = 3_600_000

type Said = {
  readonly atMs: number
  readonly mark: '✓' | '✗' | '·'
  readonly source: string
  readonly text: string
}

/**
 * Watches until Ctrl-C or the end of `--for`. What comes is read from the store every moment, after the gate was asked to
 * write it down: the watch costs live traffic nothing.
 * @returns the exit code: 0 when every source is well in the end
 */
export async function watchLive(
  targets: readonly Target[],
  snapshot: Snapshot,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  const spanMs = parseDuration(args.text('for') ?? DEFAULT_FOR)
  if (spanMs === undefined || spanMs === 0)
    throw usageError(`"${args.text('for') ?? ''}" is not a time`, 'Write 90s, 15m or 2h.')
  const endMs = context.nowMs() + spanMs
  const stop = new AbortController()
  const unlisten = context.onSignal(() => stop.abort())
  await requireGate(snapshot, 'POST', '/v1/flush')
  const store = openStore(snapshot)
  const watch = createWatch(store, targets, context.nowMs())
  const json = args.flag('json')
  if (!json) {
    terminal.print(
      terminal.wrap(
        `Watching ${namesOf(targets)} for ${formatSpan(spanMs)}. Let the client try now; Ctrl-C ends this with the verdict.`,
      ),
    )
  }
  try {
    for (;;) {
      const isLast = stop.signal.aborted || context.nowMs() >= endMs
      await requireGate(snapshot, 'POST', '/v1/flush')
      for (const said of watch.next(context.nowMs())) {
        if (json) terminal.json(said)
        else printLine(said, targets.length > 1, context)
      }
      if (isLast) break
      await pause(POLL_MS, stop.signal)
    }
  } finally {
    unlisten()
    store?.close()
  }
  return verdicts(targets, snapshot, args, context)
}

function namesOf(targets: readonly Target[]): string {
  const names = targets.slice(0, 4).map(({ address }) => address.text)
  return targets.length > 4 ? `${names.join(', ')} and ${targets.length - 4} more` : names.join(', ')
}

function printLine(said: Said, withSource: boolean, { terminal }: CommandContext): void {
  const { atMs, mark, source, text } = said
  const tone = mark === '✓' ? 'good' : mark === '✗' ? 'bad' : 'dim'
  const from = withSource ? `${source}  ` : ''
  terminal.print(
    terminal.wrap(
      `${terminal.tone('dim', formatTime(atMs).slice(11, 19))} ${terminal.tone(tone, mark)} ${from}${text}`,
      '',
      '           ',
    ),
  )
}

async function verdicts(
  targets: readonly Target[],
  snapshot: Snapshot,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const surroundings = await openSurroundings(snapshot, args, context)
  try {
    const found = targets.map(({ address, device }) => surroundings.about(address, device).evidence)
    const diagnoses = found.map(diagnose)
    if (args.flag('json')) {
      context.terminal.json(
        diagnoses.map((diagnosis, index) => ({ address: found[index]?.address, diagnosis })),
      )
    } else {
      for (const diagnosis of diagnoses) {
        context.terminal.print('')
        printFinding(diagnosis, surroundings.nowMs, context.terminal)
      }
    }
    return diagnoses.every(entry => entry.healthy) ? 0 : 1
  } finally {
    surroundings.close()
  }
}

/** Remembers what was there, and says what has come since. */
function createWatch(
  store: StoreReader | undefined,
  targets: readonly Target[],
  startMs: number,
): { readonly next: (nowMs: number) => readonly Said[] } {
  const counts = new Map<string, number>()
  let seen = new Set<number>()
  // The ledger counts in whole seconds and hours; rows that are there already are not news.
  for (const { address } of targets)
    for (const row of store?.ledger.ofSource(address.text, startMs - HOUR_MS) ?? [])
      counts.set(keyOf(row), row.count)
  return {
    next: nowMs => {
      const said: Said[] = []
      const stillRecent = new Set<number>()
      for (const { address, device } of targets) {
        const range = parseCidr(address.text)
        const sinceMs = Math.max(startMs, nowMs - HOUR_MS)
        const events =
          typeof range === 'string' ? [] : (store?.events.find({ range, sinceMs, limit: 200 }) ?? [])
        for (const { id, timeMs, name, fields } of events) {
          stillRecent.add(id)
          if (seen.has(id) || (device !== null && fields['ja4'] !== device)) continue
          const text = sentenceOfRow(name, fields) ?? name
          said.push({ atMs: timeMs, mark: '✗', source: address.text, text })
        }
        for (const row of store?.ledger.ofSource(address.text, startMs - HOUR_MS) ?? []) {
          const key = keyOf(row)
          const more = row.count - (counts.get(key) ?? 0)
          counts.set(key, row.count)
          const words = more > 0 && (device === null || row.shape.ja4 === device) ? wordsOf(row, more) : null
          if (words !== null) said.push({ atMs: row.lastMs, source: address.text, ...words })
        }
      }
      seen = stillRecent
      return said.sort((a, b) => a.atMs - b.atMs).slice(-MAX_LINES_PER_POLL)
    },
  }
}

function keyOf({ source, hourMs, shape }: LedgerRow): string {
  return `${source ?? ''} ${hourMs} ${JSON.stringify(shape)}`
}

/** What no event tells: success, and connections without a request. Refusals have events of their own. */
function wordsOf({ shape }: LedgerRow, count: number): Pick<Said, 'mark' | 'text'> | null {
  const { phase, outcome, method, host, path, negotiated } = shape
  const times = count === 1 ? '' : ` (${count} times)`
  if (outcome === 'silent')
    return {
      mark: '·',
      text: `Connected and sent nothing${times}: a port test looks like this, and it succeeded.`,
    }
  if (phase === 'datagram') {
    if (outcome === 'passed') return { mark: '✓', text: `${count} heartbeats came and were answered.` }
    return outcome === 'failed'
      ? { mark: '✗', text: `${count} heartbeats came, but the RMM server did not answer.` }
      : null
  }
  if (phase === 'hello' && outcome === 'passed')
    return {
      mark: '·',
      text: `Finished a TLS handshake (${negotiated ?? 'no version'}) and asked nothing${times}.`,
    }
  if (outcome !== 'passed' && outcome !== 'failed') return null
  if (phase === 'stream') {
    const stream = `A stream on ${shape.listener}`
    return outcome === 'passed'
      ? { mark: '✓', text: `${stream} was joined to its server${times}.` }
      : { mark: '✗', text: `${stream} ended badly at its server${times}.` }
  }
  const what = escapeControls(`${method ?? ''} https://${host ?? ''}${path ?? ''}`)
  const way = `class ${shape.class ?? 'other'}, ${negotiated ?? 'no TLS'}`
  return outcome === 'passed'
    ? { mark: '✓', text: `${what} passed and was answered${times} (${way}).` }
    : { mark: '✗', text: `${what} was let through, but ended badly at the RMM server${times} (${way}).` }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, ms)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
