// Reads a country database from a file completely, and believes it only after its metadata, tree and answers have been checked.
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { Reader, type CountryResponse } from 'maxmind'
import { addressScope, ipv4 } from '../net/address.ts'
import { countryOfRecord } from './record.ts'
import { findMetadata, treeProblem } from './search-tree.ts'

/** Largest database that is read: City databases have about 70 MB, Enterprise ones about 400 MB. */
export const MAX_DATABASE_BYTES = 1 << 29
/** No MaxMind DB was built before the format existed. */
const EARLIEST_BUILD_MS = Date.UTC(2013, 0, 1)
/** A build may be this far ahead: makers stamp releases with the day they are for. */
const FUTURE_MS = 7 * 86_400_000
/** Decoded records kept per database; City records are large, country databases have about 250 in all. */
const RECORDS_CACHED = 1_024
const SAMPLES = 4_096
/** Samples looked up before other work gets its turn: about 2 ms. */
const SAMPLES_PER_TURN = 256
/** Share of sampled public IPv4 addresses that must have a country; real databases answer for about 85 %. */
const MIN_COVERAGE = 0.5

/** Addresses whose country every database of the world agrees on. At most one may differ: networks do move. */
const KNOWN: readonly (readonly [string, string])[] = [
  ['81.2.69.142', 'GB'],
  ['89.160.20.112', 'SE'],
  ['216.160.83.56', 'US'],
  ['111.235.160.1', 'CN'],
]

/** What a checked database says of itself. */
export type DatabaseFacts = {
  readonly type: string
  readonly builtMs: number
  readonly nodeCount: number
  readonly ipVersion: 4 | 6
}

/** A database that passed every check. */
export type Database = DatabaseFacts & {
  readonly file: string
  /** Country for a canonical address; null when there is none. Throws only when the data is damaged after all. */
  readonly countryOf: (address: string) => string | null
}

/** Outcome of reading: the database, or the problem in a sentence that completes "`file`: ...". */
export type Checked =
  { readonly ok: true; readonly database: Database } | { readonly ok: false; readonly problem: string }

/** Identity of a file's content as far as the file system knows it: equal text means nothing was written since. */
export type Fingerprint = string

/** The bytes of a file with the fingerprint that they belong to. */
export type FileContent =
  | { readonly ok: true; readonly bytes: Buffer; readonly fingerprint: Fingerprint }
  | { readonly ok: false; readonly problem: string; readonly fingerprint: Fingerprint | null }

/**
 * Reads a whole regular file (through symbolic links). Refuses pipes, devices and files that change while they are read.
 * Never throws.
 */
export async function readWhole(file: string, knownFingerprint?: Fingerprint): Promise<FileContent | 'same'> {
  let handle: FileHandle | undefined
  let fingerprint: Fingerprint | null = null
  try {
    // Non-blocking, or a named pipe with the right name would hold the reload for ever.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    const before = await handle.stat({ bigint: true })
    fingerprint = [before.dev, before.ino, before.size, before.mtimeNs, before.ctimeNs].join(':')
    if (fingerprint === knownFingerprint) return 'same'
    const refuse = (problem: string): FileContent => ({ ok: false, problem, fingerprint })
    if (!before.isFile()) return refuse('it is not a regular file')
    if (before.size === 0n) return refuse('it is empty')
    if (before.size > BigInt(MAX_DATABASE_BYTES)) {
      return refuse(`it has ${before.size} bytes, more than the ${MAX_DATABASE_BYTES} that are read`)
    }
    const bytes = Buffer.allocUnsafeSlow(Number(before.size))
    let filled = 0
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, filled)
      if (bytesRead === 0) return refuse('it shrank while it was read: a copy is in progress')
      filled += bytesRead
    }
    const after = await handle.stat({ bigint: true })
    if (after.size !== before.size || after.mtimeNs !== before.mtimeNs) {
      return refuse('it changed while it was read: a copy is in progress')
    }
    return { ok: true, bytes, fingerprint }
  } catch (error) {
    return { ok: false, problem: `it cannot be read (${describeError(error)})`, fingerprint }
  } finally {
    await handle?.close()
  }
}

/**
 * Checks the bytes of a database: metadata, whole search tree, known addresses, and addresses spread over the internet.
 * @param limits `nowMs` null skips the comparison with the clock: a gate whose clock is wrong keeps the databases it was installed with
 */
export async function checkDatabase(
  file: string,
  bytes: Buffer,
  limits: { readonly nowMs: number | null },
): Promise<Checked> {
  const bad = (problem: string): Checked => ({ ok: false, problem })
  try {
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) return bad('it is gzip-compressed: unpack it first')
    const metadataAt = findMetadata(bytes)
    if (metadataAt === undefined) {
      return bad('it has no MaxMind DB metadata at its end: it is truncated, or not a MaxMind DB')
    }
    const reader = new Reader<CountryResponse>(bytes, { cache: new LRUCache({ max: RECORDS_CACHED }) })
    const { metadata } = reader
    const facts = factsOf(metadata, limits.nowMs)
    if (typeof facts === 'string') return bad(facts)
    const damage = await treeProblem(bytes, metadata, metadataAt)
    if (damage !== undefined) return bad(damage)
    const { ipVersion } = facts
    const countryOf = (address: string): string | null =>
      // The reader would walk an IPv4 tree with the first bits of an IPv6 address and answer for a stranger.
      ipVersion === 4 && address.includes(':') ? null : countryOfRecord(reader.get(address))
    const wrong = await answersProblem(countryOf, ipVersion)
    if (wrong !== undefined) return bad(wrong)
    return { ok: true, database: { ...facts, file, countryOf } }
  } catch (error) {
    return bad(`its content cannot be decoded (${describeError(error)})`)
  }
}

function factsOf(
  metadata: Reader<CountryResponse>['metadata'],
  nowMs: number | null,
): DatabaseFacts | string {
  const type: unknown = metadata.databaseType
  if (typeof type !== 'string' || type.length === 0 || type.length > 128) return 'its metadata names no type'
  if (!/country|city|enterprise|location/i.test(type)) {
    return `its type is "${printable(type)}", which has no countries: a Country or City database is needed`
  }
  if (metadata.binaryFormatMajorVersion !== 2) {
    return `its format version is ${String(metadata.binaryFormatMajorVersion)}; version 2 is understood`
  }
  const { ipVersion, nodeCount } = metadata
  if (ipVersion !== 4 && ipVersion !== 6) return `its IP version is ${String(ipVersion)}`
  const builtMs = metadata.buildEpoch.getTime()
  if (!(builtMs >= EARLIEST_BUILD_MS)) return 'its build date is missing or before 2013'
  if (nowMs !== null && builtMs > nowMs + FUTURE_MS) {
    return `it was built on ${day(builtMs)}, which is in the future: it, or this machine's clock, is wrong`
  }
  return { type: printable(type), builtMs, nodeCount, ipVersion }
}

async function answersProblem(
  countryOf: (address: string) => string | null,
  ipVersion: 4 | 6,
): Promise<string | undefined> {
  const differing: string[] = []
  for (const [address, expected] of KNOWN) {
    const country = countryOf(address)
    if (country === null) return `it has no country for ${address}, which every country database knows`
    if (country !== expected) differing.push(`${address} is ${country}, not ${expected}`)
  }
  if (differing.length > 1) return `its answers are wrong: ${differing.join('; ')}`
  let asked = 0
  let answered = 0
  for (let sample = 0; sample < SAMPLES; sample++) {
    if (sample % SAMPLES_PER_TURN === 0) await nextTurn()
    // Multiples of the golden ratio spread evenly, and the same file always gets the same verdict.
    const bits = Math.imul(sample, 0x9e3779b1) >>> 0
    if (ipVersion === 6)
      countryOf(`${(0x2000 + (bits >>> 20)).toString(16)}:${(bits & 0xffff).toString(16)}::1`)
    const address = ipv4(bits)
    if (addressScope(address) !== 'public') continue
    asked++
    if (countryOf(address.text) !== null) answered++
  }
  if (answered < asked * MIN_COVERAGE) {
    return `it has a country for only ${Math.round((100 * answered) / asked)} % of public IPv4 addresses`
  }
  return undefined
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?')
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

function describeError(error: unknown): string {
  if (error instanceof Error) return 'code' in error ? String(error.code) : error.message.slice(0, 200)
  return String(error)
}
