// The way of a stream to its server: connecting, joining, and its end.
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Ending } from '../../journal/events.ts'
import { parseAddress } from '../../net/address.ts'
import type { StreamListener, StreamService } from '../../policy/streams.ts'
import { refusal } from '../connection-report.ts'
import { tlsAlertRecord } from '../tls-alert.ts'
import { JoinedStream } from './joined-stream.ts'
import { proxyHeader } from './proxy-header.ts'
import type { StreamContext } from './stream-context.ts'
import type { StreamOpened } from './stream-group.ts'
import type { StreamReport } from './stream-report.ts'

/** What is linked, and who is told. */
export type LinkOptions = {
  readonly context: StreamContext
  readonly listener: StreamListener
  readonly service: StreamService
  readonly report: StreamReport
  readonly raw: Socket
  /** The socket as the client's bytes are read. */
  readonly down: Duplex
  readonly first: Buffer
  readonly localPort: number
  /** No server could be reached: nothing was sent to any. */
  readonly onFailed: (problem: string) => void
  /** The stream was open and has ended; or the client was gone before it could open. */
  readonly onClosed: () => void
}

const TLS_1_2 = 0x0303

/** A stream from the moment in which its service is known. */
export class StreamLink {
  readonly #options: LinkOptions
  readonly #cancel: () => void
  readonly #leaveClass: () => void
  #release = (): void => undefined
  #joined: JoinedStream | null = null

  constructor(options: LinkOptions) {
    this.#options = options
    const { context, listener, service, report, raw, down, localPort } = options
    const { action } = service
    const group = context.groupOf(listener.id, service)
    if (group === undefined || action.kind !== 'forward') throw new Error(`no servers for ${listener.id}`)
    this.#leaveClass = context.counters.enterClass(service.class, report.address)
    const beganMs = context.nowMs()
    const { address, port } = report
    const local = parseAddress(raw.localAddress?.split('%', 1)[0] ?? '')
    const header =
      action.proxyProtocol && local !== undefined
        ? proxyHeader({ address, port }, { address: local, port: localPort })
        : null
    this.#cancel = group.open(
      {
        client: address.text,
        port: localPort,
        header,
        partner: down,
        connectMs: report.whoever().snapshot.limits.upstreamConnectMs,
        keepAliveMs: listener.keepAliveMs,
      },
      result => this.#connected(result, context.nowMs() - beganMs),
    )
  }

  get isOpen(): boolean {
    return this.#joined !== null
  }

  get bytesIn(): number {
    return this.#joined?.bytesIn ?? 0
  }

  get bytesOut(): number {
    return this.#joined?.bytesOut ?? 0
  }

  /** Ends it with a reset on both sides. */
  cut(ending: Ending): void {
    if (this.#joined === null) this.#options.raw.resetAndDestroy()
    else this.#joined.cut(ending)
  }

  /** Gives back what was counted, and stops connecting. */
  end(): void {
    if (this.#joined === null) this.#cancel()
    this.#leaveClass()
    this.#release()
  }

  #connected(result: StreamOpened, connectMs: number): void {
    const { context, listener, service, report, raw, down, first, onFailed, onClosed } = this.#options
    if (!result.ok) {
      onFailed(result.problem)
      return
    }
    this.#release = result.release
    if (raw.destroyed) {
      result.socket.on('error', () => undefined)
      result.socket.destroy()
      onClosed()
      return
    }
    const totals = context.counters.totals(listener.id)
    totals.opened++
    report.opened(result.text, result.member.id, connectMs)
    this.#joined = new JoinedStream({
      raw,
      down,
      up: result.socket,
      first,
      class: service.class,
      idleMs: listener.idleMs,
      deadlines: context.deadlines,
      compares: result.member.tls === null && result.member.target.kind === 'tcp',
      refuseTls: () => {
        if (listener.speaks === 'any' || service.start !== null) return null
        report.refused(refusal('tls-on-plain', 'a TLS ClientHello', listener.at))
        totals.refused++
        return Buffer.from(tlsAlertRecord('access_denied', TLS_1_2))
      },
      onMismatch: what => report.mismatch(what),
      onClosed: ending => {
        totals.bytesIn += this.bytesIn
        totals.bytesOut += this.bytesOut
        report.closed(this.bytesIn, this.bytesOut, ending)
        onClosed()
      },
    })
  }
}
