// Answers "what would this source get, and which line decides?" by asking the very decisions that live traffic asks.
import { normaliseTarget } from '../ips/target.ts'
import { strongestTls, TLS_VERSIONS, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import { CLASSES, type TrafficClass } from './classes.ts'
import { classPolicy, decideAccess, type Digest } from './decide-access.ts'
import { decideAccept } from './decide-accept.ts'
import { decideHello } from './decide-hello.ts'
import { decideRequest } from './decide-request.ts'
import type { HelloFacts, RequestFacts, SourceFacts } from './facts.ts'
import type { Listener, Overlay, Snapshot } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'
import type { AcceptVerdict, HelloVerdict, RequestVerdict, ResolvedCountry, Standing } from './standing.ts'
import { refuseWith } from './trace.ts'
import type { WouldBe } from './trial.ts'
import type { Refusal, Step, Trace } from './verdict.ts'

/** What is asked. Null parts are unknown: the answer then covers all that they could be. */
export type ExplainQuestion = {
  readonly source: SourceFacts
  readonly listener: Listener
  readonly nowMs: number
  /** Host name that the client uses as server name and Host. */
  readonly host: string | null
  readonly tlsVersions: readonly TlsVersion[] | null
  /** What else a real ClientHello said; left out: unknown, and rules on it are not asked. */
  readonly hello?: Pick<HelloFacts, 'alpn' | 'ja4' | 'cipherCount'>
  /** A concrete request. */
  readonly request: {
    readonly method: string
    readonly target: string
    readonly webSocket: boolean
    /** Headers by lower-case name. */
    readonly headers: ReadonlyMap<string, string>
  } | null
  readonly isUpstreamUp: (group: string) => boolean
  readonly sha256Hex: Digest
}

/** A verdict with the steps that led to it. */
export type Explained<V> = { readonly verdict: V; readonly steps: readonly Step[] }

/** What a client that offers these TLS versions gets. */
export type ExplainedHello = Explained<HelloVerdict> & { readonly offered: readonly TlsVersion[] }

/** What a source gets of one class. */
export type ExplainedClass = {
  readonly class: TrafficClass
  readonly allowed: boolean
  readonly refusal: Refusal | null
  /** What enforcing would refuse it for; null: nothing that is on trial. */
  readonly wouldBe: WouldBe | null
  /** The line that decided, either way. */
  readonly line: SourceLine
  /** The line of the key that a request must carry besides; null: none needed. */
  readonly needsKey: SourceLine | null
  readonly steps: readonly Step[]
}

/** The whole answer. */
export type Explanation = {
  /** Site, allows, bans, trust and country of the source. */
  readonly standing: Standing
  readonly country: {
    readonly resolved: ResolvedCountry
    readonly first: string | null
    readonly second: string | null
    readonly databaseLoaded: boolean
  }
  /** The host that the answers about names and classes assume; null: the gate serves none. */
  readonly host: string | null
  readonly accept: Explained<AcceptVerdict>
  /** For the asked versions, or for a client of each strongest version in turn, weakest first. */
  readonly hello: readonly ExplainedHello[]
  /** Weakest version with which the source gets in; null: none. */
  readonly lowestTls: TlsVersion | null
  readonly classes: readonly ExplainedClass[]
  readonly request: Explained<RequestVerdict> | null
}

/** Explains what a source gets under a policy. Pure, and made of the same decisions as live traffic. */
export function explain(snapshot: Snapshot, overlay: Overlay, question: ExplainQuestion): Explanation {
  const { source, listener, nowMs } = question
  const acceptFacts = { source, listener: listener.id, openFromSource: 0, openTotal: 0, nowMs }
  const accept = traced(trace => decideAccept(snapshot, overlay, acceptFacts, trace))
  const { standing } = accept.verdict
  const host = question.host ?? listener.withoutName ?? snapshot.names[0]?.host ?? null
  const askHello = (offered: readonly TlsVersion[]): ExplainedHello => ({
    offered,
    ...traced(trace =>
      decideHello(
        standing,
        listener,
        helloFacts(question, host, offered),
        question.isUpstreamUp,
        nowMs,
        trace,
      ),
    ),
  })
  const everyVersion = TLS_VERSIONS.map(version => askHello([version]))
  const hello = question.tlsVersions === null ? everyVersion : [askHello(question.tlsVersions)]
  const lowest = everyVersion.find(({ verdict }) => verdict.allow)?.offered[0] ?? null
  const negotiated = question.tlsVersions === null ? null : (strongestTls(question.tlsVersions) ?? null)

  const early = accept.verdict.allow
    ? question.tlsVersions === null
      ? null
      : refusalOf(hello[0]?.verdict)
    : accept.verdict.refusal
  const tried =
    wouldBeOf(accept.verdict) ?? (question.tlsVersions === null ? null : wouldBeOf(hello[0]?.verdict))
  return {
    standing,
    country: {
      resolved: standing.country,
      first: source.geo.country,
      second: source.geo.second,
      databaseLoaded: source.geo.available,
    },
    host,
    accept,
    hello,
    lowestTls: accept.verdict.allow ? lowest : null,
    classes: CLASSES.map(trafficClass =>
      explainClass(question, standing, trafficClass, negotiated, early, tried),
    ),
    request: explainRequest(question, standing, host, early, negotiated ?? everyVersionBest(everyVersion)),
  }
}

function traced<V>(ask: (trace: Trace) => V): Explained<V> {
  const trace: Trace = { steps: [] }
  const verdict = ask(trace)
  return { verdict, steps: trace.steps }
}

function refusalOf(verdict: HelloVerdict | undefined): Refusal | null {
  return verdict === undefined || verdict.allow ? null : verdict.refusal
}

function wouldBeOf(verdict: AcceptVerdict | HelloVerdict | undefined): WouldBe | null {
  return verdict?.allow === true ? verdict.wouldBe : null
}

/** The version of a connection nobody said anything about: the strongest that gets in. */
function everyVersionBest(asked: readonly ExplainedHello[]): TlsVersion {
  const admitted = asked.filter(({ verdict }) => verdict.allow).flatMap(({ offered }) => offered)
  return strongestTls(admitted) ?? 'TLSv1.3'
}

function helloFacts(
  { hello }: ExplainQuestion,
  serverName: string | null,
  offered: readonly TlsVersion[],
): HelloFacts {
  const versions = [...offered].sort((a, b) => tlsRank(b) - tlsRank(a))
  return { serverName, versions, ...(hello ?? { alpn: [], ja4: '', cipherCount: 0 }) }
}

function explainClass(
  { listener, nowMs }: ExplainQuestion,
  standing: Standing,
  trafficClass: TrafficClass,
  tlsVersion: TlsVersion | null,
  early: Refusal | null,
  tried: WouldBe | null,
): ExplainedClass {
  const policy = classPolicy({ standing }, trafficClass)
  const question = { class: trafficClass, listener: listener.id, nowMs, tlsVersion, request: null }
  const { verdict, steps } = traced(trace => decideAccess(standing, policy, question, trace))
  const refusal = early ?? verdict.refusal
  const keyStep = steps.find(step => step.outcome === 'note' && policy.keys.some(key => key.at === step.line))
  return {
    class: trafficClass,
    allowed: refusal === null,
    refusal,
    wouldBe: refusal === null ? (tried ?? verdict.wouldBe) : null,
    line: refusal?.line ?? steps.at(-1)?.line ?? policy.access.at,
    needsKey: refusal === null ? (keyStep?.line ?? null) : null,
    steps: early === null ? steps : [],
  }
}

function explainRequest(
  question: ExplainQuestion,
  standing: Standing,
  host: string | null,
  early: Refusal | null,
  tlsVersion: TlsVersion,
): Explained<RequestVerdict> | null {
  const { request, listener, nowMs } = question
  if (request === null || host === null) return null
  if (early !== null) return { verdict: refused(early), steps: [] }
  const hello = traced(trace =>
    decideHello(
      standing,
      listener,
      helloFacts(question, host, [tlsVersion]),
      question.isUpstreamUp,
      nowMs,
      trace,
    ),
  )
  if (!hello.verdict.allow) {
    const { refusal, hits } = hello.verdict
    return { verdict: { ...refused(refusal), hits }, steps: hello.steps }
  }
  const { name } = hello.verdict
  const target = normaliseTarget(request.target)
  if (target === undefined) {
    return traced(trace => refused(refuseWith(trace, 'class', 'target-invalid', request.target, name.at)))
  }
  const facts: RequestFacts = {
    method: request.method,
    host,
    target: request.target,
    ...target,
    headers: {
      get: header => request.headers.get(header),
      raw: [...request.headers].flat(),
    },
    webSocket: request.webSocket,
    nowMs,
  }
  const connection = { standing, listener, name, serverName: host, tlsVersion }
  return traced(trace => decideRequest(connection, facts, question.sha256Hex, trace))
}

function refused(refusal: Refusal): RequestVerdict {
  return { allow: false, class: null, refusal, hits: [] }
}
