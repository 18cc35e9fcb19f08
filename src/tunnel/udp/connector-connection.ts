// The connector's end of one connection: the gate opens contexts for sources, and each gets its socket towards the service.
import type { Duplex } from 'node:stream'
import { BindConnection, type BindEnd } from './bind-connection.ts'
import { CapsuleError } from './capsule-reader.ts'
import { GOODBYE, type ContextPeer } from './capsules.ts'
import type { ServedSource, ServedUdp, SourceOwner } from './connector-sockets.ts'

type Context = { readonly service: ServedUdp; readonly source: ServedSource; readonly owner: SourceOwner }

/** The id under which the connector takes datagrams from everybody: the gate may open contexts only while it is open. */
const UNCOMPRESSED = 2

/** One connection to a gate. */
export class ConnectorConnection {
  readonly bind: BindConnection
  readonly #services: ReadonlyMap<string, ServedUdp>
  readonly #contexts = new Map<number, Context>()
  #lastContext = 0
  #isAccepted = false

  /** @param services what the connector's own file offers; nothing else is ever reached */
  constructor(
    { stream, early }: { readonly stream: Duplex; readonly early: Uint8Array },
    services: ReadonlyMap<string, ServedUdp>,
    onEnd: (end: BindEnd) => void,
    nowMs: () => number,
  ) {
    this.#services = services
    this.bind = new BindConnection(
      stream,
      early,
      {
        onDatagram: (context, payload) => this.#datagram(context, payload),
        onAssign: (context, peer, service) => this.#assigned(context, peer, service),
        onAcknowledge: context => this.#acknowledged(context),
        onClose: context => this.#closed(context),
        onTrouble: () => undefined,
        onEnd: end => {
          for (const { service, source, owner } of this.#contexts.values()) service.orphan(source, owner)
          this.#contexts.clear()
          onEnd(end)
        },
      },
      nowMs,
    )
    this.bind.assign(UNCOMPRESSED, null, null)
  }

  /** Whether the gate has answered, so that datagrams can come. */
  get isAccepted(): boolean {
    return this.#isAccepted && this.bind.isOpen
  }

  get contexts(): number {
    return this.#contexts.size
  }

  #datagram(context: number, payload: Uint8Array): void {
    const known = this.#contexts.get(context)
    if (known !== undefined) {
      const { service, source, owner } = known
      // The gate opens another one for the next datagram.
      if (!service.send(source, owner, payload)) owner.onExpired()
    } else if (context % 2 === 1 && context <= this.#lastContext) this.bind.counts.late++
    else this.bind.counts.forged++
  }

  #assigned(context: number, peer: ContextPeer, name: string | null): void {
    if (peer === null) throw new CapsuleError('an uncompressed context, from a gate')
    if (context % 2 === 0) throw new CapsuleError('a context with the id of a connector, from a gate')
    if (context <= this.#lastContext) throw new CapsuleError('a context id for the second time')
    this.#lastContext = context
    const service = this.#serviceOf(name)
    const owner: SourceOwner = {
      onDatagram: payload => this.bind.send(context, payload),
      onTrouble: code => this.bind.trouble(context, code),
      onExpired: () => {
        this.#contexts.delete(context)
        this.bind.close(context)
      },
    }
    const source = service?.take(peer, owner) ?? null
    if (service === undefined || source === null) {
      this.bind.close(context)
      return
    }
    this.#contexts.set(context, { service, source, owner })
    this.bind.acknowledge(context)
  }

  #serviceOf(name: string | null): ServedUdp | undefined {
    if (name !== null) return this.#services.get(name)
    const [only, ...others] = this.#services.values()
    return others.length === 0 ? only : undefined
  }

  #acknowledged(context: number): void {
    if (context !== UNCOMPRESSED) throw new CapsuleError('an acknowledgement of what was never asked')
    this.#isAccepted = true
  }

  #closed(context: number): void {
    if (context === UNCOMPRESSED) {
      this.bind.end(GOODBYE.service, 'the gate takes no UDP service from this connector')
      return
    }
    const known = this.#contexts.get(context)
    if (known === undefined) return
    this.#contexts.delete(context)
    known.service.release(known.source, known.owner)
  }
}
