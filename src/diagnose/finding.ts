// The words of a diagnosis: what is known, what was found, and the pieces that several findings share.
import type { Explanation } from '../policy/explain.ts'
import { formatSourceLine, type SourceLine } from '../policy/source-line.ts'
import type { Activity } from './activity.ts'
import type { Device } from './devices.ts'
import type { HeartbeatListenerFacts } from './heartbeats.ts'
import type { Fix } from './fix.ts'
import type { FixContext } from './fixes.ts'
import type { ClientTrouble } from './gateway-client.ts'
import type { LoneSession, StreamMismatch } from './stream.ts'

/** What the diagnosis found; a closed set, stable for ticket systems. */
export type Cause =
  | 'healthy'
  | 'never-arrived'
  | 'reachability-test'
  | 'banned'
  | 'country'
  | 'tls-version'
  | 'certificate'
  | 'handshake'
  | 'name'
  | 'plaintext'
  | 'class'
  | 'rule'
  | 'upstream'
  | 'capacity'
  | 'protocol'
  | 'heartbeats-unanswered'
  | 'replies-stopped'
  | 'heartbeats-stopped'
  | 'load-balancer'
  | 'body'
  | 'cors'
  | 'direct-address'
  | 'gone-quiet'
  | 'slow'
  | 'key'
  | 'mismatch'
  | 'udp-notifications'
  | 'trial'
  | 'port'
  | 'fixed'

/** A rule that fired, the field that its hit shows, and further ones in which it held. */
export type HitRule = {
  readonly ruleId: string
  readonly field: string
  readonly alsoIn: readonly string[]
}

/** What is known when the tree is walked. */
export type Evidence = {
  readonly address: string
  readonly explanation: Explanation
  /** Null: nothing has ever been recorded. */
  readonly activity: Activity | null
  /** Rule hits of the newest refusal by a rule, when the store has it. */
  readonly ruleHit: {
    readonly ruleId: string
    readonly field: string
    readonly alsoIn: readonly string[]
    readonly path: string
    readonly class: string
    /** The decoded value, secrets redacted, and how it was decoded; null: the event does not say. */
    readonly seen: string | null
    /** Other rules that gave the points which refused together with it. */
    readonly others: readonly HitRule[]
  } | null
  /** What the newest broken handshake ended with, in words; null: not known. */
  readonly handshakeProblem: string | null
  /** Clients behind the address, newest first. */
  readonly devices: readonly Device[]
  /** Fingerprint of the one device that is asked about; null: the whole address. */
  readonly device: string | null
  /** The newest recorded refusal by reason (or by name of the event, for what has none). */
  readonly newest: ReadonlyMap<string, Witness>
  /** Latest request that passed before the time that `activity` covers; null: none. Asked only when needed: it reads much. */
  readonly earlierMs: () => number | null
  /** Addresses whose agents passed within so many milliseconds, this one left out; counting ends at MANY. */
  readonly othersPassing: (withinMs: number) => number
  /** Since when the gate runs; left out: none does. */
  readonly gateStartedMs?: number
  /** A client of this address that held one connection where its product uses two, and has not come with two since; null: none. */
  readonly loneSession?: LoneSession | null
  /** What it has open at this moment that may last for hours: requests, WebSockets, streams. Left out: no gate runs. */
  readonly open?: OpenNow
  /** Pages of other names that browsers at this address were kept from showing, newest first. */
  readonly crossOrigin: readonly CrossOrigin[]
  /** What happened to the gate and its policy lately, newest first. */
  readonly happenings: readonly Happening[]
  /** Clients of the gateway at this address that were turned away last; absent: none. */
  readonly clientTroubles?: readonly ClientTrouble[]
  /** A raw TCP stream of which one side speaks TLS and the other does not, and nothing has passed there since; null: none. */
  readonly mismatch?: StreamMismatch | null
  /** Members of upstream groups that the gate sees in trouble now. */
  readonly upstreams: readonly UpstreamTrouble[]
  /** Names whose upstream is down now; null: no gate runs, so nobody knows. */
  readonly upstreamsDown: readonly string[] | null
  readonly certificateProblem: string | null
  /** A certificate file of the gate that lacks the intermediate certificate which signed it; left out: none does. */
  readonly incompleteChain?: { readonly file: string; readonly issuer: string }
  /** The gate's own part of the time of requests in the last hour, in milliseconds; left out: too few to say. */
  readonly ownMs?: number
  /** Listeners for heartbeats, as the running gate has them; left out: none runs. */
  readonly heartbeatListeners?: readonly HeartbeatListenerFacts[]
  readonly publicHost: string | null
  /** Options that a command needs to reach this policy, with a leading space; empty: none. */
  readonly commandOptions: string
  readonly nowMs: number
}

/** Connections of an address at this moment. */
export type OpenNow = {
  readonly count: number
  /** Since when the oldest of them is open; null: there is none. */
  readonly sinceMs: number | null
  /** There are more connections than the gate lists: others of this address may be among them. */
  readonly isCutOff: boolean
}

/** One recorded refusal: when, and in which words. */
export type Witness = {
  readonly atMs: number
  readonly reference: string | null
  /** What was seen: `TLSv1`, `12 open`, ... */
  readonly saw: string
  /** `file:line:column` that decided; empty: none did. */
  readonly line: string
  /** `GET /automate`, or empty. */
  readonly request: string
}

/** A page of one name that asked another: browsers refuse to show what the server does not agree to. */
export type CrossOrigin = {
  readonly atMs: number
  /** `https://old.example.com`. */
  readonly origin: string
  readonly host: string
  readonly times: number
}

/** Something that happened to the gate, dated. */
export type Happening = { readonly atMs: number; readonly text: string }

/** A member of an upstream group that is down or slow. */
export type UpstreamTrouble = {
  readonly member: string
  readonly origin: string
  readonly sinceMs: number
  readonly problem: string | null
  /** Median times of answers; null: it is down rather than slow. */
  readonly pace: { readonly recentMs: number; readonly usualMs: number } | null
}

/** A dated fact; null: it holds now. */
export type Proof = { readonly atMs: number | null; readonly text: string }

/** The result: one sentence, its cause, what shows it, and what to do. */
export type Diagnosis = {
  readonly cause: Cause
  readonly healthy: boolean
  readonly sentence: string
  /** Short, newest first. */
  readonly evidence: readonly Proof[]
  readonly fix: Fix | null
}

/** What fixes need to know of the evidence. */
export function fixContext({ address, explanation, commandOptions, nowMs }: Evidence): FixContext {
  return { address, site: explanation.standing.site, commandOptions, nowMs }
}

/** A diagnosis that needs a fix. */
export function problem(
  cause: Cause,
  sentence: string,
  fix: Fix,
  evidence: readonly (Proof | null)[] = [],
): Diagnosis {
  return { cause, healthy: false, sentence, evidence: evidence.filter(entry => entry !== null), fix }
}

/** The newest recorded refusal for a reason, as evidence; null: none is recorded any more. */
export function witnessed({ newest }: Evidence, reason: string): Proof | null {
  const witness = newest.get(reason)
  if (witness === undefined) return null
  const { atMs, reference, saw, line, request } = witness
  const what = request === '' ? '' : `${request}: `
  const by = line === '' ? '' : `, decided by ${line.replace(/^\((.*)\)$/, '$1')}`
  const under = reference === null ? '' : `, reference ${reference}`
  return { atMs, text: `${what}${saw === '' ? reason : saw}${by}${under}` }
}

/** `216.160.83.56`, or `the device t10d... behind 216.160.83.56`. */
export function subjectOf({ address, device }: Evidence): string {
  return device === null ? address : `The device ${device} behind ${address}`
}

/** `(policies/portcullis.yaml:3:5)`, or `(built-in default)`. */
export function placeWords(at: SourceLine): string {
  const text = formatSourceLine(at)
  return text.startsWith('(') ? text : `(${text})`
}

/** `2026-11-21 09:19 UTC`. */
export function timeWords(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** `198.51.100.7 is banned until ... : password guessing (...).` */
export function banSentence(address: string, ban: Explanation['standing']['ban']): string {
  if (ban === null) return `${address} is banned.`
  const scope = ban.classes === null ? '' : ` from ${[...ban.classes].join(', ')}`
  const until = ban.expiresMs === null ? 'without an end' : `until ${timeWords(ban.expiresMs)}`
  const line = formatSourceLine(ban.at)
  const where = ban.at.line === 0 ? line : `(by ${ban.owner}, ${line})`
  return `${address} is banned${scope} ${until}: ${ban.reason} ${where}.`
}
