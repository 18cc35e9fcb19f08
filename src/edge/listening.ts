// Endpoints that listen as the policy wants: new ones are opened, the same ones stay, gone ones close, failed ones are tried again.
import type { Reporter } from '../journal/events.ts'
import type { Endpoint } from '../policy/snapshot.ts'
import { createTurns } from './turns.ts'

/** An endpoint that listens now. */
export type ListeningAddress = { readonly listener: string; readonly host: string; readonly port: number }

/** What is to be known of a listener of the policy. */
export type Listens = { readonly id: string; readonly endpoints: readonly Endpoint[] }

/** One endpoint of a listener. While it is open, `listener` follows the policy. */
export type Place<L extends Listens> = { listener: L; readonly endpoint: Endpoint }

/** Why an endpoint could not be opened, and what to do about it. */
export type Explained = { readonly problem: string; readonly remedy: string }

/** How endpoints are opened and closed. */
export type ListeningOptions<L extends Listens, S> = {
  readonly reporter: Reporter
  /** Rejects with the error of the system when the address cannot be had. */
  readonly open: (place: Place<L>, ipv6Only: boolean) => Promise<S>
  /** The port that the system chose. */
  readonly portOf: (socket: S) => number
  readonly shut: (socket: S) => void
  readonly explain: (code: string, endpoint: Endpoint) => Explained | Promise<Explained>
  /** Whether anything may be opened at this time. */
  readonly mayOpen: () => boolean
  /** How many connections go on when an endpoint of this listener has closed; absent: none. */
  readonly connectionsKept?: (listener: L) => number
}

type Open<L extends Listens, S> = { readonly place: Place<L>; readonly socket: S }

const RETRY_MS = 10_000

/** The endpoints of some listeners: those that are wanted, those that are open, and what failed. */
export class EndpointSet<L extends Listens, S> {
  readonly #options: ListeningOptions<L, S>
  readonly #open = new Map<string, Open<L, S>>()
  readonly #failures = new Map<string, string>()
  #wanted: ReadonlyMap<string, Place<L>> = new Map()

  constructor(options: ListeningOptions<L, S>) {
    this.#options = options
  }

  /** Wanted endpoints that are not open. */
  get missing(): number {
    return this.#wanted.size - this.#open.size
  }

  addresses(): readonly ListeningAddress[] {
    return [...this.#open.values()].map(({ place: { listener, endpoint }, socket }) => ({
      listener: listener.id,
      host: endpoint.host,
      port: this.#options.portOf(socket),
    }))
  }

  /**
   * Takes what the policy wants. Endpoints that are gone close, the same ones go over to their new listener, new ones wait
   * for `openMissing`.
   * @param leaving is told of each socket before it closes
   * @returns how many were closed
   */
  want(listeners: readonly L[], leaving?: (socket: S) => void): number {
    this.#wanted = placesOf(listeners)
    let closed = 0
    for (const [key, open] of this.#open) {
      const place = this.#wanted.get(key)
      if (place !== undefined) open.place.listener = place.listener
      else {
        this.#shut(key, open, leaving)
        closed++
      }
    }
    for (const key of this.#failures.keys()) if (!this.#wanted.has(key)) this.#failures.delete(key)
    return closed
  }

  /**
   * Opens what is not open yet. The same failure is reported once; this may be called again at any time, but only when the
   * call before has ended.
   * @param isV4Wanted whether somebody is to listen on this port of every IPv4 address, so that `::` has to leave it alone
   * @returns how many were opened
   */
  async openMissing(
    isV4Wanted = (port: number): boolean => this.#wanted.has(`0.0.0.0 ${port}`),
  ): Promise<number> {
    let opened = 0
    for (const [key, { listener, endpoint }] of this.#wanted) {
      if (!this.#options.mayOpen() || this.#open.has(key)) continue
      const ipv6Only = endpoint.host === '::' && endpoint.port !== 0 && isV4Wanted(endpoint.port)
      if (await this.#openOne(key, { listener, endpoint }, ipv6Only)) opened++
    }
    return opened
  }

  /** Closes everything. @param leaving is told of each socket before it closes */
  closeAll(leaving?: (socket: S) => void): void {
    for (const [key, open] of this.#open) this.#shut(key, open, leaving)
  }

  async #openOne(key: string, place: Place<L>, ipv6Only: boolean): Promise<boolean> {
    const { reporter, open, shut, portOf, explain, mayOpen } = this.#options
    const { host, port } = place.endpoint
    const where = { listener: place.listener.id, host, port }
    let socket: S
    try {
      socket = await open(place, ipv6Only)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error)
      if (this.#failures.get(key) === code) return false
      this.#failures.set(key, code)
      reporter.report('listener.failed', { ...where, ...(await explain(code, place.endpoint)) })
      return false
    }
    // Everything was closed while the system was at work: nobody would close this one.
    if (!mayOpen()) {
      shut(socket)
      return false
    }
    this.#failures.delete(key)
    this.#open.set(key, { place, socket })
    reporter.report('listener.opened', { ...where, port: portOf(socket) })
    return true
  }

  #shut(key: string, { place, socket }: Open<L, S>, leaving?: (socket: S) => void): void {
    const { reporter, portOf, shut, connectionsKept } = this.#options
    leaving?.(socket)
    this.#open.delete(key)
    const { listener, endpoint } = place
    const port = portOf(socket)
    shut(socket)
    reporter.report('listener.closed', {
      listener: listener.id,
      host: endpoint.host,
      port,
      connectionsKept: connectionsKept?.(listener) ?? 0,
    })
  }
}

/** What `apply` did. Endpoints that failed are tried again every few seconds. */
export type ApplyResult = { readonly opened: number; readonly closed: number; readonly failed: number }

/** Calls `work` once after `ms`, unless the returned function is called before. */
export type Later = (ms: number, work: () => void) => () => void

/** Endpoints that open by themselves as soon as they can, until `stop`. */
export type Listening<L extends Listens> = {
  /** Closes, hands over and opens; `beforeOpening` is called when the gone ones are closed and the new ones not yet open. */
  readonly apply: (listeners: readonly L[], beforeOpening: () => void) => Promise<ApplyResult>
  readonly addresses: () => readonly ListeningAddress[]
  readonly isStopped: () => boolean
  /** Closes everything and opens nothing any more. */
  readonly stop: () => void
}

/** Keeps endpoints open as the policy wants them; what fails is tried again every 10 seconds. */
export function keepListening<L extends Listens, S>(
  options: Omit<ListeningOptions<L, S>, 'mayOpen'>,
  later: Later = laterUnheld,
): Listening<L> {
  let isStopped = false
  let cancelRetry = (): void => undefined
  const inTurn = createTurns()
  const endpoints = new EndpointSet<L, S>({ ...options, mayOpen: () => !isStopped })

  const openMissing = async (): Promise<number> => {
    cancelRetry()
    const opened = await endpoints.openMissing()
    if (!isStopped && endpoints.missing > 0) cancelRetry = later(RETRY_MS, () => void inTurn(openMissing))
    return opened
  }

  return {
    apply: (listeners, beforeOpening) =>
      inTurn(async () => {
        const closed = endpoints.want(listeners)
        beforeOpening()
        const opened = await openMissing()
        return { opened, closed, failed: endpoints.missing }
      }),
    addresses: () => endpoints.addresses(),
    isStopped: () => isStopped,
    stop: () => {
      isStopped = true
      cancelRetry()
      endpoints.closeAll()
    },
  }
}

/** An endpoint that several listeners name belongs to the first of them. */
function placesOf<L extends Listens>(listeners: readonly L[]): ReadonlyMap<string, Place<L>> {
  const places = new Map<string, Place<L>>()
  for (const listener of listeners) {
    for (const [index, endpoint] of listener.endpoints.entries()) {
      const own = endpoint.port === 0 ? ` ${listener.id} ${index}` : ''
      const key = `${endpoint.host} ${endpoint.port}${own}`
      if (!places.has(key)) places.set(key, { listener, endpoint })
    }
  }
  return places
}

function laterUnheld(ms: number, work: () => void): () => void {
  const timer = setTimeout(work, ms)
  timer.unref()
  return () => clearTimeout(timer)
}
