// Turns secrets into argon2id hashes, a few at a time, so that a flood of guesses cannot take the machine's memory or cores.
import { argon2, randomBytes } from 'node:crypto'

/** What one derivation costs: memory in KiB and passes over it; always one lane. */
export type DerivationCost = { readonly memoryKiB: number; readonly passes: number }

/** OWASP Password Storage Cheat Sheet, argon2id: 19 MiB and 2 passes; about 30 ms of one core. */
export const DEFAULT_COST: DerivationCost = { memoryKiB: 19_456, passes: 2 }

/** Bytes of a hash and of a salt (RFC 9106, section 3.1). */
export const HASH_BYTES = 32
export const SALT_BYTES = 16

/** A new random salt. */
export function newSalt(): Buffer {
  return randomBytes(SALT_BYTES)
}

/** The argon2id hash of a secret (RFC 9106), computed off the event loop. */
export function derive(secret: string, salt: Buffer, cost: DerivationCost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    argon2(
      'argon2id',
      {
        // One spelling of a letter with an accent, whatever keyboard it came from.
        message: secret.normalize('NFC'),
        nonce: salt,
        parallelism: 1,
        tagLength: HASH_BYTES,
        memory: cost.memoryKiB,
        passes: cost.passes,
      },
      (error, hash) => (error === null ? resolve(hash) : reject(error)),
    )
  })
}

/** Runs work two at a time; what waits is bounded in all and per source. */
export type WorkQueue = {
  /** Undefined: too much waits already, in all or of this source. */
  readonly run: <T>(source: string, work: () => Promise<T>) => Promise<T> | undefined
  readonly waiting: () => number
}

const AT_ONCE = 2
const MAX_WAITING = 64
const MAX_WAITING_PER_SOURCE = 4

/** Makes a queue. */
export function createWorkQueue(): WorkQueue {
  let running = 0
  const waiting: { readonly source: string; readonly start: () => void }[] = []
  const next = (): void => {
    running--
    waiting.shift()?.start()
  }
  return {
    waiting: () => waiting.length,
    run: (source, work) => {
      const go = async () => {
        running++
        try {
          return await work()
        } finally {
          next()
        }
      }
      if (running < AT_ONCE) return go()
      if (waiting.length >= MAX_WAITING) return undefined
      if (waiting.filter(entry => entry.source === source).length >= MAX_WAITING_PER_SOURCE) return undefined
      return new Promise((resolve, reject) => {
        waiting.push({ source, start: () => void go().then(resolve, reject) })
      })
    },
  }
}
