// One source of datagrams behind the gate: it keeps its context on one connection, and moves when there is a better one.
import type { ContextPeer } from './capsules.ts'
import type { ContextOwner, GateConnection } from './gate-connection.ts'

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

type Place = { readonly connection: GateConnection; readonly context: number }

/** A flow, wherever its context is. */
export class GateFlow implements ContextOwner {
  readonly service: string
  readonly peer: NonNullable<ContextPeer>
  readonly handlers: FlowHandlers
  readonly #hash: number
  #place: Place | null = null
  /** Where it was; closed when the new place is accepted, so that the connector keeps the socket of the source. */
  #before: Place | null = null

  constructor(service: string, peer: NonNullable<ContextPeer>, handlers: FlowHandlers) {
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
      this.#leaveBefore()
      this.#before = place
    }
    this.#place = { connection: best, context: best.open(this) }
  }

  /** Sends a datagram of the source. False: nothing carries it now. */
  send(payload: Uint8Array): boolean {
    const place = this.#place
    if (place === null || !place.connection.bind.isOpen) return false
    place.connection.bind.send(place.context, payload)
    return true
  }

  /** Closes its contexts. */
  close(): void {
    this.#leaveBefore()
    this.#place?.connection.close(this.#place.context)
    this.#place = null
  }

  onDatagram(payload: Uint8Array): void {
    this.handlers.onDatagram(payload)
  }

  onAccepted(context: number): void {
    if (context === this.#place?.context) this.#leaveBefore()
  }

  onClosed(context: number, refused: boolean): void {
    if (context === this.#before?.context) this.#before = null
    if (context !== this.#place?.context) return
    this.#place = null
    if (refused) this.handlers.onRefused()
  }

  onTrouble(code: number): void {
    this.handlers.onTrouble(code)
  }

  #leaveBefore(): void {
    this.#before?.connection.close(this.#before.context)
    this.#before = null
  }
}

/** A hash of address and port (FNV-1a): flows spread, and each keeps its order. */
function hashOf({ address, port }: NonNullable<ContextPeer>): number {
  let hash = 0x811c_9dc5
  for (const word of address.words) hash = Math.imul(hash ^ word, 0x0100_0193) ^ (word >>> 15)
  hash = Math.imul(hash ^ port, 0x0100_0193)
  return (hash ^ (hash >>> 13)) >>> 0
}
