// What has come from watched sources since the last look, in words: from the journal, which the running gate was asked to write.
import { sentenceOfRow } from '../journal/catalogue.ts'
import { escapeControls } from '../journal/redact.ts'
import type { LedgerRow } from '../journal/ledger-facts.ts'
import type { StoreReader } from '../journal/store-core.ts'
import { cidrContains, parseCidr, type Cidr } from '../net/cidr.ts'
import { parseAddress } from '../net/address.ts'
import type { Target } from './subjects.ts'

const HOUR_MS = 3_600_000
/** What the ledger counts in. */
const SECOND_MS = 1_000
const MAX_LINES_PER_POLL = 40
const MAX_EVENTS = 200
/** Addresses of a network that are looked at. */
const MAX_SOURCES = 500

/** Whom a watch is about. */
export type Watched = {
  /** For the first line: addresses, or `site acme (Acme Ltd)`. */
  readonly what: readonly string[]
  readonly targets: readonly Target[]
  /** Networks from which any address counts: behind a pool of addresses a client comes from another one every time. */
  readonly ranges: readonly Cidr[]
}

/** Something that was seen. */
export type Said = {
  readonly atMs: number
  readonly mark: '✓' | '✗' | '·'
  /** Address; null: it is about the watch itself. */
  readonly source: string | null
  readonly text: string
}

/** Remembers what was there, and says what has come since. */
export type Watch = {
  readonly next: (nowMs: number) => readonly Said[]
  /** Watched addresses from which something came, in the order of their first appearance. */
  readonly seen: () => readonly string[]
  /** Addresses beside the watched ones that nothing had come from in the day before: the client may have got one of them. */
  readonly newcomers: () => readonly string[]
}

/** Starts to watch: what is in the journal already is not news. */
export function createWatch(store: StoreReader | undefined, watched: Watched, startMs: number): Watch {
  const counts = new Map<string, number>()
  let seenEvents = new Set<number>()
  const sources = new Set<string>()
  const before = new Set<string>()
  for (const { source } of store?.ledger.all(startMs - 24 * HOUR_MS) ?? [])
    if (source !== null) before.add(source)
  const places = [
    ...watched.ranges.map(range => ({ range, device: null })),
    ...watched.targets.flatMap(({ address, device }) => {
      const range = parseCidr(address.text)
      const isInside = watched.ranges.some(entry => cidrContains(entry, address))
      return typeof range === 'string' || isInside ? [] : [{ range, device }]
    }),
  ]
  const rowsOf = (range: Cidr): readonly LedgerRow[] =>
    store?.ledger.ofRange(range, startMs - HOUR_MS, MAX_SOURCES) ?? []
  // The ledger counts in whole seconds and hours.
  for (const { range } of places) for (const row of rowsOf(range)) counts.set(keyOf(row), row.count)
  return {
    next: nowMs => {
      const said: Said[] = []
      const stillRecent = new Set<number>()
      const sinceMs = Math.max(startMs, nowMs - HOUR_MS)
      for (const { range, device } of places) {
        for (const { id, timeMs, name, address, fields } of store?.events.find({
          range,
          sinceMs,
          limit: MAX_EVENTS,
        }) ?? []) {
          stillRecent.add(id)
          if (seenEvents.has(id) || (device !== null && fields['ja4'] !== device)) continue
          const text = sentenceOfRow(name, fields) ?? name
          said.push({ atMs: timeMs, mark: '✗', source: address, text })
        }
        for (const row of rowsOf(range)) {
          const key = keyOf(row)
          const more = row.count - (counts.get(key) ?? 0)
          counts.set(key, row.count)
          const isOther = device !== null && row.shape.ja4 !== device
          if (more > 0 && row.source !== null && !isOther) sources.add(row.source)
          const words = more > 0 && !isOther ? wordsOf(row, more) : null
          if (words !== null) said.push({ atMs: row.lastMs, source: row.source, ...words })
        }
      }
      seenEvents = stillRecent
      for (const { source } of said) if (source !== null) sources.add(source)
      return together(said.sort((a, b) => a.atMs - b.atMs)).slice(-MAX_LINES_PER_POLL)
    },
    seen: () => [...sources],
    newcomers: () => {
      const found = new Set<string>()
      for (const { source, lastMs } of store?.ledger.all(startMs) ?? []) {
        const address = source === null ? undefined : parseAddress(source)
        if (source === null || address === undefined || before.has(source) || lastMs + SECOND_MS < startMs)
          continue
        if (!places.some(({ range }) => cidrContains(range, address))) found.add(source)
      }
      return [...found]
    },
  }
}

const REFERENCE = / Reference ([0-9A-Z-]+)\.$/

/** A client that is refused tries again every few seconds: the same thing is said once, with the newest reference. */
function together(all: readonly Said[]): readonly Said[] {
  const groups = Map.groupBy(all, said => `${said.source} ${said.mark} ${said.text.replace(REFERENCE, '')}`)
  return [...groups.values()].flatMap(group => {
    const last = group.at(-1)
    if (last === undefined || group.length === 1) return group
    return [
      {
        ...last,
        text: `${last.text.replace(REFERENCE, '')} That came ${group.length} times${newest(last.text)}.`,
      },
    ]
  })
}

function newest(text: string): string {
  const reference = REFERENCE.exec(text)?.[1]
  return reference === undefined ? '' : `; newest reference ${reference}`
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
