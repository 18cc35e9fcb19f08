// Measures what an agent would feel: the product's own probe, over a new connection each time, through the gate and past it in turn.
import { readFileSync } from 'node:fs'
import { Agent, request } from 'undici'
import type { HealthProbe } from '../policy/snapshot.ts'
import { usageError } from './command.ts'

/** One way to the server. */
export type ProbeWay = {
  readonly url: URL
  /** Address to connect to instead of what the name resolves to; null: resolve. */
  readonly connectTo: string | null
}

/** What was measured on one way. */
export type WayResult = {
  readonly url: string
  readonly answered: number
  /** What the others ended with, and how often. */
  readonly errors: Readonly<Record<string, number>>
  /** Milliseconds from opening the connection to the last byte; null: nothing was answered. */
  readonly p50Ms: number | null
  readonly p95Ms: number | null
}

/** Both ways, and the difference. */
export type ProbeComparison = {
  readonly gate: WayResult
  readonly direct: WayResult
  readonly addedP50Ms: number | null
  readonly addedP95Ms: number | null
}

/** Most probes of one way: a measurement must never be a load. */
export const MAX_PROBES = 200
const TIMEOUT_MS = 10_000
const MAX_BODY_BYTES = 65_536

/** Reads a URL of a way: scheme, host and port only. @throws PortcullisError `usage` */
export function readWay(text: string, option: string, connectTo: string | null): ProbeWay {
  const url = URL.canParse(text) ? new URL(text) : null
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.pathname !== '/' ||
    url.search !== '' ||
    url.username !== ''
  ) {
    throw usageError(
      `${option}: "${text}" is not the address of a server`,
      'Write https://direct.example.com',
    )
  }
  return { url, connectTo }
}

/** Probes both ways in alternation, one after the other. */
export async function compareWays(
  gate: ProbeWay,
  direct: ProbeWay,
  probe: HealthProbe,
  options: { readonly count: number; readonly caFile: string | null; readonly isStopped: () => boolean },
): Promise<ProbeComparison> {
  const ca = options.caFile === null ? null : readFileSync(options.caFile, 'utf8')
  const results = [gate, direct].map(way => ({
    way,
    times: [] as number[],
    errors: new Map<string, number>(),
  }))
  for (let round = 0; round < options.count && !options.isStopped(); round++) {
    // Whoever goes first in a round may find a colder path: the order changes.
    for (const result of round % 2 === 0 ? results : results.toReversed()) {
      const outcome = await probeOnce(result.way, probe, ca)
      if (typeof outcome === 'number') result.times.push(outcome)
      else result.errors.set(outcome, (result.errors.get(outcome) ?? 0) + 1)
    }
  }
  const [through, past] = results.map(({ way, times, errors }) => ({
    url: way.url.origin,
    answered: times.length,
    errors: Object.fromEntries(errors),
    p50Ms: quantile(times, 0.5),
    p95Ms: quantile(times, 0.95),
  }))
  if (through === undefined || past === undefined) throw new Error('both ways were measured')
  return {
    gate: through,
    direct: past,
    addedP50Ms: difference(through.p50Ms, past.p50Ms),
    addedP95Ms: difference(through.p95Ms, past.p95Ms),
  }
}

async function probeOnce(
  { url, connectTo }: ProbeWay,
  probe: HealthProbe,
  ca: string | null,
): Promise<number | string> {
  const dispatcher = new Agent({
    connections: 1,
    allowH2: false,
    connect: {
      timeout: TIMEOUT_MS,
      ...(ca === null ? {} : { ca }),
      ...(connectTo === null
        ? {}
        : {
            lookup: (_host, _options, done) =>
              done(null, [{ address: connectTo, family: connectTo.includes(':') ? 6 : 4 }]),
          }),
    },
  })
  const startedMs = performance.now()
  try {
    const answer = await request(new URL(probe.path, url), {
      method: probe.method,
      dispatcher,
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    let text = ''
    for await (const chunk of answer.body) {
      if (text.length < MAX_BODY_BYTES) text += String(chunk)
      else break
    }
    const tookMs = performance.now() - startedMs
    if (!probe.statuses.has(answer.statusCode)) return `status ${answer.statusCode}`
    if (probe.bodyPattern?.test(text.slice(0, 4_096)) === false)
      return 'another answer than the product gives'
    return tookMs
  } catch (error) {
    const { code, name } = error as NodeJS.ErrnoException
    return code ?? name
  } finally {
    await dispatcher.destroy()
  }
}

function quantile(times: readonly number[], share: number): number | null {
  if (times.length === 0) return null
  const sorted = times.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? null
}

function difference(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a - b
}
