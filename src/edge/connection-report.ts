// What is known of a connection, and its one closing event.
import type { RuleHit } from '../ips/rule-set.ts'
import type { ClientFields, HelloFields, Reporter } from '../journal/events.ts'
import type { Address } from '../net/address.ts'
import type { HelloFacts, TlsFacts } from '../policy/facts.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import type { TlsProfileName } from '../policy/snapshot.ts'
import { enforces } from '../policy/rule-hits.ts'
import { formatSourceLine, type SourceLine } from '../policy/source-line.ts'
import type { Standing } from '../policy/standing.ts'
import type { Refusal } from '../policy/verdict.ts'
import { countryWord } from '../policy/who.ts'
import type { ConnectionActivity } from './connection.ts'
import type { GateContext, OpenEndpoint } from './gate-context.ts'

/** Gathers what becomes known and reports the end exactly once: later calls do nothing. */
export class ConnectionReport {
  readonly openedMs: number
  /** The load balancer's own until its header has named the client. */
  address: Address
  port: number
  standing: Standing | null = null
  hello: HelloFacts | null = null
  #hits: readonly RuleHit[] = []
  readonly #gate: GateContext
  readonly #endpoint: OpenEndpoint
  #isDone = false

  constructor(gate: GateContext, endpoint: OpenEndpoint, peer: Address, port: number) {
    this.#gate = gate
    this.#endpoint = endpoint
    this.openedMs = gate.nowMs()
    this.address = peer
    this.port = port
  }

  /** The standing of the client, or of the load balancer that has not named one yet. */
  whoever(): Standing {
    return this.standing ?? this.#gate.admission.standing(this.address)
  }

  /** Fields of every event about this client. */
  client(): ClientFields {
    const standing = this.whoever()
    return {
      address: this.address.text,
      port: this.port,
      listener: this.#endpoint.listener.id,
      site: standing.site?.id ?? null,
      country: countryWord(standing.country),
    }
  }

  /** Notes what rules found in the ClientHello, and reports what did not act. */
  detected(hits: readonly RuleHit[]): void {
    this.#hits = hits
    for (const hit of hits) {
      if (enforces(hit)) continue
      this.#gate.reporter.report('rule.detected', {
        ...this.client(),
        reference: this.#gate.newReference(),
        host: this.hello?.serverName ?? '',
        method: '',
        path: '',
        class: null,
        hit,
      })
    }
  }

  /** Reports a refusal and returns the reference that explains it. */
  refused(refusal: Refusal, phase: 'accept' | 'hello'): string {
    const reference = this.#gate.newReference()
    if (!this.#isFirst()) return reference
    this.#gate.reporter.report('connection.refused', {
      ...this.client(),
      ...this.#helloFields(),
      reference,
      reason: refusal.reason,
      stage: refusal.stage,
      saw: refusal.saw,
      line: formatSourceLine(refusal.line),
      phase,
      ...(this.#hits.length === 0 ? {} : { hits: this.#hits }),
    })
    return reference
  }

  /** The client connected and said nothing: a port test that succeeded (trap 28). */
  silent(): void {
    if (!this.#isFirst()) return
    this.#gate.reporter.report('connection.silent', { ...this.client(), durationMs: this.#durationMs() })
  }

  handshakeFailed(code: string, problem: string): void {
    if (!this.#isFirst()) return
    this.#gate.reporter.report('handshake.failed', {
      ...this.client(),
      ...this.#helloFields(),
      code,
      problem,
    })
  }

  closed(tls: TlsFacts, tlsProfile: TlsProfileName, activity: ConnectionActivity | null): void {
    if (!this.#isFirst()) return
    this.#gate.reporter.report('connection.closed', {
      ...this.client(),
      ...this.#helloFields(),
      negotiated: tls.version,
      cipher: tls.cipher,
      resumed: tls.resumed,
      tlsProfile,
      requests: activity?.requests() ?? 0,
      bytesIn: activity?.bytesIn() ?? 0,
      bytesOut: activity?.bytesOut() ?? 0,
      durationMs: this.#durationMs(),
      ending: activity?.ending() ?? 'internal-error',
    })
  }

  #isFirst(): boolean {
    if (this.#isDone) return false
    this.#isDone = true
    return true
  }

  #durationMs(): number {
    return this.#gate.nowMs() - this.openedMs
  }

  #helloFields(): HelloFields {
    const { hello } = this
    if (hello === null) return { serverName: null, offered: [], ja4: null }
    return { serverName: hello.serverName, offered: hello.versions, ja4: hello.ja4 }
  }
}

/** A refusal that the edge itself finds, outside the decisions of the policy. */
export function refusal(reason: Reason, saw: string, line: SourceLine): Refusal {
  return { reason, stage: REASONS[reason].phase === 'accept' ? 'limits' : 'tls', saw, line }
}

/** Reports a bug that closes one connection, and returns its message. */
export function reportDefect(reporter: Reporter, where: string, error: unknown): string {
  const isError = error instanceof Error
  const problem = isError ? error.message : String(error)
  reporter.report('gate.internal-error', { where, problem, stack: isError ? (error.stack ?? '') : '' })
  return problem
}
