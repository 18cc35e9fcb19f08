// The file of keys and operators in the state directory: its shape, strict reading, and writing that is whole or not at all.
import { closeSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { z } from 'zod'
import { PortcullisError } from '../policy/error.ts'
import { ROLES, type GatewayKey, type Operator } from './access.ts'
import { HASH_BYTES, SALT_BYTES, type DerivationCost } from './derive.ts'
import { writeWholeFile } from './whole-file.ts'

/** Name of the file in the state directory. */
export const ACCESS_FILE = 'access.json'

/** Bounds of the file. */
export const MAX_KEYS = 1_000
export const MAX_OPERATORS = 200
const MAX_FILE_BYTES = 1024 * 1024

/** Names of keys and operators: they stand in logs, file names and command lines. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/

/** A key with its hash; the salt is the file's. */
export type StoredKey = GatewayKey & { readonly hash: Buffer }

/** An operator with salt and hash. */
export type StoredOperator = Operator & {
  readonly salt: Buffer
  readonly hash: Buffer
  readonly cost: DerivationCost
}

/**
 * Everything in the file. All gateway keys share one random salt: whoever attaches presents a key and no name, so with a
 * salt for each key an attempt would cost one derivation for each, and an attacker could make the gate work a thousand times as
 * much as he does. The salt is random for every file, so tables made beforehand are of no use; somebody who has stolen the
 * file can try one guess against all keys at once, which is why keys should be generated, not invented.
 */
export type AccessDocument = {
  readonly keySalt: Buffer
  readonly keyCost: DerivationCost
  readonly keys: readonly StoredKey[]
  readonly operators: readonly StoredOperator[]
}

const bytes = (length: number): z.ZodType<Buffer, string> =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/)
    .transform(text => Buffer.from(text, 'base64url'))
    .refine(buffer => buffer.length === length, `not ${length} bytes in base64url`)
const name = z.string().regex(NAME_PATTERN)
const cost = z.strictObject({
  // Bounds that keep a damaged file from stopping the gate by asking for all of its memory.
  memoryKiB: z.number().int().min(8_192).max(262_144),
  passes: z.number().int().min(1).max(10),
})
const time = z.number().int().nonnegative()
const scope = z.array(z.string().min(1).max(128)).max(MAX_KEYS).nullable()
const documentSchema = z.strictObject({
  version: z.literal(1),
  keySalt: bytes(SALT_BYTES),
  keyCost: cost,
  keys: z
    .array(
      z.strictObject({
        name,
        maxClients: z.number().int().min(1).max(1_000_000).nullable(),
        createdMs: time,
        hash: bytes(HASH_BYTES),
      }),
    )
    .max(MAX_KEYS)
    .refine(hasUniqueNames, 'two keys have the same name'),
  operators: z
    .array(
      z.strictObject({
        name,
        role: z.enum(ROLES),
        sites: scope,
        keys: scope,
        createdMs: time,
        salt: bytes(SALT_BYTES),
        hash: bytes(HASH_BYTES),
        cost,
      }),
    )
    .max(MAX_OPERATORS)
    .refine(hasUniqueNames, 'two operators have the same name'),
})

function hasUniqueNames(entries: readonly { readonly name: string }[]): boolean {
  return new Set(entries.map(entry => entry.name.toLowerCase())).size === entries.length
}

/**
 * Reads the file.
 * @returns undefined when there is none
 * @throws PortcullisError `access-file` when it is not exactly what this version writes
 */
export function readAccessFile(file: string): AccessDocument | undefined {
  let text: string
  try {
    if (statSync(file).size > MAX_FILE_BYTES) throw broken(file, 'it is too large')
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof PortcullisError) throw cause
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw broken(file, cause instanceof Error ? cause.message : String(cause))
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's own message quotes the text, and with it hashes.
    throw broken(file, 'it is not JSON')
  }
  const result = documentSchema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw broken(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`.replace(/^: /, ''))
}

/** Writes the file, readable by its owner alone: all of it, or nothing. */
export function writeAccessFile(file: string, document: AccessDocument): void {
  const text = JSON.stringify(
    {
      version: 1,
      keySalt: document.keySalt.toString('base64url'),
      keyCost: document.keyCost,
      keys: document.keys.map(key => ({ ...key, hash: key.hash.toString('base64url') })),
      operators: document.operators.map(operator => ({
        ...operator,
        salt: operator.salt.toString('base64url'),
        hash: operator.hash.toString('base64url'),
      })),
    },
    null,
    2,
  )
  writeWholeFile(
    file,
    `${text}
`,
  )
}

const STALE_LOCK_MS = 10_000

/**
 * Reads, changes and writes the file while nobody else does.
 * @throws PortcullisError `access-locked` when another command is at it, `access-file` when it cannot be read
 */
export function changeAccessFile(
  file: string,
  nowMs: number,
  change: (document: AccessDocument | undefined) => AccessDocument,
): void {
  const lock = `${file}.lock`
  if (nowMs - lockedSince(lock, nowMs) > STALE_LOCK_MS) rmSync(lock, { force: true })
  let descriptor
  try {
    descriptor = openSync(lock, 'wx', 0o600)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw new PortcullisError('another command changes keys or operators right now', {
      code: 'access-locked',
      side: 'configuration',
      retry: true,
      remedy: `Try again in a moment. If nothing else runs, remove ${lock}.`,
    })
  }
  try {
    writeAccessFile(file, change(readAccessFile(file)))
  } finally {
    closeSync(descriptor)
    rmSync(lock, { force: true })
  }
}

function lockedSince(lock: string, nowMs: number): number {
  try {
    return statSync(lock).mtimeMs
  } catch {
    return nowMs
  }
}

function broken(file: string, problem: string): PortcullisError {
  return new PortcullisError(`${file} cannot be used: ${problem}`, {
    code: 'access-file',
    side: 'configuration',
    remedy:
      'Bring a copy of the file back, or remove it and add keys and operators anew with `portcullis keys add`.',
  })
}
