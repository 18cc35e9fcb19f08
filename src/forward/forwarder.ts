// The one narrow interface between the edge and the way to the upstream. A faster data path replaces the implementation, not the policy.
import type { Duplex } from 'node:stream'
import type { PortcullisError } from '../policy/error.ts'
import type { ClassLimits, UpstreamMember } from '../policy/snapshot.ts'

/** How a request's body is framed towards the upstream. */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }

/** A request as it goes upstream: everything is decided, nothing is added below this line. */
export type UpstreamRequest = {
  readonly method: string
  /** Original bytes of the target, origin-form. */
  readonly target: string
  /** Flat name, value list, hop-by-hop headers removed, Host and forwarded headers set; framing headers not included. */
  readonly headers: readonly string[]
  readonly framing: BodyFraming
  readonly limits: ClassLimits
  readonly connectMs: number
}

/** The head of the upstream's response. Interim 1xx responses other than 101 are reported by `onInterim`. */
export type UpstreamResponseHead = {
  readonly status: number
  readonly statusText: string
  /** Flat name, value list as received (latin1), hop-by-hop headers still in. */
  readonly headers: readonly string[]
  /**
   * The one valid Content-Length: bytes that will follow, except after HEAD and 304, where it only describes.
   * Null: unknown (chunked or until close), or none stated.
   */
  readonly contentLength: number | null
}

/**
 * What the exchange tells the edge. Calls come in order, never before `exchange()` has returned; exactly one of
 * `onEnd` and `onError` is last, and nothing comes after `exchange.abort()`.
 */
export type ExchangeHandler = {
  readonly onInterim: (status: number, headers: readonly string[]) => void
  readonly onHead: (head: UpstreamResponseHead) => void
  /**
   * Returns false when the edge wants no more until it calls `exchange.resume()`; what was read already (one read of
   * the socket) still comes.
   */
  readonly onData: (chunk: Buffer) => boolean
  readonly onTrailers: (trailers: readonly string[]) => void
  readonly onEnd: () => void
  readonly onError: (error: PortcullisError) => void
  /** The upstream can take more body. */
  readonly onDrain: () => void
}

/**
 * A running exchange with the upstream; call its functions as methods. A request whose framing is not `none` ends with
 * `end()`. After `onEnd` (the upstream may answer early) what is still written is thrown away.
 */
export type Exchange = {
  /** Sends body bytes. Returns false when the edge should wait for `onDrain`. */
  readonly write: (chunk: Buffer) => boolean
  /** The body is complete. */
  readonly end: (trailers?: readonly string[]) => void
  readonly resume: () => void
  /** Gives up; closes the upstream connection unless the exchange is over. No further calls to the handler. */
  readonly abort: () => void
}

/**
 * An accepted upgrade: the upstream's valid 101 and its byte stream (`early` bytes came with the 101). The socket is
 * paused and belongs to the edge; it ends its own side when the upstream has ended.
 */
export type Upgraded = {
  readonly head: UpstreamResponseHead
  readonly socket: Duplex
  readonly early: Buffer
}

/** What the upstream made of an upgrade: it switched, or it answered like to any other request. */
export type UpgradeHandler = ExchangeHandler & { readonly onUpgrade: (upgraded: Upgraded) => void }

/** Carries requests to upstream members over pooled connections. */
export type Forwarder = {
  /**
   * Starts an exchange. Errors with `retry: true` mean that nothing was sent: another member may be tried. A kept
   * connection that turns out to be dead is not an error where the request may be repeated (idempotent, no body).
   */
  readonly exchange: (member: UpstreamMember, request: UpstreamRequest, handler: ExchangeHandler) => Exchange
  /** Sends a WebSocket upgrade; Connection and Upgrade are added here. Raw bytes flow only after a valid 101. */
  readonly upgrade: (member: UpstreamMember, request: UpstreamRequest, handler: UpgradeHandler) => Exchange
  /** Exchanges that run or wait with the member now; accepted upgrades no longer count. */
  readonly open: (member: UpstreamMember) => number
  /** Closes idle pooled connections of members that no snapshot names any more. */
  readonly retain: (members: readonly UpstreamMember[]) => void
  readonly close: () => Promise<void>
}
