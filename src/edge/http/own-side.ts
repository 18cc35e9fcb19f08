// A request for the gate itself: gathers a small body, asks the service, answers with JSON or hands the socket over.
import { TLSSocket } from 'node:tls'
import type { Ending } from '../../journal/events.ts'
import type { RequestFacts } from '../../policy/facts.ts'
import type { HttpConnection } from './http-connection.ts'
import type { OwnReply, OwnRequest, OwnSwitch, Taken } from './own-service.ts'
import type { HeadProblem, RequestHead } from './request-head.ts'
import { clientFields, closedFields, detachedRecord, type RequestRecord } from './request-record.ts'
import type { RequestRun } from './request-run.ts'
import { serialiseHead } from './response-head.ts'
import type { Side } from './side.ts'
import type { Successor } from './successor.ts'

/** Bodies are questions of operators in JSON. */
const MAX_BODY_BYTES = 16_384

const NOTHING: OwnReply = {
  status: 404,
  json: {
    status: 404,
    code: 'path-unknown',
    message: 'The gate has nothing here.',
    remedy: 'Connector and command line must be as new as the gate.',
  },
}

/** The far side of a request for the gate itself. */
export class OwnSide implements Side {
  readonly answering = false
  readonly isBlocked = false
  private readonly run: RequestRun
  private readonly conn: HttpConnection
  private readonly head: RequestHead
  private readonly request: RequestFacts
  private readonly stop = new AbortController()
  private readonly parts: Buffer[] = []
  private bytes = 0

  constructor(run: RequestRun, conn: HttpConnection, head: RequestHead, request: RequestFacts) {
    this.run = run
    this.conn = conn
    this.head = head
    this.request = request
  }

  forward(): void {
    for (const portion of this.run.held?.portions() ?? []) this.sendBody(portion)
    if (this.run.bodyOver && !this.run.over) this.ask()
  }

  sendBody(portion: Buffer): void {
    this.bytes += portion.length
    if (this.bytes > MAX_BODY_BYTES)
      this.run.refuseBody({ reason: 'body-too-large', saw: `more than ${MAX_BODY_BYTES} bytes` })
    else this.parts.push(Buffer.from(portion))
  }

  endBody(): void {
    this.ask()
  }

  abort(): void {
    this.stop.abort()
  }

  resume(): boolean {
    return false
  }

  private ask(): void {
    const { conn, head, request, run } = this
    const service = conn.services.own
    const asked: OwnRequest = {
      method: head.method,
      path: request.pathFolded,
      query: request.query,
      headers: run.headers,
      client: clientFields(conn.connection, run.facts),
      body: this.bytes === 0 ? NO_BYTES : Buffer.concat(this.parts),
      keyingMaterial: (bytes, label) =>
        conn.socket instanceof TLSSocket ? conn.socket.exportKeyingMaterial(bytes, label, NO_BYTES) : null,
      signal: this.stop.signal,
    }
    if (service === undefined) return this.reply(NOTHING)
    const wanted = head.connectionUpgrade ? protocolOf(head, run) : null
    if (wanted !== null && typeof wanted !== 'string') return run.refuseBody(wanted)
    const answer = wanted === null ? service.request(asked) : service.upgrade(asked, wanted)
    answer.then(
      reply => this.guard(() => ('take' in reply ? this.hand(reply) : this.reply(reply))),
      (error: unknown) => this.guard(() => this.failed(error)),
    )
  }

  private reply({ status, json, retryAfterSeconds }: OwnReply): void {
    const { conn, head, run } = this
    if (run.over) return
    const { services } = conn
    const refused = status >= 400
    if (refused) run.record.reference = services.newReference()
    const body = ascii(JSON.stringify(refused ? { ...json, reference: run.record.reference } : json))
    run.close ||= conn.closesNext() || head.connectionUpgrade
    const headers = [
      'Date',
      new Date(services.clock.nowMs()).toUTCString(),
      'Content-Type',
      'application/json',
    ]
    headers.push('Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff')
    if (run.record.reference !== null) headers.push('Portcullis-Reference', run.record.reference)
    if (retryAfterSeconds !== undefined) headers.push('Retry-After', String(Math.ceil(retryAfterSeconds)))
    const framing = { kind: 'length', bytes: body.length } as const
    const answer = serialiseHead(status, STATUS_TEXT[status] ?? 'Answer', headers, framing, run.close)
    if (answer === undefined) throw new Error('an answer of the gate that is not valid HTTP')
    run.record.status = status
    conn.out.say(head.method === 'HEAD' ? answer : answer + body)
    run.finish('complete', run.close ? 'close' : 'keep')
  }

  private hand(accepted: OwnSwitch): void {
    const { conn, run } = this
    if (run.over) return
    const before = conn.out.totalBytes
    const head = serialiseHead(101, 'Switching Protocols', accepted.headers, { kind: 'none' }, false)
    if (head === undefined) throw new Error('a switch of the gate that is not valid HTTP')
    // HTTP/2 takes the handle below the socket: a write that completes after that ends the process with an assertion of Node.
    conn.out.say(
      `${head.slice(0, -2)}Upgrade: ${accepted.protocol}\r\nConnection: Upgrade\r\n\r\n`,
      () => void setImmediate(() => this.guard(() => this.release(accepted, conn.out.totalBytes - before))),
    )
  }

  private release(accepted: OwnSwitch, bytesOut: number): void {
    const { conn, run } = this
    // The client may have gone meanwhile; what it sent is kept by the connection until now.
    if (run.over || conn.socket.destroyed) return
    run.over = true
    run.record.status = 101
    run.record.bytesOut = bytesOut
    const record = detachedRecord(run.record)
    const early = conn.release() ?? NO_BYTES
    const handed = new HandedOver(conn, record)
    conn.splice = handed
    handed.begin(accepted.take(conn.socket, early))
  }

  private failed(error: unknown): void {
    const { conn, run } = this
    if (run.over) return
    const [problem, stack] = error instanceof Error ? [error.message, error.stack ?? ''] : [String(error), '']
    conn.services.reporter.report('gate.internal-error', { where: 'own path', problem, stack })
    run.fail('internal-error', 500, 'internal-error', 'of a defect of the gate')
  }

  /** A defect ends this connection, never the process. */
  private guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.conn.broken(error)
    }
  }
}

/** A connection in other hands. The edge still counts it, drains it and reports its end. */
class HandedOver implements Successor {
  ending: Ending | null = null
  state = 'tunnel'
  private readonly conn: HttpConnection
  private readonly read: number
  private readonly written: number
  private drainNow: () => void = () => undefined

  constructor(conn: HttpConnection, record: RequestRecord) {
    this.conn = conn
    this.read = conn.socket.bytesRead
    this.written = conn.socket.bytesWritten
    conn.socket.once('close', () => this.closed(record))
  }

  get bytesIn(): number {
    return this.conn.socket.bytesRead - this.read
  }

  get bytesOut(): number {
    return this.conn.socket.bytesWritten - this.written
  }

  begin({ state, drain }: Taken): void {
    this.state = state
    this.drainNow = drain
  }

  drain(): void {
    this.ending ??= 'drain'
    this.drainNow()
  }

  cut(ending: Ending): void {
    this.ending ??= ending
    this.conn.socket.destroy()
  }

  private closed(record: RequestRecord): void {
    const { connection, facts, services, source } = this.conn
    record.bytesIn += this.bytesIn
    record.bytesOut += this.bytesOut
    services.sources.done(source, record.class ?? 'other')
    const nowMs = services.clock.monotonicMs()
    services.reporter.report(
      'request.closed',
      closedFields(connection, facts, record, this.ending ?? 'complete', nowMs),
    )
  }
}

const NO_BYTES = Buffer.alloc(0)

/** The one protocol that an upgrade asks for, or why it is none. */
function protocolOf(head: RequestHead, run: RequestRun): string | HeadProblem {
  const value = run.headers.get('upgrade') ?? ''
  const wrong =
    head.method !== 'GET' ||
    head.minor !== 1 ||
    head.framing.kind !== 'none' ||
    run.headers.count('upgrade') !== 1 ||
    !/^[A-Za-z0-9-]{1,40}$/.test(value)
  return wrong ? { reason: 'request-invalid', saw: 'an upgrade that is not one' } : value.toLowerCase()
}

/** JSON with everything outside ASCII escaped: one byte for each character. */
function ascii(json: string): string {
  return `${json.replaceAll(/[^\x20-\x7e]/g, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}
