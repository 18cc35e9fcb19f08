// What a refusal reason is made of: its phase, its words, and how it shows on the wire.

/** Moments at which facts grow and a verdict is asked for. */
export type Phase = 'accept' | 'hello' | 'request' | 'body' | 'message' | 'close'

/** TLS alert codes that a refusal before the handshake can carry (RFC 8446, section 6). */
export const TLS_ALERTS = {
  handshake_failure: 40,
  access_denied: 49,
  decode_error: 50,
  protocol_version: 70,
  internal_error: 80,
  unrecognized_name: 112,
} as const

/** Name of a TLS alert that Portcullis sends by hand. */
export type TlsAlert = keyof typeof TLS_ALERTS

/** What one reason means and how it shows on the wire. */
export type ReasonDefinition = {
  readonly phase: Phase
  /** One clause that completes "refused because ...". */
  readonly because: string
  /** What an admin or supporter does about it; one sentence. */
  readonly remedy: string
  /** HTTP status, for refusals that can still answer over HTTP. */
  readonly status?: number
  /** TLS alert, for refusals before or in place of a handshake. */
  readonly alert?: TlsAlert
}
