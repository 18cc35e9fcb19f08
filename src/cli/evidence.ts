// Gathers what a diagnosis needs: policy, countries, store, and the running gate if there is one.
import { basename } from 'node:path'
import { inspectCertificates } from './certificate-report.ts'
import type { CertificateState, GateStatus } from '../admin/status.ts'
import { summariseActivity, type Activity } from '../diagnose/activity.ts'
import { devicesOf } from '../diagnose/devices.ts'
import { MANY } from '../diagnose/diagnosis.ts'
import type { Evidence, Happening, OpenNow, UpstreamTrouble } from '../diagnose/finding.ts'
import { bundledDatabases } from '../geo/bundled.ts'
import type { CountryLookup, DatabaseState } from '../geo/country-lookup.ts'
import { createCountryLookup } from '../geo/lookup.ts'
import { quantileOf } from '../journal/latency.ts'
import type { LedgerRow } from '../journal/ledger-facts.ts'
import type { StoreReader } from '../journal/store-core.ts'
import type { StoredEvent } from '../journal/store-events.ts'
import { buildOverlay } from '../journal/store-overlay.ts'
import type { RuleHit } from '../ips/rule-set.ts'
import { parseCidr } from '../net/cidr.ts'
import type { Address } from '../net/address.ts'
import { AGENT_CLASSES, CLASSES } from '../policy/classes.ts'
import { explain } from '../policy/explain.ts'
import type { Overlay, Snapshot } from '../policy/snapshot.ts'
import { CommandArguments, type CommandContext } from './command.ts'
import { askGate, commandOptions, openStore } from './gate-access.ts'
import {
  clientTroubles,
  crossOrigins,
  handshakeProblemOf,
  loneSessionOf,
  mismatchOf,
  witnesses,
} from './evidence-events.ts'
import { missingIntermediate } from './chain.ts'
import { happeningsOf } from './happenings.ts'
import { questionOf, upstreamUp } from './question.ts'

/** How far back a diagnosis looks. */
export const LOOK_BACK_MS = 86_400_000
/** How far back it looks for a last sign of life. */
const EARLIER_MS = 30 * 86_400_000
const HOUR_MS = 3_600_000

/** Everything about one address. */
export type Gathered = {
  readonly evidence: Evidence
  readonly databases: readonly DatabaseState[]
  readonly activity: Activity | null
  readonly refusals: readonly StoredEvent[]
  readonly certificates: readonly CertificateState[]
  readonly status: GateStatus | undefined
}

/** What is the same for every address, read once. */
export type Surroundings = {
  readonly snapshot: Snapshot
  readonly status: GateStatus | undefined
  readonly store: StoreReader | undefined
  readonly nowMs: number
  /**
   * Everything about an address.
   * @param device fingerprint of one client behind it; null: all of them
   */
  readonly about: (address: Address, device?: string | null) => Gathered
  readonly close: () => void
}

/** Opens everything. The running gate is asked to write down first what it still holds in memory. */
export async function openSurroundings(
  snapshot: Snapshot,
  args: CommandArguments,
  context: CommandContext,
): Promise<Surroundings> {
  const nowMs = context.nowMs()
  const status = (await askGate(snapshot, 'GET', '/v1/status')) as GateStatus | undefined
  if (status !== undefined) await askGate(snapshot, 'POST', '/v1/flush')
  const countries = await createCountryLookup({
    directory: snapshot.directories.geoip,
    bundled: bundledDatabases(),
    reporter: { report: () => undefined },
    clock: context.nowMs,
  })
  const certificates = status?.certificates ?? (await inspectCertificates(snapshot, nowMs)).certificates
  const store = openStore(snapshot)
  const common: Common = {
    snapshot,
    status,
    store,
    countries,
    certificates,
    overlay:
      store === undefined ? buildOverlay([]) : buildOverlay(store.overlay.list(), store.rules.promoted()),
    happenings: happeningsOf(snapshot, store, nowMs - LOOK_BACK_MS),
    passing: bySpan(withinMs => passingSources(store, nowMs - withinMs)),
    ownMs: onceOnly(() => ownPart(store, nowMs - HOUR_MS)),
    commandOptions: commandOptions(args),
    nowMs,
  }
  return {
    snapshot,
    status,
    store,
    nowMs,
    about: (address, device = null) => about(common, address, device),
    close: () => {
      store?.close()
      countries.close()
    },
  }
}

type Common = {
  readonly snapshot: Snapshot
  readonly status: GateStatus | undefined
  readonly store: StoreReader | undefined
  readonly countries: CountryLookup
  readonly certificates: readonly CertificateState[]
  readonly overlay: Overlay
  readonly happenings: readonly Happening[]
  readonly passing: (withinMs: number) => ReadonlySet<string>
  readonly ownMs: () => Pick<Evidence, 'ownMs'> | null
  readonly commandOptions: string
  readonly nowMs: number
}

function about(common: Common, address: Address, device: string | null): Gathered {
  const { snapshot, status, store, countries, certificates, nowMs } = common
  const sinceMs = nowMs - LOOK_BACK_MS
  const source = { address, geo: countries.lookup(address) }
  const question = questionOf(new CommandArguments({}, []), snapshot, source, status, nowMs)
  const all = store?.ledger.ofSource(address.text, sinceMs) ?? []
  const rows = all.filter(row => device === null || row.shape.ja4 === device)
  const activity = store === undefined ? null : summariseActivity(rows, sinceMs)
  const events = (store === undefined ? [] : newestEvents(store, address, sinceMs)).filter(
    event => device === null || event.fields['ja4'] === device,
  )
  const refusals = events.filter(event => event.reference !== null && event.reason !== null)
  const explanation = explain(snapshot, common.overlay, question)
  const down = snapshot.names.filter(name => !upstreamUp(status)(name.upstream)).map(name => name.host)
  return {
    databases: countries.databases(),
    activity,
    refusals,
    certificates,
    status,
    evidence: {
      address: address.text,
      explanation,
      activity,
      ruleHit: ruleHitOf(refusals),
      handshakeProblem: handshakeProblemOf(events),
      devices: devicesOf(all),
      device,
      newest: witnesses(events),
      earlierMs: () => lastPassed(store?.ledger.ofSource(address.text, nowMs - EARLIER_MS) ?? []),
      othersPassing: withinMs => {
        const sources = common.passing(withinMs)
        return sources.size - (sources.has(address.text) ? 1 : 0)
      },
      ...(status === undefined
        ? {}
        : { open: openNow(status, address.text), gateStartedMs: status.startedMs }),
      crossOrigin: crossOrigins(events),
      clientTroubles: clientTroubles(events),
      mismatch: mismatchOf(events, rows),
      loneSession: loneSessionOf(events, snapshot.streams, listener =>
        streamsOpen(status, address.text, listener),
      ),
      happenings: common.happenings,
      upstreams: upstreamTroubles(status),
      upstreamsDown: status === undefined ? null : down,
      ...gapOf(certificates),
      ...common.ownMs(),
      certificateProblem: certificateProblem(certificates, snapshot, nowMs),
      ...heartbeatFacts(status, explanation.standing.site?.id ?? null),
      publicHost: snapshot.names[0]?.host ?? null,
      commandOptions: common.commandOptions,
      nowMs,
    },
  }
}

function openNow({ connections, open }: GateStatus, address: string): OpenNow {
  const own = connections.filter(entry => entry.address === address && lasts(entry.state))
  const since = own.map(entry => entry.openedMs)
  return {
    count: own.length,
    sinceMs: since.length === 0 ? null : Math.min(...since),
    isCutOff: open.connections > connections.length,
  }
}

/** Streams that an address has open on a listener. */
function streamsOpen(status: GateStatus | undefined, address: string, listener: string): number {
  const own = (status?.connections ?? []).filter(
    entry => entry.address === address && entry.listener === listener && entry.state.startsWith('stream '),
  )
  return own.length
}

/** `agent`, `websocket agent`, `stream relay`: idle ones, and those that begin or end, say nothing of an agent that stays. */
function lasts(state: string): boolean {
  return CLASSES.some(name => state === name) || /^(?:websocket|stream) /.test(state)
}

/** So few requests say nothing. */
const ENOUGH = 20

/** The gate's own part of the time of requests; null: too few. */
function ownPart(store: StoreReader | undefined, sinceMs: number): Pick<Evidence, 'ownMs'> | null {
  const buckets: number[] = []
  for (const row of store?.latency.since(sinceMs) ?? []) {
    if (row.part !== 'gate') continue
    for (const [index, count] of row.buckets.entries()) buckets[index] = (buckets[index] ?? 0) + count
  }
  const ownMs = quantileOf(buckets, 0.5)
  return ownMs === null || buckets.reduce((sum, count) => sum + count, 0) < ENOUGH ? null : { ownMs }
}

/** The first certificate file that lacks its intermediate. */
function gapOf(certificates: readonly CertificateState[]): Pick<Evidence, 'incompleteChain'> {
  for (const { file, development } of certificates) {
    const issuer = development ? null : missingIntermediate(file)
    if (issuer !== null) return { incompleteChain: { file: basename(file), issuer } }
  }
  return {}
}

function onceOnly<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}

function bySpan<T>(make: (spanMs: number) => T): (spanMs: number) => T {
  const made = new Map<number, { readonly value: T }>()
  return spanMs => {
    const found = made.get(spanMs) ?? { value: make(spanMs) }
    made.set(spanMs, found)
    return found.value
  }
}

/** Addresses whose agents passed since a time; enough to say "others do". */
function passingSources(store: StoreReader | undefined, sinceMs: number): ReadonlySet<string> {
  const found = new Set<string>()
  for (const { source, shape, lastMs } of store?.ledger.all(sinceMs) ?? []) {
    const isAgent = shape.class !== null && AGENT_CLASSES.includes(shape.class)
    if (source === null || shape.outcome !== 'passed' || !isAgent || lastMs < sinceMs) continue
    found.add(source)
    if (found.size > MANY) break
  }
  return found
}

function lastPassed(rows: readonly LedgerRow[]): number | null {
  const times = rows.filter(({ shape }) => shape.outcome === 'passed').map(row => row.lastMs)
  return times.length === 0 ? null : times.reduce((a, b) => Math.max(a, b))
}

function upstreamTroubles(status: GateStatus | undefined): readonly UpstreamTrouble[] {
  return (status?.upstreams ?? []).flatMap(
    ({ member, origin, state, sinceMs, lastProblem, slow = null }): readonly UpstreamTrouble[] => {
      if (state === 'down') return [{ member, origin, sinceMs, problem: lastProblem, pace: null }]
      return slow === null ? [] : [{ member, origin, sinceMs: slow.sinceMs, problem: null, pace: slow }]
    },
  )
}

function heartbeatFacts(
  status: GateStatus | undefined,
  site: string | null,
): Pick<Evidence, 'heartbeatListeners'> {
  if (status === undefined) return {}
  return {
    heartbeatListeners: status.heartbeats.map(({ listener, upstream, connector, sites, allGone }) => ({
      listener,
      allGone,
      upstream,
      connectorTrouble: connector?.trouble ?? null,
      awaySinceMs: connector === null || connector.trouble === null ? null : connector.sinceMs,
      portClosed: connector?.portClosed ?? false,
      site: sites.find(entry => entry.site === site) ?? null,
    })),
  }
}

function newestEvents(store: StoreReader, address: Address, sinceMs: number): readonly StoredEvent[] {
  const range = parseCidr(address.text)
  return typeof range === 'string' ? [] : store.events.find({ range, sinceMs, limit: 200 })
}

/** The enforcing hit of the newest refusal by a rule; null: none of them is one. */
export function ruleHitOf(refusals: readonly StoredEvent[]): Evidence['ruleHit'] {
  for (const { fields } of refusals) {
    if (fields['reason'] !== 'rule') continue
    const hits = fields['hits']
    const list = Array.isArray(hits) ? (hits as readonly RuleHit[]) : []
    const refusing = list.find(isEnforced)
    if (refusing === undefined) continue
    // A score is reached by several rules together: the one that gave most is the one to look at first.
    const [most, ...others] = list
      .filter(hit => hit !== refusing && hit.score > 0 && gaveTo(refusing, hit))
      .toSorted((a, b) => b.score - a.score)
    const hit = most ?? refusing
    return {
      ruleId: hit.ruleId,
      field: hit.field,
      alsoIn: hit.alsoIn ?? [],
      path: String(fields['path']),
      class: String(fields['class']),
      seen: seenOf(hit),
      others: others.map(({ ruleId, field, alsoIn = [] }) => ({ ruleId, field, alsoIn })),
    }
  }
  return null
}

/** The rule of the gate itself that refuses when others have given enough points. */
const SCORE = 'score-threshold'

/** Whether a hit gave points to a rule that refuses by points: the gate's own, or the one of an imported rule set. */
function gaveTo(refusing: RuleHit, { ruleId }: RuleHit): boolean {
  if (refusing.ruleId === SCORE) return true
  const set = /^.+-(?=\d+$)/.exec(refusing.ruleId)?.[0]
  return refusing.score > 0 && set !== undefined && ruleId.startsWith(set)
}

function isEnforced(hit: unknown): hit is RuleHit {
  return (
    typeof hit === 'object' &&
    hit !== null &&
    'mode' in hit &&
    hit.mode === 'enforce' &&
    'exception' in hit &&
    hit.exception === null
  )
}

/** Value and decoding of a stored hit; events of older versions have no steps. */
function seenOf({ value, steps }: Partial<RuleHit>): string | null {
  if (typeof value !== 'string' || value === '') return null
  const decoded = Array.isArray(steps) && steps.length > 0 ? ` (decoded: ${steps.join(', ')})` : ''
  return `${JSON.stringify(value)}${decoded}`
}

/** A certificate that every client refuses. Development certificates are a choice, not a fault. */
function certificateProblem(
  certificates: readonly CertificateState[],
  snapshot: Snapshot,
  nowMs: number,
): string | null {
  for (const name of snapshot.names) {
    const own = certificates.filter(entry => entry.name === name.host)
    if (own.length > 0 && own.every(entry => entry.validToMs < nowMs)) {
      return `the certificate of ${name.host} ended on ${new Date(own[0]?.validToMs ?? 0).toISOString().slice(0, 10)}`
    }
  }
  return null
}
