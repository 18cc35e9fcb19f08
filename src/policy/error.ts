// The one error type: a stable code, whose side failed, whether trying again may help, and what to do.

/** Which side an error belongs to. */
export type ErrorSide = 'downstream' | 'upstream' | 'internal' | 'configuration'

/** An error with four orthogonal facts beside its message. A refusal is a verdict, never one of these. */
export class PortcullisError extends Error {
  override readonly name = 'PortcullisError'
  readonly code: string
  readonly side: ErrorSide
  /** Whether the same attempt elsewhere is safe: true only when nothing was sent. */
  readonly retry: boolean
  /** HTTP status for the client, when there is one to send. */
  readonly status: number | null
  /** What the reader should do next. */
  readonly remedy: string

  constructor(
    message: string,
    facts: {
      readonly code: string
      readonly side: ErrorSide
      readonly retry?: boolean
      readonly status?: number
      readonly remedy: string
      readonly cause?: unknown
    },
  ) {
    super(message, { cause: facts.cause })
    this.code = facts.code
    this.side = facts.side
    this.retry = facts.retry ?? false
    this.status = facts.status ?? null
    this.remedy = facts.remedy
  }
}
