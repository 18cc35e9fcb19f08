// What one mistake of the table is: how the good policy is spoilt, and what the reader must be told.

/** A mistake and its message. */
export type Mistake = {
  readonly name: string
  /** Appended to the good policy, or what replaces a part of it. */
  readonly add?: string
  readonly replace?: readonly [string | RegExp, string]
  readonly policy?: string | Uint8Array
  readonly profile?: readonly [string | RegExp, string]
  readonly rules?: readonly [string | RegExp, string]
  /** `line:column` in the file (portcullis.yaml unless `profile` or `rules` is given). */
  readonly at: string
  readonly says: RegExp
  readonly hint?: RegExp
}
