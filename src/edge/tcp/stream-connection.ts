// The life of one raw TCP stream: PROXY header, admission, first bytes, TLS where it ends here, hand-over to its server, end.
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Ending } from '../../journal/events.ts'
import type { Address } from '../../net/address.ts'
import { cidrContains } from '../../net/cidr.ts'
import type { TlsProfileName } from '../../policy/snapshot.ts'
import { BUILT_IN } from '../../policy/source-line.ts'
import { carriesTls, type StreamListener, type StreamService } from '../../policy/streams.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { refusal, reportDefect } from '../connection-report.ts'
import { FirstBytes } from '../first-bytes.ts'
import { LINGER_MS, tupleOf } from '../gate-context.ts'
import { lastWordsOf, type AnswerForm } from '../opening.ts'
import { PhaseTimer } from '../phase-timer.ts'
import { tlsAlertRecord } from '../tls-alert.ts'
import { readTlsFacts } from '../tls-profiles.ts'
import { admitStream, judgeService, readSource, unreachable } from './admit-stream.ts'
import { answerTo, chooseByFirstBytes, chooseByHello, NO_ANSWER } from './choose-service.ts'
import { readRedirect } from './http-redirect.ts'
import type { StreamContext } from './stream-context.ts'
import { StreamLink } from './stream-link.ts'
import { StreamReport } from './stream-report.ts'

type Phase = 'proxy-header' | 'sniff' | 'hello' | 'redirect' | 'handshake' | 'linked' | 'ending'

/** A stream from accept to close. */
export class StreamConnection {
  readonly id: string
  readonly listener: StreamListener
  readonly report: StreamReport
  readonly #context: StreamContext
  readonly #raw: Socket
  readonly localPort: number
  readonly #timer = new PhaseTimer()
  #leave = (): void => undefined
  #first = new FirstBytes()
  #phase: Phase = 'sniff'
  /** Refused at accept, but told so by an alert once the ClientHello is there. */
  #pending: Refusal | null = null
  #isLingering = false
  #isReleased = false
  #tuple = ''
  /** Services that the ClientHello may be for. */
  #services: readonly StreamService[]
  #tls: TLSSocket | null = null
  #link: StreamLink | null = null

  constructor(context: StreamContext, listener: StreamListener, raw: Socket, peer: Address) {
    this.id = context.newId()
    this.listener = listener
    this.#services = listener.services
    this.#context = context
    this.#raw = raw
    this.localPort = raw.localPort ?? 0
    this.report = new StreamReport(
      context,
      { listener: listener.id, localPort: this.localPort },
      peer,
      raw.remotePort ?? 0,
    )
    // Stays attached: an error that comes late must find a listener.
    raw.on('error', () => undefined)
    raw.on('close', this.#onClose)
    context.connections.add(this)
  }

  /** Begins. */
  start(): void {
    this.#guard(() => {
      this.#raw.on('data', this.#onData)
      this.#raw.on('end', this.#onEnd)
      this.#setTimer(this.#limits().helloMs)
      const { loadBalancers } = this.listener
      if (loadBalancers.some(range => cidrContains(range, this.report.address))) this.#phase = 'proxy-header'
      else this.#admit()
    })
  }

  /** What it does now, in one word or two. */
  get state(): string {
    if (this.isOpen) return `stream ${this.report.service?.class ?? ''}`
    return this.#phase === 'linked' ? 'connecting' : this.#phase
  }

  /** The way to its server; null: there is none yet. */
  get link(): StreamLink | null {
    return this.#link
  }

  get isOpen(): boolean {
    return this.#link?.isOpen === true
  }

  /** Another policy is in force: the old one is let go of, or streams of days would pile policies up. */
  policyChanged(): void {
    if (this.isOpen) this.report.standing = this.#context.admission.standing(this.report.address)
  }

  /** An open stream goes on while it may; one that is not open yet is told that the gate shuts down. */
  drain(): void {
    if (this.#link === null) this.cut()
  }

  /** Ends it with a reset. */
  cut(ending: Ending = 'drain'): void {
    if (this.#link !== null) this.#link.cut(ending)
    else this.#raw.resetAndDestroy()
  }

  /** The handshake is done; called for the TLS socket of this stream. */
  secured(socket: TLSSocket): void {
    this.#context.handshakes.delete(this.#tuple)
    this.#timer.clear()
    socket.on('error', () => undefined)
    this.#guard(() => {
      const { service } = this.report
      if (service === null) throw new Error('a handshake without a service')
      socket.allowHalfOpen = true
      this.#tls = socket
      this.report.tls = readTlsFacts(socket).version
      this.#begin(service)
    })
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#guard(() => {
      this.#first.push(chunk)
      if (this.#phase === 'proxy-header') this.#readHeader()
      this.#look(false)
    })
  }

  readonly #onEnd = (): void => {
    this.#guard(() => this.#ended())
  }

  readonly #onClose = (): void => {
    this.#guard(() => {
      if (this.#phase === 'handshake')
        this.report.handshakeFailed('ECONNRESET', 'the client closed the connection during the TLS handshake')
      else if (this.#phase !== 'linked') this.#ended()
    })
    // An open stream ends when both its sockets have.
    if (!this.isOpen) this.#release()
  }

  #readHeader(): void {
    const read = readSource(this.#first, this.report, this.listener)
    if (read === 'incomplete') return
    this.#phase = 'sniff'
    if (read === null) this.#admit()
    else this.#refuse(read)
  }

  #admit(): void {
    const { listener } = this
    const { refused, leave } = admitStream(listener, this.localPort, this.report, this.#context)
    this.#pending = refused
    this.#leave = leave
    if (refused !== null) {
      this.#isLingering = carriesTls(listener) && this.#context.admission.linger()
      if (!this.#isLingering) {
        this.#refuse(refused)
        return
      }
    }
    const [only] = listener.services
    if (listener.kind === 'mixed') {
      if (this.#pending === null) this.#setTimer(listener.sniffMs)
    } else if (listener.kind === 'tls') this.#phase = 'hello'
    else if (only === undefined) throw new Error('a stream without a service')
    else this.#begin(only)
  }

  /** Looks at what has come so far. @param isAtEnd no more is waited for */
  #look(isAtEnd: boolean): void {
    if (this.#first.bytes.length === 0) return
    if (this.#phase === 'sniff') this.#sniff(isAtEnd)
    if (this.#phase === 'hello') this.#readHello()
    if (this.#phase === 'redirect') this.#redirect()
  }

  #sniff(isAtEnd: boolean): void {
    const choice = chooseByFirstBytes(this.#first.bytes, this.listener, isAtEnd)
    if (choice.kind === 'incomplete') return
    const isTls = choice.kind === 'hello' || choice.kind === 'edge'
    if (this.#pending !== null && !isTls) return this.#refuse(this.#pending)
    switch (choice.kind) {
      case 'refused':
        this.#refuse(choice.refusal, choice.answer)
        return
      case 'edge':
        this.#handOver(choice.listener)
        return
      case 'hello':
        this.#services = choice.services
        this.#phase = 'hello'
        this.#setTimer(this.#limits().helloMs)
        return
      case 'service':
        if (choice.service.action.kind === 'redirect') {
          this.report.service = choice.service
          this.#phase = 'redirect'
          this.#setTimer(this.#limits().headMs)
        } else this.#begin(choice.service)
    }
  }

  #readHello(): void {
    const choice = chooseByHello(this.#first.bytes, this.#services, this.listener, this.report, this.#context)
    if (choice.kind === 'refused') this.#refuse(this.#pending ?? choice.refusal, choice.answer)
    else if (choice.kind === 'edge') this.#handOver(choice.listener)
    else if (choice.kind === 'incomplete') return
    else if (this.#pending !== null) this.#refuse(this.#pending, { kind: 'alert', version: TLS_1_2 })
    else if (choice.tlsProfile === null) this.#connect(choice.service)
    else this.#shakeHands(choice.service, choice.tlsProfile)
  }

  #shakeHands({ action }: StreamService, profile: TlsProfileName): void {
    const { snapshot } = this.report.whoever()
    const host = action.kind === 'forward' ? (action.terminate?.host ?? '') : ''
    const server = this.#context.servers.serverFor(snapshot, profile, host)
    this.#phase = 'handshake'
    if (server === undefined) {
      this.report.handshakeFailed('certificate-missing', `no certificate is loaded for ${host}`)
      this.#endWith(tlsAlertRecord('internal_error', TLS_1_2))
      return
    }
    this.#letGo()
    this.#tuple = tupleOf(this.#raw)
    this.#context.handshakes.set(this.#tuple, this)
    this.#timer.set(snapshot.limits.handshakeMs, () => {
      this.report.handshakeFailed('handshake-timeout', 'the client did not finish the handshake in time')
      this.#raw.destroy()
    })
    // Trap 3: pause, unshift, emit; nobody resumes the socket afterwards.
    this.#raw.unshift(this.#takeFirst())
    this.#raw.allowHalfOpen = false
    server.emit('connection', this.#raw)
  }

  /** Gives the client to the HTTPS edge, which admits and judges it again, under its own listener. */
  #handOver(listener: string): void {
    const { address, port } = this.report
    this.#letGo()
    this.#raw.off('close', this.#onClose)
    this.#phase = 'ending'
    this.#release()
    if (!this.#context.adopt(this.#raw, listener, { address, port }, this.#takeFirst()))
      this.#raw.resetAndDestroy()
  }

  /** Asks whether the class is open to the source, and connects. */
  #begin(service: StreamService): void {
    this.report.service = service
    const refused = judgeService(service, this.report, this.#context)
    if (refused === null) this.#connect(service)
    else this.#refuse(refused, answerTo(service.start))
  }

  #connect(service: StreamService): void {
    this.#phase = 'linked'
    this.#timer.clear()
    this.#letGo()
    this.#link = new StreamLink({
      context: this.#context,
      listener: this.listener,
      service,
      report: this.report,
      raw: this.#raw,
      down: this.#tls ?? this.#raw,
      first: this.#takeFirst(),
      localPort: this.localPort,
      // Agents switch to their secondary address at once on a reset, and only after a time-out on anything else (trap 20).
      onFailed: problem => this.#refuse(unreachable(this.listener, service, problem)),
      onClosed: () => this.#release(),
    })
  }

  #redirect(): void {
    const read = readRedirect(this.#first.bytes, this.report.whoever().snapshot, this.localPort)
    if (read.kind === 'refused')
      this.#refuse(refusal('plaintext-on-tls', read.saw, this.listener.at), { kind: 'http' })
    else if (read.kind === 'redirect') {
      this.report.upstream = read.location
      this.report.closed(this.#first.bytes.length, read.answer.length, 'complete')
      this.#endWith(read.answer)
    }
  }

  /**
   * A reset tells the client's own log that somebody refused it: an orderly end would look like a server that had nothing to
   * say. Who speaks TLS or HTTP is told why instead.
   */
  #refuse(verdict: Refusal, answer: AnswerForm = NO_ANSWER): void {
    const reference = this.report.refused(verdict)
    this.#context.counters.totals(this.listener.id).refused++
    const words = verdict.reason === 'upstream-down' ? null : lastWordsOf(verdict.reason, answer, reference)
    if (words !== null && this.#tls === null) {
      this.#endWith(words)
      return
    }
    this.#phase = 'ending'
    this.#letGo()
    this.#raw.resetAndDestroy()
  }

  /** Sends the last words and goes on reading for a moment: unread bytes would turn the end into a reset (trap 8). */
  #endWith(words: Uint8Array | string): void {
    this.#phase = 'ending'
    this.#letGo()
    this.#raw.resume()
    this.#raw.end(words)
    this.#isLingering ||= this.#context.admission.linger()
    if (this.#isLingering) this.#timer.set(LINGER_MS, () => this.#raw.destroy())
    else this.#raw.destroySoon()
  }

  #timedOut(): void {
    const received = this.#first.bytes.length
    if (this.#pending !== null) this.#refuse(this.#pending)
    else if (this.#phase === 'sniff' && received > 0) this.#look(true)
    else if (received > 0) this.#refuse(refusal('hello-timeout', `${received} bytes, then nothing`, BUILT_IN))
    else {
      const silent = this.listener.services.find(({ start }) => start === 'silence')
      if (silent !== undefined && this.#phase === 'sniff') {
        this.#begin(silent)
        return
      }
      this.report.silent()
      this.#endWith('')
    }
  }

  /** The client has ended before anything was decided. */
  #ended(): void {
    if (this.#phase === 'ending' || this.#phase === 'linked') return
    // All that it had to say has come: a client may half-close and wait for the answer (trap 47).
    if (this.#phase === 'sniff' && this.#pending === null && !this.#raw.destroyed) this.#look(true)
    if (!BEFORE_ANY_DECISION.has(this.#phase)) return
    const received = this.#first.bytes.length
    if (this.#pending !== null) this.report.refused(this.#pending)
    else if (received === 0) this.report.silent()
    else
      this.report.handshakeFailed(
        'hello-unfinished',
        `the client closed the connection after ${received} bytes`,
      )
    this.#phase = 'ending'
    this.#raw.destroy()
  }

  #takeFirst(): Buffer {
    const { bytes } = this.#first
    this.#first = new FirstBytes()
    return bytes
  }

  #letGo(): void {
    this.#raw.off('data', this.#onData)
    this.#raw.off('end', this.#onEnd)
    this.#raw.pause()
  }

  #release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#timer.clear()
    const { connections, handshakes, admission } = this.#context
    if (handshakes.get(this.#tuple) === this) handshakes.delete(this.#tuple)
    if (this.#isLingering) admission.endLinger()
    this.#leave()
    this.#link?.end()
    connections.delete(this)
  }

  #limits() {
    return this.report.whoever().snapshot.limits
  }

  #setTimer(delayMs: number): void {
    this.#timer.set(delayMs, () => this.#guard(() => this.#timedOut()))
  }

  /** A bug closes this stream, never the process. */
  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      reportDefect(this.#context.reporter, `stream ${this.id}, phase ${this.#phase}`, error)
      this.#phase = 'ending'
      this.cut('internal-error')
    }
  }
}

const TLS_1_2 = 0x0303
const BEFORE_ANY_DECISION: ReadonlySet<Phase> = new Set(['proxy-header', 'sniff', 'hello', 'redirect'])
