// One source of datagrams behind the gate: it keeps its context on one connection, and moves when there is a better one.
import type { ContextPeer } from './capsules.ts'
import type { ContextOwner, ContextPlace, GateConnection } from './gate-connection.ts'

/** What the owner of a flow is told. */
export type FlowHandlers = {
  readonly onDatagram: (payload: Uint8Array) => void
  /** The connector does not take this source. */
  readonly onRefused: () => void
  /** Another flow of the same address and port to the same service has taken over. */
  readonly onDisplaced: () => void
  /** One of TROUBLE. */
  readonly onTrouble: (code: number) => void
}

/** A place that was left is kept open for so long after the next one is accepted: answers may still be on their way there. */
export const LINGER_MS = 5_000
/** Places at once; the oldest is closed beyond it. */
const MAX_BEFORE = 8

/** A flow, wherever its context is. */
export class GateFlow implements ContextOwner {
  readonly service: string
  readonly peer: NonNullable<ContextPeer>
  readonly handlers: FlowHandlers
  readonly #hash: number
  readonly #nowMs: () => number
  #place: ContextPlace | null = null
  /** Where it was. Closed only after the new place is accepted, so that the connector keeps the socket of the source. */
  readonly #before: ContextPlace[] = []
  #acceptedMs: number | null = null

  /** @param nowMs a clock that never goes back */
  constructor(service: string, peer: NonNullable<ContextPeer>, handlers: FlowHandlers, nowMs: () => number) {
    this.#nowMs = nowMs
    this.service = service
    this.peer = peer
    this.handlers = handlers
    this.#hash = hashOf(peer)
  }

  /** Whether a connection carries it now. */
  get isPlaced(): boolean {
    return this.#place !== null && this.#place.connection.bind.isOpen
  }

  /** Takes the connection that its hash prefers; most flows stay where they are when one comes or goes. */
  settle(connections: readonly GateConnection[]): void {
    let best: GateConnection | null = null
    let bestWeight = -1
    for (const connection of connections) {
      const weight = Math.imul(this.#hash ^ Math.imul(connection.slot + 1, 0x9e37_79b1), 0x85eb_ca6b) >>> 0
      if (connection.isReady && weight > bestWeight) {
        best = connection
        bestWeight = weight
      }
    }
    const place = this.isPlaced ? this.#place : null
    if (best === place?.connection) return
    if (best === null) {
      this.#place = null
      return
    }
    if (place !== null) {
      if (this.#before.length >= MAX_BEFORE) close(this.#before.shift())
      this.#before.push(place)
    }
    this.#acceptedMs = null
    this.#place = { connection: best, context: best.open(this) }
  }

  /** Sends a datagram of the source. False: nothing carries it now. */
  send(payload: Uint8Array): boolean {
    const place = this.#place
    if (place === null || !place.connection.bind.isOpen) return false
    if (this.#before.length > 0) this.sweep()
    place.connection.bind.send(place.context, payload)
    return true
  }

  /** Closes the places that it left long enough ago. To be called now and then. */
  sweep(): void {
    if (this.#before.length === 0 || this.#acceptedMs === null) return
    if (this.#nowMs() - this.#acceptedMs >= LINGER_MS) this.#leaveBefore()
  }

  /** Closes its contexts. */
  close(): void {
    this.#leaveBefore()
    if (this.#place !== null) close(this.#place)
    this.#place = null
  }

  onDatagram(payload: Uint8Array): void {
    this.handlers.onDatagram(payload)
  }

  onAccepted(place: ContextPlace): void {
    if (isSame(place, this.#place)) this.#acceptedMs = this.#nowMs()
  }

  onClosed(place: ContextPlace, refused: boolean): void {
    const index = this.#before.findIndex(before => isSame(before, place))
    if (index !== -1) this.#before.splice(index, 1)
    if (!isSame(place, this.#place)) return
    this.#place = null
    if (refused) this.handlers.onRefused()
  }

  onTrouble(code: number): void {
    this.handlers.onTrouble(code)
  }

  #leaveBefore(): void {
    for (const place of this.#before.splice(0)) close(place)
  }
}

function isSame(a: ContextPlace, b: ContextPlace | null): boolean {
  return b !== null && a.context === b.context && a.connection === b.connection
}

function close(place: ContextPlace | undefined): void {
  place?.connection.close(place.context)
}

/** A hash of address and port (FNV-1a): flows spread, and each keeps its order. */
function hashOf({ address, port }: NonNullable<ContextPeer>): number {
  let hash = 0x811c_9dc5
  for (const word of address.words) hash = Math.imul(hash ^ word, 0x0100_0193) ^ (word >>> 15)
  hash = Math.imul(hash ^ port, 0x0100_0193)
  return (hash ^ (hash >>> 13)) >>> 0
}
