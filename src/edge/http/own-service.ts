// What answers requests for the gate itself: the shape that the composition root fills, so that the edge knows no tunnel.
import type { Duplex } from 'node:stream'
import type { ClientFields } from '../../journal/events.ts'
import type { HeaderView } from '../../policy/facts.ts'

/** A request below the gate's own prefix that accept, hello and request decisions have let through. */
export type OwnRequest = {
  readonly method: string
  /** Normalised, in small letters, with the prefix. */
  readonly path: string
  /** Raw query without `?`. */
  readonly query: string
  readonly headers: HeaderView
  readonly client: ClientFields
  /** Empty for upgrades. */
  readonly body: Buffer
  /** Keying material of the TLS session that it came on (RFC 5705), the same at both ends and nowhere else; null: none. */
  readonly keyingMaterial: (bytes: number, label: string) => Buffer | null
  /** Aborted when the client is gone or has been answered. */
  readonly signal: AbortSignal
}

/** A small answer. Statuses from 400 on get the reference of the refusal beside the fields of `json`. */
export type OwnReply = {
  readonly status: number
  readonly json: Readonly<Record<string, unknown>>
  readonly retryAfterSeconds?: number
}

/** What goes on with a connection that was handed over. */
export type Taken = {
  /** What it is, for status: one or two words. */
  readonly state: string
  /** The gate shuts down: finish what runs, then end the socket. */
  readonly drain: () => void
}

/** An upgrade that is accepted: the gate says 101, then hands the socket over. */
export type OwnSwitch = {
  readonly protocol: string
  /** Flat list of further headers of the 101. */
  readonly headers: readonly string[]
  /** Called in the turn in which the socket is free: whoever takes it must listen at once. @param early bytes after the head */
  readonly take: (socket: Duplex, early: Buffer) => Taken
}

/** Answers for the gate itself. Rejections are defects: the client gets a 500, the gate an event. */
export type OwnService = {
  readonly request: (request: OwnRequest) => Promise<OwnReply>
  /** @param protocol the one protocol that the client asks for, in small letters */
  readonly upgrade: (request: OwnRequest, protocol: string) => Promise<OwnReply | OwnSwitch>
}
