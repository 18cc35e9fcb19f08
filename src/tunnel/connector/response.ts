// Reads the head and the small body of an answer from a socket, and leaves every byte after the head to whoever comes next.
import type { Socket } from 'node:net'

/** The head of an answer. */
export type ResponseHead = {
  readonly status: number
  /** First value by lower-case name. */
  readonly headers: ReadonlyMap<string, string>
  /** Bytes after the head. */
  readonly rest: Buffer
}

const MAX_HEAD_BYTES = 16_384
const MAX_BODY_BYTES = 16_384
const END = Buffer.from('\r\n\r\n', 'latin1')

/** Reads a head; null: what came is none. Rejects when the socket closes first. The socket is paused afterwards. */
export async function readHead(socket: Socket, signal: AbortSignal): Promise<ResponseHead | null> {
  let bytes = Buffer.alloc(0)
  const found = await gather(socket, signal, chunk => {
    bytes = Buffer.concat([bytes, chunk])
    return bytes.includes(END) || bytes.length > MAX_HEAD_BYTES
  })
  const end = bytes.indexOf(END)
  if (!found || end < 0) return null
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const status = Number(/^HTTP\/1\.[01] ([1-5]\d\d)(?: |$)/.exec(first)?.[1] ?? 0)
  if (status === 0) return null
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    if (colon > 0 && !headers.has(name)) headers.set(name, line.slice(colon + 1).trim())
  }
  return { status, headers, rest: bytes.subarray(end + END.length) }
}

/** Reads a body of a stated length; what is longer is cut off. Rejects never: a body that does not come is empty. */
export async function readRest(socket: Socket, head: ResponseHead, signal: AbortSignal): Promise<string> {
  const length = Math.min(Number(head.headers.get('content-length') ?? 0), MAX_BODY_BYTES)
  let bytes = head.rest
  if (bytes.length < length) {
    await gather(socket, signal, chunk => {
      bytes = Buffer.concat([bytes, chunk])
      return bytes.length >= length
    }).catch(() => false)
  }
  return bytes.toString('utf8', 0, Math.min(bytes.length, length))
}

/** Takes chunks until `done`; resolves to false when the other side ended before. */
function gather(socket: Socket, signal: AbortSignal, done: (chunk: Buffer) => boolean): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const finish = (work: () => void): void => {
      socket.pause()
      socket.off('data', take).off('end', end).off('close', lost)
      signal.removeEventListener('abort', lost)
      work()
    }
    const take = (chunk: Buffer): void => {
      if (done(chunk)) finish(() => resolve(true))
    }
    const end = (): void => finish(() => resolve(false))
    const lost = (): void =>
      finish(() => reject(new Error(signal.aborted ? 'no answer in time' : 'the connection closed')))
    if (socket.destroyed || signal.aborted) return lost()
    socket.on('data', take).on('end', end).on('close', lost)
    signal.addEventListener('abort', lost, { once: true })
    socket.resume()
  })
}
