// A file of keys and operators in a throw-away directory, a clock of its own, and derivations that are counted.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { Access } from '../../src/access/access.ts'
import { createAccess } from '../../src/access/create-access.ts'
import { hash } from 'node:crypto'
import type { EventFields, EventName } from '../../src/journal/events.ts'
import { writeAccessFile, type AccessDocument } from '../../src/access/access-file.ts'
import { DEFAULT_COST } from '../../src/access/derive.ts'

/** An event as it was reported. */
export type Reported = { readonly name: EventName; readonly fields: EventFields[EventName] }

/** Everything of one test. */
export type AccessBench = {
  readonly file: string
  readonly open: () => Access
  readonly events: Reported[]
  readonly advance: (ms: number) => void
  /** Secrets that were derived, in order. */
  readonly derived: string[]
  /** Derivations wait here until they are let go, when the test says so. */
  readonly hold: () => () => void
}

/** Stands for argon2id where a test is about who is asked how often, not about hashing. */
export const cheapHash = (secret: string, salt: Buffer): Buffer =>
  Buffer.from(hash('sha256', `${salt.toString('hex')} ${secret}`, 'hex'), 'hex')

const SALT = Buffer.alloc(16, 7)

/** A document with these keys and operators, hashed cheaply. */
export function documentOf(
  keys: Readonly<Record<string, string>>,
  operators: Readonly<Record<string, string>> = {},
): AccessDocument {
  return {
    keySalt: SALT,
    keyCost: DEFAULT_COST,
    keys: Object.entries(keys).map(([name, key]) => ({
      name,
      maxClients: null,
      createdMs: 1,
      hash: cheapHash(key, SALT),
    })),
    operators: Object.entries(operators).map(([name, password]) => ({
      name,
      role: 'support',
      sites: null,
      keys: null,
      createdMs: 1,
      salt: SALT,
      hash: cheapHash(password, SALT),
      cost: DEFAULT_COST,
    })),
  }
}

/** A bench whose file holds the document; none when it is left out. */
export function accessBench(t: ExecutionContext, document?: AccessDocument): AccessBench {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-access-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(directory, 'access.json')
  if (document !== undefined) writeAccessFile(file, document)
  const events: Reported[] = []
  const derived: string[] = []
  let nowMs = 1_800_000_000_000
  let gate: Promise<void> = Promise.resolve()
  return {
    file,
    events,
    derived,
    advance: ms => {
      nowMs += ms
    },
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      gate = promise
      return () => resolve(undefined)
    },
    open: () =>
      createAccess({
        file,
        clock: () => nowMs,
        reporter: { report: (name, fields) => events.push({ name, fields }) },
        derive: async (secret, salt) => {
          derived.push(secret)
          await gate
          return cheapHash(secret, salt)
        },
      }),
  }
}
