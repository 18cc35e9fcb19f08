// The life of one connection: PROXY header, admission, ClientHello, refusal or handshake, hand-over, close.
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { cidrContains } from '../net/cidr.ts'
import type { Address } from '../net/address.ts'
import { decideHello } from '../policy/decide-hello.ts'
import type { TlsFacts } from '../policy/facts.ts'
import type { Name, Snapshot, TlsProfileName } from '../policy/snapshot.ts'
import { BUILT_IN } from '../policy/source-line.ts'
import type { Refusal } from '../policy/verdict.ts'
import { helloFacts, type ParsedHello } from './client-hello.ts'
import { ConnectionReport, refusal, reportDefect } from './connection-report.ts'
import type { ConnectionActivity } from './connection.ts'
import { FirstBytes } from './first-bytes.ts'
import { LINGER_MS, tupleOf, type GateContext, type OpenEndpoint } from './gate-context.ts'
import { lastWordsOf, readOpening, type AnswerForm } from './opening.ts'
import { PhaseTimer } from './phase-timer.ts'
import { readProxyHeader } from './proxy-protocol.ts'
import type { ConnectionPhase, LiveConnection } from './live-connection.ts'
import { tlsAlertRecord } from './tls-alert.ts'
import { readTlsFacts } from './tls-profiles.ts'

type Chosen = { readonly name: Name; readonly tlsProfile: TlsProfileName }
type Opened = {
  readonly socket: TLSSocket
  readonly tls: TlsFacts
  activity: ConnectionActivity | null
}

const NO_ANSWER: AnswerForm = { kind: 'none' }

/** A connection from accept to close. */
export class GateConnection {
  readonly id: string
  readonly #gate: GateContext
  readonly #endpoint: OpenEndpoint
  readonly #raw: Socket
  readonly #report: ConnectionReport
  #phase: ConnectionPhase = 'hello'
  /** The refusal of the accept phase, held until the ClientHello is there, so that it can go out as an alert. */
  #pending: Refusal | null = null
  #first: FirstBytes | null = new FirstBytes()
  #chosen: Chosen | null = null
  #tuple = ''
  #opened: Opened | null = null
  readonly #timer = new PhaseTimer()
  #errorCode: string | null = null
  /** Load balancers check their targets with a LOCAL header and nothing after it. */
  #isHealthCheck = false
  #isCounted = false
  #isLingering = false
  #isReleased = false

  constructor(gate: GateContext, endpoint: OpenEndpoint, raw: Socket, peer: Address, port: number) {
    this.id = gate.newId()
    this.#gate = gate
    this.#endpoint = endpoint
    this.#raw = raw
    this.#report = new ConnectionReport(gate, endpoint, peer, port)
    raw.on('error', (error: NodeJS.ErrnoException) => {
      this.#errorCode ??= error.code ?? error.message
    })
    raw.on('close', () => this.#guard(() => this.#rawClosed()))
    raw.on('data', this.#onData)
    raw.on('end', this.#onEnd)
    gate.connections.add(this)
  }

  /**
   * Begins to read. `helloMs` bounds everything up to the complete ClientHello.
   * @param first what somebody else has read who accepted the socket and knows its client
   */
  start(helloMs: number, first?: Buffer): void {
    this.#guard(() => {
      this.#setTimer(helloMs, () => this.#timedOut())
      if (first !== undefined) {
        this.#admit()
        if (this.#phase === 'hello') this.#received(first)
        if (!this.#gate.handshakes.has(this.#tuple)) this.#raw.resume() // not in a handshake: trap 3
        return
      }
      const { loadBalancers } = this.#endpoint.listener
      if (loadBalancers.some(range => cidrContains(range, this.#report.address))) this.#awaitHeader()
      else this.#admit()
    })
  }

  /** The state for status pages. */
  live(): LiveConnection {
    const activity = this.#opened?.activity ?? null
    return {
      ...this.#report.client(),
      id: this.id,
      phase: this.#phase,
      state: activity?.state() ?? this.#phase,
      name: this.#chosen?.name.host ?? null,
      tls: this.#opened?.tls ?? null,
      tlsProfile: this.#chosen?.tlsProfile ?? null,
      openedMs: this.#report.openedMs,
      requests: activity?.requests() ?? 0,
      bytesIn: activity?.bytesIn() ?? 0,
      bytesOut: activity?.bytesOut() ?? 0,
    }
  }

  /** Finishes what runs, then closes; before the end of the handshake its own timers do that. */
  drain(): void {
    this.#guard(() => this.#opened?.activity?.drain())
  }

  /** Another policy is in force: what is kept of the old one is let go, or long-lived connections would pile policies up. */
  policyChanged(): void {
    this.#guard(() => {
      if (this.#opened === null) return
      this.#report.standing = this.#gate.admission.standing(this.#report.address)
      this.#opened.activity?.policyChanged()
    })
  }

  /** Closes at once. */
  cut(): void {
    this.#opened?.socket.destroy()
    this.#raw.destroy()
  }

  /** The handshake is done; called by the gate for the TLS socket of this connection. */
  secured(socket: TLSSocket): void {
    this.#gate.handshakes.delete(this.#tuple)
    this.#timer.clear()
    // Attached before anything else: from here on errors come to this socket (trap 14).
    socket.on('error', () => undefined)
    this.#guard(() => {
      const { hello, standing } = this.#report
      const chosen = this.#chosen
      if (standing === null || hello === null || chosen === null)
        throw new Error('a handshake without a hello')
      const tls = readTlsFacts(socket)
      const opened: Opened = { socket, tls, activity: null }
      this.#opened = opened
      this.#phase = 'open'
      // A client may half-close after its request and still read the answer (trap 47).
      socket.allowHalfOpen = true
      socket.on('close', () => {
        this.#guard(() => this.#report.closed(tls, chosen.tlsProfile, opened.activity))
        this.#release()
      })
      opened.activity = this.#gate.handler({
        id: this.id,
        socket,
        listener: this.#endpoint.listener,
        clientPort: this.#report.port,
        standing,
        hello,
        tls,
        tlsProfile: chosen.tlsProfile,
        name: chosen.name,
        openedMs: this.#report.openedMs,
        reset: () => this.#raw.resetAndDestroy(),
      })
    })
  }

  /** The handshake failed; called by the gate when it still can tell whose it was. */
  handshakeFailed(code: string, problem: string): void {
    this.#report.handshakeFailed(code, problem)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#guard(() => this.#received(chunk))
  }

  readonly #onEnd = (): void => {
    this.#guard(() => this.#endedEarly())
    this.#raw.destroy()
  }

  #received(chunk: Buffer): void {
    const first = this.#first
    if (first === null) return
    first.push(chunk)
    if (this.#phase === 'proxy-header') this.#readHeader(first)
    if (this.#phase === 'hello' && first.bytes.length > 0) this.#readHello(first)
  }

  #awaitHeader(): void {
    const { awaitingHeader } = this.#gate
    this.#phase = 'proxy-header'
    if (awaitingHeader.count++ < this.#limits().connections) return
    const saw = `${awaitingHeader.count} connections without a PROXY header yet`
    this.#report.refused(refusal('connection-limit-total', saw, BUILT_IN), 'accept')
    this.#raw.destroy()
  }

  #readHeader(first: FirstBytes): void {
    const read = readProxyHeader(first.bytes)
    const refuse = (reason: 'proxy-header-missing' | 'proxy-header-invalid', saw: string): void =>
      this.#refuse(refusal(reason, saw, this.#endpoint.listener.at), 'accept', NO_ANSWER)
    switch (read.kind) {
      case 'incomplete':
        return
      case 'missing':
        return refuse('proxy-header-missing', 'no PROXY protocol header')
      case 'invalid':
        return refuse('proxy-header-invalid', read.problem)
      case 'header':
        this.#leaveHeader('hello')
        first.drop(read.bytes)
        if (read.source === null) this.#isHealthCheck = true
        else {
          this.#report.address = read.source.address
          this.#report.port = read.source.port
        }
        this.#admit()
    }
  }

  #admit(): void {
    const { admission } = this.#gate
    const verdict = admission.decide(this.#report.address, this.#endpoint.listener.id)
    this.#report.standing = verdict.standing
    if (verdict.allow) {
      this.#isCounted = true
      admission.enter(this.#report.address)
      return
    }
    this.#pending = verdict.refusal
    this.#isLingering = admission.linger()
    if (this.#isLingering) return
    this.#report.refused(verdict.refusal, 'accept')
    this.#phase = 'refused'
    this.#raw.destroy()
  }

  #readHello(first: FirstBytes): void {
    const opening = readOpening(first.bytes, this.#limits().helloBytes)
    switch (opening.kind) {
      case 'incomplete':
        return
      case 'hello':
        this.#heard(opening.hello)
        return
      case 'refused': {
        const { at } = this.#endpoint.listener
        const line = opening.reason === 'plaintext-on-tls' ? at : BUILT_IN
        this.#refuse(refusal(opening.reason, opening.saw, line), 'hello', opening.answer)
      }
    }
  }

  #heard(parsed: ParsedHello): void {
    const { isUpstreamUp, nowMs, isDraining } = this.#gate
    const standing = this.#report.whoever()
    const hello = helloFacts(parsed, this.#gate.ja4(parsed))
    this.#report.hello = hello
    const answer: AnswerForm = { kind: 'alert', version: parsed.legacyVersion }
    if (this.#pending !== null) {
      this.#refuse(this.#pending, 'accept', answer)
      return
    }
    if (isDraining()) {
      this.#refuse(refusal('draining', 'the gate is shutting down', BUILT_IN), 'hello', answer)
      return
    }
    const verdict = decideHello(standing, this.#endpoint.listener, hello, isUpstreamUp, nowMs())
    this.#report.detected(verdict.hits)
    if (verdict.allow) this.#handOver(verdict, standing.snapshot, answer)
    else this.#refuse(verdict.refusal, 'hello', answer)
  }

  /** Trap 3: pause, unshift, emit; nobody resumes the socket afterwards, the TLS socket reads from its handle. */
  #handOver(chosen: Chosen, snapshot: Snapshot, answer: AnswerForm & { kind: 'alert' }): void {
    const raw = this.#raw
    const { host } = chosen.name
    const server = this.#gate.servers.serverFor(snapshot, chosen.tlsProfile, host)
    const bytes = this.#first?.bytes
    this.#chosen = { name: chosen.name, tlsProfile: chosen.tlsProfile }
    this.#phase = 'handshake'
    if (server === undefined || bytes === undefined) {
      this.handshakeFailed('certificate-missing', `no certificate is loaded for ${host}`)
      this.#endWith(tlsAlertRecord('internal_error', answer.version))
      return
    }
    this.#first = null
    raw.off('data', this.#onData)
    raw.off('end', this.#onEnd)
    raw.pause()
    raw.unshift(bytes)
    // Until the handshake is done, a client that hangs up is gone.
    raw.allowHalfOpen = false
    this.#tuple = tupleOf(raw)
    this.#gate.handshakes.set(this.#tuple, this)
    this.#gate.wrapped.set(raw, this)
    this.#setTimer(snapshot.limits.handshakeMs, () => {
      this.handshakeFailed('handshake-timeout', 'the client did not finish the handshake in time')
      raw.destroy()
    })
    server.emit('connection', raw)
  }

  #refuse(found: Refusal, phase: 'accept' | 'hello', answer: AnswerForm): void {
    // What was refused at accept stays so, whatever the first bytes turned out to be.
    const verdict = this.#pending ?? found
    const reference = this.#report.refused(verdict, this.#pending === null ? phase : 'accept')
    this.#leaveHeader('refused')
    if (verdict.reason === 'upstream-down') {
      // Agents switch to their secondary address at once on a reset, and only after a time-out on anything else (trap 20).
      this.#phase = 'refused'
      this.#raw.resetAndDestroy()
      return
    }
    this.#endWith(lastWordsOf(verdict.reason, answer, reference))
  }

  /** Sends the last words and keeps reading for a moment: unread bytes would turn FIN into RST and the words be lost (trap 8). */
  #endWith(lastWords: Uint8Array | string | null): void {
    this.#phase = 'refused'
    this.#first = null
    if (lastWords === null) this.#raw.end()
    else this.#raw.end(lastWords)
    this.#isLingering ||= this.#gate.admission.linger()
    if (this.#isLingering) this.#setTimer(LINGER_MS, () => this.#raw.destroy())
    else this.#raw.destroySoon()
  }

  #timedOut(): void {
    const received = this.#first?.bytes.length ?? 0
    if (received > 0 && this.#pending === null) {
      const isHello = this.#phase === 'hello'
      const verdict = refusal(
        isHello ? 'hello-timeout' : 'proxy-header-invalid',
        `${received} bytes, then nothing`,
        BUILT_IN,
      )
      this.#report.refused(verdict, isHello ? 'hello' : 'accept')
    } else this.#endedEarly()
    this.#raw.destroy()
  }

  /** The client is gone, or said nothing, before its ClientHello was there. */
  #endedEarly(): void {
    if (this.#phase !== 'hello' && this.#phase !== 'proxy-header') return
    const received = this.#first?.bytes.length ?? 0
    const problem = `the client closed the connection after ${received} bytes, before its ClientHello was complete`
    if (this.#pending !== null && !this.#isHealthCheck) this.#report.refused(this.#pending, 'accept')
    else if (received === 0) this.#report.silent()
    else this.handshakeFailed(this.#errorCode ?? 'hello-unfinished', problem)
  }

  #rawClosed(): void {
    if (this.#phase === 'open') {
      // The TLS socket's own close follows; the closing event is reported from it.
      this.#opened?.socket.destroy()
      return
    }
    this.#endedEarly()
    if (this.#phase === 'handshake') {
      const problem = 'the client closed the connection during the TLS handshake'
      this.handshakeFailed(this.#errorCode ?? 'ECONNRESET', problem)
    }
    this.#release()
  }

  #release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#timer.clear()
    const { admission, connections, handshakes } = this.#gate
    this.#leaveHeader('refused')
    if (this.#isCounted) admission.leave(this.#report.address)
    if (this.#isLingering) admission.endLinger()
    if (handshakes.get(this.#tuple) === this) handshakes.delete(this.#tuple)
    connections.delete(this)
  }

  #leaveHeader(next: ConnectionPhase): void {
    if (this.#phase !== 'proxy-header') return
    this.#gate.awaitingHeader.count--
    this.#phase = next
  }

  #limits(): Snapshot['limits'] {
    return this.#report.whoever().snapshot.limits
  }

  #setTimer(delayMs: number, done: () => void): void {
    this.#timer.set(delayMs, () => this.#guard(done))
  }

  /** A bug closes this connection, never the process. */
  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      const problem = reportDefect(this.#gate.reporter, `connection ${this.id}, phase ${this.#phase}`, error)
      // An open connection reports its own end, as an internal error when the handler never answered.
      if (this.#phase !== 'open') this.#report.handshakeFailed('internal-error', problem)
      this.cut()
    }
  }
}
