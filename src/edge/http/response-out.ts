// Writes responses to the client: head and first bytes leave in one write, bodies keep the framing that was announced.
import type { Socket } from 'node:net'
import type { Flushable, TurnEnd } from '../../forward/turn-end.ts'
import type { ResponseFraming } from './response-head.ts'

/** Up to here bytes are copied into one string with the head: cheaper than a vectored write. */
const JOIN_BYTES = 4096

/** The way out of one connection; serves one response after the other. */
export class ResponseOut implements Flushable {
  /** Bytes handed to the socket or about to be, over the life of the connection. */
  totalBytes = 0
  /** Body bytes of the running response. */
  bodyBytes = 0
  private readonly socket: Socket
  private readonly turnEnd: TurnEnd
  private text = ''
  private scheduled = false
  private framing: ResponseFraming = { kind: 'none' }
  private carriesBody = false

  constructor(socket: Socket, turnEnd: TurnEnd) {
    this.socket = socket
    this.turnEnd = turnEnd
  }

  /** Begins a response. The head leaves with the first bytes, or when the turn of the event loop is over. */
  begin(head: string, framing: ResponseFraming, carriesBody: boolean): void {
    this.framing = framing
    this.carriesBody = carriesBody
    this.bodyBytes = 0
    this.append(head)
  }

  /** Whether so many more body bytes fit what the head announced. */
  fits(bytes: number): boolean {
    if (!this.carriesBody) return bytes === 0
    return this.framing.kind !== 'length' || this.bodyBytes + bytes <= this.framing.bytes
  }

  /** Whether the body is as long as the head announced. */
  isWhole(): boolean {
    return !this.carriesBody || this.framing.kind !== 'length' || this.bodyBytes === this.framing.bytes
  }

  /** Writes body bytes. Returns false when the client takes no more for now. */
  data(chunk: Buffer): boolean {
    const { length } = chunk
    if (length === 0) return true
    this.bodyBytes += length
    const chunked = this.framing.kind === 'chunked'
    if (this.text.length + length <= JOIN_BYTES) {
      const body = chunk.toString('latin1')
      this.append(chunked ? `${length.toString(16)}\r\n${body}\r\n` : body)
      return !this.socket.writableNeedDrain
    }
    if (chunked) {
      this.append(`${length.toString(16)}\r\n`)
      this.totalBytes += 2
    }
    this.totalBytes += length
    const prefix = this.text
    if (prefix === '') return this.socket.write(chunk)
    this.text = ''
    this.socket.cork()
    this.socket.write(prefix, 'latin1')
    let more = this.socket.write(chunk)
    if (chunked) more = this.socket.write('\r\n', 'latin1')
    this.socket.uncork()
    return more
  }

  /** Ends the body. What is left of it leaves when the turn is over; whoever ends the connection calls `flush` before. */
  finish(): void {
    if (this.carriesBody && this.framing.kind === 'chunked') this.append('0\r\n\r\n')
  }

  /**
   * Writes text of the gate's own: interim and own answers.
   * @param written called when the socket has taken everything; never, when it is closed before
   */
  say(text: string, written?: () => void): void {
    this.append(text)
    this.flush(written)
  }

  flush(written?: () => void): void {
    this.scheduled = false
    if (this.text === '') return
    const { text } = this
    this.text = ''
    if (!this.socket.writable) return
    if (written === undefined) this.socket.write(text, 'latin1')
    else this.socket.write(text, 'latin1', error => error ?? written())
  }

  private append(text: string): void {
    this.totalBytes += text.length
    this.text = this.text === '' ? text : this.text + text
    if (this.scheduled) return
    this.scheduled = true
    this.turnEnd.soon(this)
  }
}
