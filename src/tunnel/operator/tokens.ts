// Short-lived proofs that an operator has logged in at the gateway: in memory only, bounded, bound to key and address.
import { hash, randomBytes } from 'node:crypto'
import type { Operator } from '../../access/access.ts'

/** What a token stands for. */
export type Grant = {
  readonly operator: Operator
  /** Name of the gateway key whose clients it reaches. */
  readonly key: string
  /** Address that logged in: from anywhere else the token is worth nothing. */
  readonly source: string
}

/** The tokens in force. */
export type Tokens = {
  readonly issue: (grant: Grant) => { readonly token: string; readonly lifeMs: number }
  readonly find: (token: string, source: string) => Grant | undefined
  /** Ends every token of which this is true. */
  readonly revoke: (which: (grant: Grant) => boolean) => void
  readonly size: () => number
}

/** How long a token lives. The command line logs in again by itself. */
const TOKEN_LIFE_MS = 10 * 60_000
const MAX_TOKENS = 2_000
const MAX_TOKENS_PER_OPERATOR = 50

type Entry = { readonly grant: Grant; readonly untilMs: number }

/** Makes an empty set of tokens. */
export function createTokens(clock: () => number): Tokens {
  // By the hash of the token: a look-up that ends early then says nothing about the token itself.
  const entries = new Map<string, Entry>()
  const expire = (nowMs: number): void => {
    // Oldest first, all with the same life: the first that still lives ends the walk.
    for (const [digest, entry] of entries) {
      if (entry.untilMs > nowMs) return
      entries.delete(digest)
    }
  }
  return {
    issue: grant => {
      const nowMs = clock()
      expire(nowMs)
      const own = [...entries].filter(([, entry]) => entry.grant.operator.name === grant.operator.name)
      const [oldestOwn] = own
      if (own.length >= MAX_TOKENS_PER_OPERATOR && oldestOwn !== undefined) entries.delete(oldestOwn[0])
      const [oldest] = entries.keys()
      if (entries.size >= MAX_TOKENS && oldest !== undefined) entries.delete(oldest)
      const token = randomBytes(32).toString('base64url')
      entries.set(digestOf(token), { grant, untilMs: nowMs + TOKEN_LIFE_MS })
      return { token, lifeMs: TOKEN_LIFE_MS }
    },
    find: (token, source) => {
      const entry = entries.get(digestOf(token))
      if (entry === undefined || entry.untilMs <= clock() || entry.grant.source !== source) return undefined
      return entry.grant
    },
    revoke: which => {
      for (const [digest, { grant }] of entries) if (which(grant)) entries.delete(digest)
    },
    size: () => entries.size,
  }
}

function digestOf(token: string): string {
  return hash('sha256', token)
}
