// Changes to keys and operators, as the command line makes them: checked, hashed, and written to the file.
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { PortcullisError } from '../policy/error.ts'
import type { GatewayKey, Operator } from './access.ts'
import {
  changeAccessFile,
  MAX_KEYS,
  MAX_OPERATORS,
  NAME_PATTERN,
  readAccessFile,
  type AccessDocument,
} from './access-file.ts'
import { DEFAULT_COST, derive, newSalt } from './derive.ts'

/** Shortest gateway key (N14), shortest password of an operator, and the longest of both. */
export const MIN_KEY_LENGTH = 8
const MIN_PASSWORD_LENGTH = 12
export const MAX_SECRET_LENGTH = 256

/** A random key or password: 26 letters and digits without look-alikes, 130 bits, in groups that can be read out. */
export function generateSecret(): string {
  const text = Array.from(randomBytes(26), byte => ALPHABET[byte % ALPHABET.length]).join('')
  return (text.match(/.{1,6}/g) ?? []).join('-')
}

// 32 characters, so that a byte gives each of them equally often.
const ALPHABET = 'abcdefghjkmnpqrstuvwxyz023456789'

/**
 * Adds a gateway key.
 * @throws PortcullisError `key-invalid` for a name, key or limit that cannot be, `key-exists`
 */
export async function addKey(
  file: string,
  key: string,
  entry: Pick<GatewayKey, 'name' | 'maxClients'>,
  nowMs: number,
): Promise<void> {
  requireName(entry.name)
  requireSecret(key, 'gateway key', MIN_KEY_LENGTH)
  const { keySalt, keyCost } = readAccessFile(file) ?? emptyDocument()
  const hash = await derive(key, keySalt, keyCost)
  changeAccessFile(file, nowMs, found => {
    const document = found ?? { ...emptyDocument(), keySalt, keyCost }
    if (!document.keySalt.equals(keySalt)) throw changedMeanwhile()
    if (document.keys.some(known => isSameName(known.name, entry.name)))
      throw invalid('key-exists', `there is a gateway key ${entry.name} already`, 'Choose another name.')
    const twin = document.keys.find(known => timingSafeEqual(known.hash, hash))
    if (twin !== undefined)
      throw invalid(
        'key-exists',
        `this is the key ${twin.name}`,
        'Clients of one key are seen by its operators: give every customer a key of its own.',
      )
    if (document.keys.length >= MAX_KEYS)
      throw invalid('key-invalid', `there are ${MAX_KEYS} keys already`, 'Remove keys that nobody uses.')
    return { ...document, keys: [...document.keys, { ...entry, createdMs: nowMs, hash }] }
  })
}

/** Removes a gateway key. @throws PortcullisError `key-unknown` */
export function removeKey(file: string, name: string, nowMs: number): void {
  changeAccessFile(file, nowMs, document => {
    if (document === undefined || !document.keys.some(key => key.name === name))
      throw invalid('key-unknown', `there is no gateway key ${name}`, 'See `portcullis keys list`.')
    return { ...document, keys: document.keys.filter(key => key.name !== name) }
  })
}

/**
 * Adds an operator.
 * @throws PortcullisError `operator-invalid` for a name, password or scope that cannot be, `operator-exists`
 */
export async function addOperator(
  file: string,
  password: string,
  entry: Pick<Operator, 'name' | 'role' | 'sites' | 'keys'>,
  nowMs: number,
): Promise<void> {
  requireName(entry.name)
  requireSecret(password, 'password', MIN_PASSWORD_LENGTH)
  const salt = newSalt()
  const hash = await derive(password, salt, DEFAULT_COST)
  changeAccessFile(file, nowMs, found => {
    const document = found ?? emptyDocument()
    if (document.operators.some(known => isSameName(known.name, entry.name)))
      throw invalid(
        'operator-exists',
        `there is an operator ${entry.name} already`,
        'Choose another name, or change the password with `portcullis operators password`.',
      )
    const missing = entry.keys?.find(key => !document.keys.some(known => known.name === key))
    if (missing !== undefined)
      throw invalid('operator-invalid', `there is no gateway key ${missing}`, 'See `portcullis keys list`.')
    if (document.operators.length >= MAX_OPERATORS)
      throw invalid(
        'operator-invalid',
        `there are ${MAX_OPERATORS} operators already`,
        'Remove operators who have left.',
      )
    const operator = { ...entry, createdMs: nowMs, salt, hash, cost: DEFAULT_COST }
    return { ...document, operators: [...document.operators, operator] }
  })
}

/** Removes an operator. @throws PortcullisError `operator-unknown` */
export function removeOperator(file: string, name: string, nowMs: number): void {
  changeAccessFile(file, nowMs, document => {
    if (document === undefined || !document.operators.some(operator => operator.name === name))
      throw invalid('operator-unknown', `there is no operator ${name}`, 'See `portcullis operators list`.')
    return { ...document, operators: document.operators.filter(operator => operator.name !== name) }
  })
}

/** Gives an operator another password. @throws PortcullisError `operator-unknown`, `operator-invalid` */
export async function setPassword(
  file: string,
  name: string,
  password: string,
  nowMs: number,
): Promise<void> {
  requireSecret(password, 'password', MIN_PASSWORD_LENGTH)
  const salt = newSalt()
  const hash = await derive(password, salt, DEFAULT_COST)
  changeAccessFile(file, nowMs, document => {
    if (document === undefined || !document.operators.some(operator => operator.name === name))
      throw invalid('operator-unknown', `there is no operator ${name}`, 'See `portcullis operators list`.')
    return {
      ...document,
      operators: document.operators.map(operator =>
        operator.name === name ? { ...operator, salt, hash, cost: DEFAULT_COST } : operator,
      ),
    }
  })
}

function emptyDocument(): AccessDocument {
  return { keySalt: newSalt(), keyCost: DEFAULT_COST, keys: [], operators: [] }
}

function isSameName(left: string, right: string): boolean {
  return left.toLowerCase() === right.toLowerCase()
}

function requireName(name: string): void {
  if (NAME_PATTERN.test(name)) return
  throw invalid(
    'name-invalid',
    `"${name}" cannot be a name`,
    'A name has 1 to 64 letters, digits, dots, hyphens, underscores or @, and begins with a letter or digit.',
  )
}

function requireSecret(secret: string, what: string, minimum: number): void {
  const { length } = secret
  if (length < minimum || length > MAX_SECRET_LENGTH)
    throw invalid(
      'secret-invalid',
      `a ${what} has ${minimum} to ${MAX_SECRET_LENGTH} characters, this one has ${length}`,
      'Let one be made: --generate.',
    )
  // A line end or a tab within a secret is a mistake of copying that nobody would find later.
  if (/\p{Cc}/u.test(secret) || secret.trim() !== secret)
    throw invalid(
      'secret-invalid',
      `a ${what} has no blanks at its ends and no control characters`,
      'Let one be made: --generate.',
    )
}

function changedMeanwhile(): PortcullisError {
  return invalid('access-changed', 'the file of keys was replaced meanwhile', 'Run the command again.')
}

function invalid(code: string, message: string, remedy: string): PortcullisError {
  return new PortcullisError(message, { code, side: 'configuration', remedy })
}
