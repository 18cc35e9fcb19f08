// What is known of one raw TCP stream, and its events: refused or silent, opened, counted, closed, each at most once.
import type { RuleHit } from '../../ips/rule-set.ts'
import type { Ending, Reporter } from '../../journal/events.ts'
import type { StreamFields } from '../../journal/events-streams.ts'
import type { Address } from '../../net/address.ts'
import type { TlsVersion } from '../../net/tls-version.ts'
import { REASONS } from '../../policy/reasons.ts'
import type { HelloFacts } from '../../policy/facts.ts'
import { enforces } from '../../policy/rule-hits.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import type { Standing } from '../../policy/standing.ts'
import type { StreamService } from '../../policy/streams.ts'
import type { Refusal } from '../../policy/verdict.ts'
import type { Admission } from '../accept.ts'
import type { WouldBe } from '../../policy/trial.ts'
import { countryWord } from '../../policy/who.ts'
import type { TrialNotes } from '../trial-notes.ts'

/** What a report needs of its surroundings. */
export type ReportContext = {
  readonly reporter: Reporter
  readonly nowMs: () => number
  readonly newReference: () => string
  readonly admission: Pick<Admission, 'standing'>
  readonly trials: TrialNotes
}

/** Gathers what becomes known of a stream and reports it. */
export class StreamReport {
  readonly openedMs: number
  address: Address
  port: number
  standing: Standing | null = null
  service: StreamService | null = null
  hello: HelloFacts | null = null
  tls: TlsVersion | null = null
  #wouldBe: WouldBe | null = null
  upstream = ''
  readonly #context: ReportContext
  readonly #place: { readonly listener: string; readonly localPort: number }
  #hits: readonly RuleHit[] = []
  #countedIn = 0
  #countedOut = 0
  countedMs: number
  #isDone = false

  constructor(
    context: ReportContext,
    place: { readonly listener: string; readonly localPort: number },
    peer: Address,
    port: number,
  ) {
    this.#context = context
    this.#place = place
    this.address = peer
    this.port = port
    this.openedMs = context.nowMs()
    this.countedMs = this.openedMs
  }

  /** A load balancer has named its client; null: it speaks for itself. */
  speaksFor(source: { readonly address: Address; readonly port: number } | null): void {
    if (source === null) return
    this.address = source.address
    this.port = source.port
  }

  get listener(): string {
    return this.#place.listener
  }

  whoever(): Standing {
    return this.standing ?? this.#context.admission.standing(this.address)
  }

  fields(): StreamFields {
    const standing = this.whoever()
    return {
      address: this.address.text,
      port: this.port,
      ...this.#place,
      site: standing.site?.id ?? null,
      country: countryWord(standing.country),
      class: this.service?.class ?? null,
      start: this.service?.start ?? null,
      serverName: this.hello?.serverName ?? null,
    }
  }

  /** Keeps the first thing that a trial let pass: enforcing would not have got any further. */
  tried(wouldBe: WouldBe | null): void {
    this.#wouldBe ??= wouldBe
  }

  /** Notes what rules found in the ClientHello, and reports what did not act. */
  detected(hits: readonly RuleHit[]): void {
    this.#hits = hits
    for (const hit of hits) {
      if (enforces(hit)) continue
      const { localPort: _port, start: _start, serverName, ...client } = this.fields()
      this.#context.reporter.report('rule.detected', {
        ...client,
        reference: this.#context.newReference(),
        host: serverName ?? '',
        method: '',
        path: '',
        class: null,
        hit,
      })
    }
  }

  /** Reports a refusal and returns the reference that explains it. The stream may go on to be reported as closed when it was open. */
  refused({ reason, stage, saw, line }: Refusal): string {
    const reference = this.#context.newReference()
    if (this.#isDone) return reference
    if (this.upstream === '') this.#isDone = true
    this.#context.reporter.report('stream.refused', {
      ...this.fields(),
      reference,
      reason,
      stage,
      saw,
      line: formatSourceLine(line),
      phase: REASONS[reason].phase === 'hello' ? 'hello' : 'accept',
      offered: this.hello?.versions ?? [],
      ja4: this.hello?.ja4 ?? null,
      ...(this.#hits.length === 0 ? {} : { hits: this.#hits }),
    })
    return reference
  }

  /** The client connected and said nothing where something was expected: a port test that succeeded (trap 28). */
  silent(): void {
    if (this.#isDone) return
    this.#isDone = true
    const { address, port, listener, site, country } = this.fields()
    this.#context.reporter.report('connection.silent', {
      address,
      port,
      listener,
      site,
      country,
      durationMs: this.#context.nowMs() - this.openedMs,
    })
  }

  /** The TLS of the client did not come about. */
  handshakeFailed(code: string, problem: string): void {
    if (this.#isDone) return
    this.#isDone = true
    const { address, port, listener, site, country } = this.fields()
    const { hello } = this
    this.#context.reporter.report('handshake.failed', {
      address,
      port,
      listener,
      site,
      country,
      serverName: hello?.serverName ?? null,
      offered: hello?.versions ?? [],
      ja4: hello?.ja4 ?? null,
      code,
      problem,
    })
  }

  opened(upstream: string, member: string, connectMs: number): void {
    this.upstream = upstream
    if (this.#wouldBe !== null) {
      const { port, service, hello } = this
      const place = { listener: this.#place.listener, host: hello?.serverName ?? '' }
      const tried = { standing: this.whoever(), port, class: service?.class ?? null, ...place }
      this.#context.trials.note(this.#wouldBe, tried, this.#context.nowMs())
    }
    this.#context.reporter.report('stream.opened', {
      ...this.fields(),
      negotiated: this.tls,
      upstream,
      member,
      connectMs,
    })
  }

  mismatch(what: 'tls-to-plain' | 'plain-to-tls'): void {
    const reference = this.#context.newReference()
    this.#context.reporter.report('stream.mismatch', {
      ...this.fields(),
      reference,
      what,
      upstream: this.upstream,
    })
  }

  /** Reports what came since the last time, for streams that last. */
  counted(bytesIn: number, bytesOut: number): void {
    this.countedMs = this.#context.nowMs()
    const fresh = { bytesIn: bytesIn - this.#countedIn, bytesOut: bytesOut - this.#countedOut }
    this.#countedIn = bytesIn
    this.#countedOut = bytesOut
    this.#context.reporter.report('stream.counted', { ...this.fields(), ...fresh })
  }

  closed(bytesIn: number, bytesOut: number, ending: Ending): void {
    if (this.#isDone) return
    this.#isDone = true
    this.#context.reporter.report('stream.closed', {
      ...this.fields(),
      upstream: this.upstream,
      bytesIn,
      bytesOut,
      freshIn: bytesIn - this.#countedIn,
      freshOut: bytesOut - this.#countedOut,
      durationMs: this.#context.nowMs() - this.openedMs,
      ending,
    })
  }
}
