// What a diagnosis is asked about: an address, a range, a site, a reference, or a device by its fingerprint, name or user agent.
import { isJa4 } from '../diagnose/tls-client.ts'
import { userAgentFamily } from '../journal/path-shape.ts'
import { parseReference } from '../journal/reference.ts'
import type { StoreReader } from '../journal/store-core.ts'
import { suggest } from '../config/spelling.ts'
import { parseAddress, type Address } from '../net/address.ts'
import { parseCidr, type Cidr } from '../net/cidr.ts'
import type { Site, Snapshot } from '../policy/snapshot.ts'
import { usageError } from './command.ts'
import { LOOK_BACK_MS } from './evidence.ts'

/** One address, or one client behind it. */
export type Target = { readonly address: Address; readonly device: string | null }

/** What a word means. */
export type Subject =
  | { readonly kind: 'reference'; readonly word: string; readonly reference: string }
  | {
      readonly kind: 'targets'
      readonly word: string
      /** For a heading: `site acme (Acme Ltd)`. */
      readonly what: string
      readonly targets: readonly Target[]
      /** Networks of a site or range, in which more addresses may come; empty: single addresses are meant. */
      readonly ranges: readonly Cidr[]
      /** More were found than are looked at. */
      readonly truncated: boolean
    }

/** Addresses of one subject that are looked at. */
export const MAX_TARGETS = 500

/**
 * Reads a word.
 * @param isWatch it is about what comes from now on: a site that nothing has come from yet will do
 * @throws PortcullisError `usage` with what was probably meant
 */
export function readSubject(
  word: string,
  snapshot: Snapshot,
  store: StoreReader | undefined,
  nowMs: number,
  isWatch = false,
): Subject {
  const text = word.trim()
  const address = parseAddress(text.replace(/^\[|\]$/g, ''))
  if (address !== undefined) return one(text, { address, device: null })
  const device = /^(.+)#(.+)$/.exec(text)
  if (device !== null) return oneDevice(text, device[1] ?? '', device[2] ?? '', store, nowMs)
  const range = parseCidr(text)
  if (typeof range !== 'string')
    return many(text, `range ${text}`, inRanges([range], store, nowMs), store, isWatch ? [range] : [])
  const site = siteOf(text, snapshot)
  if (site !== undefined)
    return many(
      text,
      `site ${site.id} (${site.name})`,
      inRanges(site.ranges, store, nowMs),
      store,
      isWatch ? site.ranges : [],
    )
  const reference = parseReference(text)
  if (reference !== undefined) return { kind: 'reference', word: text, reference }
  if (isJa4(text)) return many(text, `device ${text}`, withFingerprint(text, store, nowMs), store)
  const named = [...clientsNamed(text, store, nowMs), ...withUserAgent(text, store, nowMs)]
  if (named.length > 0) return many(text, `device "${text}"`, named, store)
  const known = snapshot.sites.flatMap(entry => [entry.id, entry.name])
  const suggestion = suggest(text, known)
  throw usageError(
    `"${text}" is no IP address, range, reference, site or known device`,
    suggestion === undefined
      ? 'Write the public address of the site (198.51.100.7), the name of a site, or the reference from the refusal page.'
      : `Did you mean the site "${suggestion}"?`,
  )
}

function one(word: string, target: Target): Subject {
  return { kind: 'targets', word, what: word, targets: [target], ranges: [], truncated: false }
}

function many(
  word: string,
  what: string,
  targets: readonly Target[],
  store: StoreReader | undefined,
  ranges: readonly Cidr[] = [],
): Subject {
  if (targets.length > 0 || ranges.length > 0)
    return {
      kind: 'targets',
      word,
      what,
      targets: targets.slice(0, MAX_TARGETS),
      ranges,
      truncated: targets.length > MAX_TARGETS,
    }
  throw usageError(
    `nothing of ${what} has been recorded in the last day`,
    store === undefined
      ? 'No gate has recorded anything in this state directory yet.'
      : 'Name one of its public addresses to learn what it would get.',
  )
}

function oneDevice(
  word: string,
  before: string,
  ja4: string,
  store: StoreReader | undefined,
  nowMs: number,
): Subject {
  const address = parseAddress(before.replace(/^\[|\]$/g, ''))
  if (address === undefined)
    throw usageError(
      `"${before}" is not an IP address`,
      'Write address#JA4, as a diagnosis of the address lists them.',
    )
  const rows = store?.ledger.ofSource(address.text, nowMs - LOOK_BACK_MS) ?? []
  const known = [...new Set(rows.flatMap(row => row.shape.ja4 ?? []))]
  const [found, ...others] = known.filter(entry => entry.startsWith(ja4))
  if (found !== undefined && others.length === 0) return one(word, { address, device: found })
  throw usageError(
    found === undefined
      ? `no client with the fingerprint ${ja4} has come from ${address.text}`
      : `${others.length + 1} clients behind ${address.text} have a fingerprint that begins with ${ja4}`,
    known.length === 0
      ? 'No client from there has sent a ClientHello in the last day.'
      : `Clients there: ${known.slice(0, 6).join(', ')}.`,
  )
}

function siteOf(text: string, snapshot: Snapshot): Site | undefined {
  const folded = text.toLowerCase()
  return (
    snapshot.sites.find(site => site.id === text) ??
    snapshot.sites.find(site => site.name.toLowerCase() === folded)
  )
}

/** Addresses in ranges that did something; a range of one address stands for itself. */
function inRanges(ranges: readonly Cidr[], store: StoreReader | undefined, nowMs: number): readonly Target[] {
  const found = new Map<string, Target>()
  for (const range of ranges) {
    const { address, prefix } = range
    if (prefix === (address.family === 4 ? 32 : 128)) found.set(address.text, { address, device: null })
    for (const { source } of store?.ledger.ofRange(range, nowMs - LOOK_BACK_MS, MAX_TARGETS + 1) ?? [])
      remember(found, source, null)
  }
  return [...found.values()]
}

function withFingerprint(ja4: string, store: StoreReader | undefined, nowMs: number): readonly Target[] {
  const found = new Map<string, Target>()
  for (const { source, shape } of store?.ledger.all(nowMs - LOOK_BACK_MS) ?? [])
    if (shape.ja4?.startsWith(ja4) === true) remember(found, source, shape.ja4)
  return [...found.values()]
}

/** Clients of the gateway go by their own names. */
function clientsNamed(name: string, store: StoreReader | undefined, nowMs: number): readonly Target[] {
  const found = new Map<string, Target>()
  const sinceMs = nowMs - LOOK_BACK_MS
  for (const event of [
    'client.connected',
    'client.disconnected',
    'client.key-refused',
    'client.capacity-exceeded',
  ])
    for (const { address, fields } of store?.events.find({ name: event, sinceMs, limit: 1_000 }) ?? []) {
      const client = fields['client']
      if (typeof client !== 'string' || client.toLowerCase() !== name.toLowerCase()) continue
      const from = address ?? fields['publicAddress']
      remember(found, typeof from === 'string' ? from : null, null)
    }
  return [...found.values()]
}

/** By a part of a user agent as refusals recorded it, or by its family, which the ledger knows. */
function withUserAgent(text: string, store: StoreReader | undefined, nowMs: number): readonly Target[] {
  const found = new Map<string, Target>()
  const sinceMs = nowMs - LOOK_BACK_MS
  const folded = text.toLowerCase()
  for (const { address, fields } of store?.events.find({ name: 'request.refused', sinceMs, limit: 1_000 }) ??
    []) {
    const { userAgent, ja4 } = fields
    if (typeof userAgent === 'string' && userAgent.toLowerCase().includes(folded))
      remember(found, address, typeof ja4 === 'string' ? ja4 : null)
  }
  const family = userAgentFamily(text)
  if (family === 'none' || family === 'other') return [...found.values()]
  for (const { source, shape } of store?.ledger.all(sinceMs) ?? [])
    if (shape.userAgent === family) remember(found, source, shape.ja4)
  return [...found.values()]
}

function remember(found: Map<string, Target>, source: string | null, device: string | null): void {
  const address = source === null ? undefined : parseAddress(source)
  if (address === undefined || found.size > MAX_TARGETS) return
  const key = `${address.text}#${device ?? ''}`
  if (!found.has(key)) found.set(key, { address, device })
}
