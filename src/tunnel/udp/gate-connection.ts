// The gate's end of one connection: contexts for sources of datagrams, opened by the gate (odd ids), and what comes back.
import type { Duplex } from 'node:stream'
import { BindConnection, type BindEnd } from './bind-connection.ts'
import { CapsuleError } from './capsule-reader.ts'
import { GOODBYE, readUncompressed, type ContextPeer } from './capsules.ts'

/** A context: ids are given anew on every connection, so the connection belongs to it. */
export type ContextPlace = { readonly connection: GateConnection; readonly context: number }

/** What has a context here. */
export type ContextOwner = {
  readonly service: string
  readonly peer: NonNullable<ContextPeer>
  /** A datagram of the server for this source. */
  readonly onDatagram: (payload: Uint8Array) => void
  /** The connector has accepted the context. */
  readonly onAccepted: (place: ContextPlace) => void
  /** The connector has closed it. `refused`: it never was open there. */
  readonly onClosed: (place: ContextPlace, refused: boolean) => void
  readonly onTrouble: (code: number) => void
}

/** What the owner of the connection is told. */
export type GateConnectionHandlers = {
  /** Datagrams may be sent from now on. */
  readonly onReady: (connection: GateConnection) => void
  readonly onEnd: (connection: GateConnection, end: BindEnd) => void
  /** A datagram in the uncompressed context: who has sent to this source? */
  readonly find: (peer: NonNullable<ContextPeer>) => ContextOwner | undefined
}

type Context = { readonly owner: ContextOwner; accepted: boolean }

/** One connection of a connector. */
export class GateConnection {
  readonly bind: BindConnection
  /** Its place among the connections of its connector, which nobody else has as long as it lives. */
  readonly slot: number
  readonly #handlers: GateConnectionHandlers
  readonly #contexts = new Map<number, Context>()
  #lastContext = -1
  /** The context that the connector has opened for everybody; null: not yet, so none may be opened here (draft, section 3). */
  #uncompressed: number | null = null
  #lastUncompressed = 0

  constructor(
    { stream, early, slot }: { readonly stream: Duplex; readonly early: Uint8Array; readonly slot: number },
    handlers: GateConnectionHandlers,
    nowMs: () => number,
  ) {
    this.#handlers = handlers
    this.slot = slot
    this.bind = new BindConnection(
      stream,
      early,
      {
        onDatagram: (context, payload) => this.#datagram(context, payload),
        onAssign: (context, peer) => this.#assigned(context, peer),
        onAcknowledge: context => this.#acknowledged(context),
        onClose: context => this.#closed(context),
        onTrouble: (context, code) => this.#contexts.get(context)?.owner.onTrouble(code),
        onEnd: end => {
          handlers.onEnd(this, end)
          this.#contexts.clear()
        },
      },
      nowMs,
    )
  }

  get isReady(): boolean {
    return this.hasBeenReady && this.bind.isOpen
  }

  get hasBeenReady(): boolean {
    return this.#uncompressed !== null
  }

  get contexts(): number {
    return this.#contexts.size
  }

  /** Opens a context. Datagrams may follow at once: they arrive behind it. Returns its id. */
  open(owner: ContextOwner): number {
    this.#lastContext += 2
    this.#contexts.set(this.#lastContext, { owner, accepted: false })
    this.bind.assign(this.#lastContext, owner.peer, owner.service)
    return this.#lastContext
  }

  close(context: number): void {
    if (this.#contexts.delete(context) && this.bind.isOpen) this.bind.close(context)
  }

  #datagram(context: number, payload: Uint8Array): void {
    const known = this.#contexts.get(context)
    if (known !== undefined) known.owner.onDatagram(payload)
    else if (context !== 0 && context === this.#uncompressed) this.#uncompressedDatagram(payload)
    else if (context % 2 === 1 && context <= this.#lastContext) this.bind.counts.late++
    else this.bind.counts.forged++
  }

  #uncompressedDatagram(payload: Uint8Array): void {
    const read = readUncompressed(payload)
    const owner = read === undefined ? undefined : this.#handlers.find(read.peer)
    // Only who has sent here is answered: a connector cannot make the gate send to anybody else.
    if (read === undefined || owner === undefined) this.bind.counts.forged++
    else owner.onDatagram(read.payload)
  }

  #assigned(context: number, peer: ContextPeer): void {
    if (context % 2 === 1) throw new CapsuleError('a context with the id of a gate, from a connector')
    if (context <= this.#lastUncompressed) throw new CapsuleError('a context id for the second time')
    this.#lastUncompressed = context
    if (peer !== null) {
      // Whom datagrams go to is decided by who has sent here.
      this.bind.close(context)
      return
    }
    if (this.#uncompressed !== null) throw new CapsuleError('a second uncompressed context')
    this.#uncompressed = context
    this.bind.acknowledge(context)
    this.#handlers.onReady(this)
  }

  #acknowledged(context: number): void {
    if (context % 2 === 0 || context > this.#lastContext)
      throw new CapsuleError('an acknowledgement of what was never asked')
    const known = this.#contexts.get(context)
    if (known === undefined || known.accepted) return
    known.accepted = true
    known.owner.onAccepted({ connection: this, context })
  }

  #closed(context: number): void {
    if (context === this.#uncompressed) {
      // Without it the gate may open nothing, so the connection is of no more use.
      this.bind.end(GOODBYE.done, 'the connector takes no more datagrams')
      return
    }
    const known = this.#contexts.get(context)
    if (known === undefined) return
    this.#contexts.delete(context)
    known.owner.onClosed({ connection: this, context }, !known.accepted)
  }
}
