// A line in user space: TCP connections and UDP datagrams through it arrive later, not at all, or until somebody holds it.
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** How a line is. */
export type LinkOptions = {
  /** Port on 127.0.0.1 that it leads to. */
  readonly port: number
  /** One way, milliseconds. */
  readonly delayMs?: number
  /** Share of UDP datagrams that are lost, each way; decided by `random`. TCP loses nothing here. */
  readonly loss?: number
  /** 0 (included) to 1; pass a seeded one. */
  readonly random?: () => number
  /** Bytes of one TCP direction that are under way at once. */
  readonly maxBytes?: number
}

/** A line. */
export type Link = {
  readonly port: number
  /** From now on nothing arrives, and nobody is told: a black hole. */
  readonly hold: () => void
  /** What was held goes on. */
  readonly release: () => void
  /** Ends every open connection with a RST. */
  readonly cut: () => void
  /** Connections that were made through it so far. */
  readonly connections: () => number
  readonly bytes: () => number
  readonly close: () => Promise<void>
}

const DEFAULT_MAX_BYTES = 64 << 20

/** Starts a TCP line on a free port of 127.0.0.1. */
export async function startTcpLink(options: LinkOptions): Promise<Link> {
  const line = new Line(options)
  const server = createServer({ allowHalfOpen: true, noDelay: true }, from => {
    line.count++
    const to = connect({ host: '127.0.0.1', port: line.options.port, allowHalfOpen: true, noDelay: true })
    line.carry(from, to)
    line.carry(to, from)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    hold: () => line.hold(),
    release: () => line.release(),
    cut: () => line.cut(),
    connections: () => line.count,
    bytes: () => line.bytes,
    close: async () => {
      server.close()
      line.cut()
      if (server.listening) await once(server, 'close')
    },
  }
}

/** What goes through at its time; null: the end of that direction. */
type Due = { readonly atMs: number; readonly chunk: Buffer | null }

class Line {
  readonly options: Required<Pick<LinkOptions, 'port' | 'delayMs' | 'maxBytes'>>
  count = 0
  bytes = 0
  isHeld = false
  readonly #sockets = new Set<Socket>()
  readonly #waiting = new Set<() => void>()

  constructor({ port, delayMs = 0, maxBytes = DEFAULT_MAX_BYTES }: LinkOptions) {
    this.options = { port, delayMs, maxBytes }
  }

  /** One direction of a connection. */
  carry(from: Socket, to: Socket): void {
    const { delayMs, maxBytes } = this.options
    const queue: Due[] = []
    let held = 0
    let timer: NodeJS.Timeout | null = null
    this.#sockets.add(from)
    const deliver = (): void => {
      timer = null
      if (this.isHeld) return
      const now = performance.now()
      while (queue[0] !== undefined && queue[0].atMs <= now && !to.writableNeedDrain) {
        const { chunk } = queue.shift() as Due
        if (chunk === null) to.end()
        else {
          held -= chunk.length
          this.bytes += chunk.length
          to.write(chunk)
        }
      }
      if (held < maxBytes) from.resume()
      if (queue[0] !== undefined && !to.writableNeedDrain)
        timer ??= setTimeout(deliver, Math.max(0, queue[0].atMs - now))
    }
    const take = (chunk: Buffer | null): void => {
      queue.push({ atMs: performance.now() + delayMs, chunk })
      held += chunk?.length ?? 0
      if (held >= maxBytes) from.pause()
      if (delayMs === 0) deliver()
      else timer ??= setTimeout(deliver, delayMs)
    }
    this.#waiting.add(deliver)
    from.on('data', take)
    from.on('end', () => take(null))
    to.on('drain', deliver)
    from.on('error', () => undefined)
    from.on('close', hadError => {
      this.#sockets.delete(from)
      this.#waiting.delete(deliver)
      if ((hadError || !from.readableEnded) && !this.isHeld) to.resetAndDestroy()
    })
  }

  hold(): void {
    this.isHeld = true
  }

  release(): void {
    this.isHeld = false
    for (const deliver of this.#waiting) deliver()
  }

  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }
}

/** Starts a UDP line on a free port of 127.0.0.1: each sender gets a socket of its own on the far side. */
export async function startUdpLink(options: LinkOptions): Promise<Link> {
  const { port, delayMs = 0, loss = 0, random = () => 1 } = options
  const near = createSocket('udp4')
  const far = new Map<string, UdpSocket>()
  let isHeld = false
  let bytes = 0
  const pass = (datagram: Buffer, send: () => void): void => {
    if (isHeld || random() < loss) return
    bytes += datagram.length
    if (delayMs === 0) send()
    else setTimeout(send, delayMs)
  }
  near.on('message', (datagram, { address, port: from }) => {
    const key = `${address}:${from}`
    let socket = far.get(key)
    if (socket === undefined) {
      socket = createSocket('udp4')
      socket.on('error', () => undefined)
      socket.on('message', answer => pass(answer, () => near.send(answer, from, address)))
      far.set(key, socket)
    }
    const out = socket
    pass(datagram, () => out.send(datagram, port, '127.0.0.1'))
  })
  near.bind(0, '127.0.0.1')
  await once(near, 'listening')
  return {
    port: near.address().port,
    hold: () => {
      isHeld = true
    },
    release: () => {
      isHeld = false
    },
    cut: () => undefined,
    connections: () => far.size,
    bytes: () => bytes,
    close: () => {
      near.close()
      for (const socket of far.values()) socket.close()
      return Promise.resolve()
    },
  }
}
