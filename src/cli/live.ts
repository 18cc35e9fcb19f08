// diagnose --live: watches sources while somebody there tries again, says in plain words what comes, and ends with the verdict.
import { diagnose } from '../diagnose/diagnosis.ts'
import { parseAddress } from '../net/address.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { printFinding } from './diagnosis-report.ts'
import { openSurroundings } from './evidence.ts'
import { formatSpan, formatTime, parseDuration } from './format.ts'
import { openStore, requireGate } from './gate-access.ts'
import { createWatch, type Said, type Watch, type Watched } from './live-watch.ts'
import type { Target } from './subjects.ts'

const POLL_MS = 700
const DEFAULT_FOR = '15m'
/** So long nothing comes before it is said what that means; then again after five times as long, and so on. */
const QUIET_MS = 60_000
const MAX_VERDICTS = 20
const MAX_NEWCOMERS = 5

/**
 * Watches until Ctrl-C or the end of `--for`. What comes is read from the store every moment, after the gate was asked to
 * write it down: the watch costs live traffic nothing. A gate that restarts meanwhile is waited for.
 * @returns the exit code: 0 when every source is well in the end
 */
export async function watchLive(
  watched: Watched,
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
  const watch = createWatch(store, watched, context.nowMs())
  const json = args.flag('json')
  const withSource = watched.targets.length > 1 || watched.ranges.length > 0
  const say = (said: Said): void => {
    if (json) terminal.json(said)
    else printLine(said, withSource, context)
  }
  const silence = createSilence(watched, watch, snapshot.names[0]?.host ?? null, context.nowMs())
  if (!json) {
    terminal.print(
      terminal.wrap(
        `Watching ${namesOf(watched)} for ${formatSpan(spanMs)}. Let the client try now; Ctrl-C ends this with the verdict.`,
      ),
    )
  }
  let isUp = true
  try {
    for (;;) {
      const nowMs = context.nowMs()
      const isLast = stop.signal.aborted || nowMs >= endMs
      const answers = await flush(snapshot)
      if (answers !== isUp) say(answers ? backAgain(nowMs) : away(nowMs))
      isUp = answers
      const news = watch.next(nowMs)
      for (const said of news) say(said)
      const quiet = silence(news.length > 0 || !isUp, nowMs)
      if (quiet !== null && !isLast) say(quiet)
      if (isLast) break
      await pause(POLL_MS, stop.signal)
    }
  } finally {
    unlisten()
    store?.close()
  }
  return verdicts(targetsOf(watched, watch), snapshot, args, context)
}

/** Asks the gate to write down what it knows; false: it does not answer. */
async function flush(snapshot: Snapshot): Promise<boolean> {
  try {
    await requireGate(snapshot, 'POST', '/v1/flush')
    return true
  } catch (error) {
    // It may end in the middle of its answer as well. What it refuses stays refused.
    const isRefused =
      error instanceof PortcullisError && ['admin-token', 'admin-refused'].includes(error.code)
    if (!isRefused) return false
    throw error
  }
}

function away(atMs: number): Said {
  return {
    atMs,
    mark: '✗',
    source: null,
    text: 'The gate does not answer: it was stopped, or is being restarted. Nobody gets through meanwhile. Still watching.',
  }
}

function backAgain(atMs: number): Said {
  return {
    atMs,
    mark: '✓',
    source: null,
    text: 'The gate answers again. Agents come back by themselves; what they do now is shown here.',
  }
}

/** Says what it means when nothing comes, and less and less often. */
function createSilence(
  { what }: Watched,
  watch: Watch,
  publicHost: string | null,
  startMs: number,
): (isNews: boolean, nowMs: number) => Said | null {
  let sinceMs = startMs
  let nextMs = QUIET_MS
  return (isNews, nowMs) => {
    if (isNews) {
      sinceMs = nowMs
      nextMs = QUIET_MS
      return null
    }
    if (nowMs - sinceMs < nextMs) return null
    nextMs *= 5
    const span = formatSpan(nowMs - sinceMs)
    const from = what.slice(0, 4).join(', ')
    if (watch.seen().length > 0)
      return {
        atMs: nowMs,
        mark: '·',
        source: null,
        text: `Nothing more from ${from} for ${span}: the client does not try at the moment. Restart its agent to see it at once.`,
      }
    const newcomers = watch.newcomers()
    const others =
      newcomers.length === 0
        ? ''
        : ` New here meanwhile: ${newcomers.slice(0, MAX_NEWCOMERS).join(', ')}${newcomers.length > MAX_NEWCOMERS ? ` and ${newcomers.length - MAX_NEWCOMERS} more` : ''}. Is one of them the client? Then watch that address.`
    return {
      atMs: nowMs,
      mark: '·',
      source: null,
      text: `Nothing has come from ${from} for ${span}. If somebody did try there, it did not get here: the name ${publicHost ?? 'of the gate'} leads elsewhere there (DNS), a firewall there drops it, or the client comes from another public address.${others}`,
    }
  }
}

/** The watched addresses, and those of the watched networks that came. */
function targetsOf({ targets, ranges }: Watched, watch: Watch): readonly Target[] {
  const came = watch.seen().flatMap(text => parseAddress(text) ?? [])
  const inNetworks = ranges.length === 0 ? [] : came.map(address => ({ address, device: null }))
  const known = new Map([...inNetworks, ...targets].map(target => [keyOf(target), target]))
  return [...known.values()].slice(0, MAX_VERDICTS)
}

function keyOf({ address, device }: Target): string {
  return `${address.text}#${device ?? ''}`
}

function namesOf({ what }: Watched): string {
  return what.length > 4 ? `${what.slice(0, 4).join(', ')} and ${what.length - 4} more` : what.join(', ')
}

function printLine(said: Said, withSource: boolean, { terminal }: CommandContext): void {
  const { atMs, mark, source, text } = said
  const tone = mark === '✓' ? 'good' : mark === '✗' ? 'bad' : 'dim'
  const from = withSource && source !== null && !text.includes(source) ? `${source}  ` : ''
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
