// Who may attach and log in: answers the questions of gate, dashboard and operators from the file of keys and operators.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Reporter } from '../journal/events.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Access, AccessChange, GatewayKey, KeyCheck, Operator, OperatorCheck } from './access.ts'
import { readAccessFile, type AccessDocument, type StoredKey, type StoredOperator } from './access-file.ts'
import { createAttempts, sourceOf } from './attempts.ts'
import { createWorkQueue, DEFAULT_COST, derive, newSalt, type DerivationCost } from './derive.ts'
import { MAX_SECRET_LENGTH, MIN_KEY_LENGTH } from './edit.ts'
import { createPacedSet, createRecent } from './recent.ts'

/** What an access needs. */
export type AccessOptions = {
  /** Full name of the file; it need not exist. */
  readonly file: string
  readonly clock: () => number
  readonly reporter: Reporter
  /** The derivation; tests count it. */
  readonly derive?: typeof derive
}

const BUSY_MS = 1_000
const MAX_NAME_LENGTH = 64
const REMEMBERED = 10_000

type Found = StoredKey | StoredOperator
type Question = {
  /** Keeps keys and operators apart in everything that is remembered. */
  readonly kind: 'key' | 'operator'
  readonly name: string
  readonly secret: string
  readonly source: string
  readonly salt: Buffer
  readonly cost: DerivationCost
  /** Who has this hash; compares in constant time. */
  readonly find: (hash: Buffer) => Found | undefined
}
type Answer =
  | { readonly ok: true; readonly found: Found }
  | { readonly ok: false; readonly why: 'unknown' | 'held' | 'busy'; readonly retryAfterMs: number | null }

/**
 * Opens the file of keys and operators. One that cannot be read is an event, and nobody may attach or log in until it can:
 * the gate itself goes on.
 */
export function createAccess(options: AccessOptions): Access {
  const { file, clock, reporter } = options
  const deriveHash = options.derive ?? derive
  const attempts = createAttempts()
  const queue = createWorkQueue()
  const listeners = new Set<(change: AccessChange) => void>()
  // Never leaves the process: what is remembered of secrets is worth nothing without it.
  const pepper = randomBytes(32)
  // An unknown name is derived with this salt, so that it takes as long as a known one.
  const nobody = newSalt()
  /** Secrets that were right, and whose: whoever comes again is not derived again. */
  const right = createRecent<Found>(REMEMBERED)
  /** Secrets that were wrong, by source: a client that repeats one wrong key guesses once, not for ever. */
  const wrong = createRecent<true>(REMEMBERED)
  /** Sources from which a secret was right before. They may come in while their source is held, at a pace no guesser can use. */
  const familiar = createPacedSet(REMEMBERED, clock)
  const underWay = new Map<string, Promise<Found | undefined>>()
  const underWayBySource = new Map<string, number>()

  let document: AccessDocument | undefined
  const load = (): boolean => {
    try {
      document = readAccessFile(file)
      return true
    } catch (cause) {
      const problem = cause instanceof PortcullisError ? cause.message : String(cause)
      reporter.report('access.rejected', { file, problem, kept: document !== undefined })
      return false
    }
  }
  load()

  const isCurrent = (found: Found): boolean =>
    document?.keys.includes(found as StoredKey) === true ||
    document?.operators.includes(found as StoredOperator) === true

  const check = async (question: Question): Promise<Answer> => {
    const { kind, name, secret, source } = question
    const digest = createHmac('sha256', pepper)
      .update(`${kind}\0${name}\0${secret.normalize('NFC')}`)
      .digest('base64')
    const pair = `${source} ${digest}`
    const known = right.get(digest)
    const isRight = known !== undefined && isCurrent(known)
    const standing = attempts.standing(source, clock())
    if (standing !== 'free') {
      if (isRight && familiar.take(pair)) return { ok: true, found: known }
      return refused('held', standing.heldMs)
    }
    if (isRight) {
      familiar.add(pair)
      return { ok: true, found: known }
    }
    if (wrong.get(pair) === true) return refused('unknown')
    const others = underWayBySource.get(source) ?? 0
    const running = underWay.get(digest)
    if (running === undefined && others >= attempts.allowance(source, name, clock()))
      return refused('busy', BUSY_MS)
    const derivation = running ?? startDerivation(question, digest)
    if (derivation === undefined) return refused('busy', BUSY_MS)
    underWayBySource.set(source, others + 1)
    let found: Found | undefined
    try {
      found = await derivation
    } finally {
      leave(underWayBySource, source)
    }
    if (found !== undefined && isCurrent(found)) {
      familiar.add(pair)
      return { ok: true, found }
    }
    // Many that came with the same wrong secret at once are one guess.
    if (wrong.get(pair) !== true) {
      wrong.set(pair, true)
      attempts.fail(source, kind === 'operator' ? name : '', clock())
    }
    return refused('unknown')
  }

  /** Derives once for everybody who asks the same at the same time: a whole site that comes back costs one derivation. */
  const startDerivation = (question: Question, digest: string): Promise<Found | undefined> | undefined => {
    const { secret, salt, cost, find, source } = question
    const started = queue.run(source, () => deriveHash(secret, salt, cost))
    const done = started?.then(hash => {
      const found = find(hash)
      if (found !== undefined) right.set(digest, found)
      return found
    })
    if (done === undefined) return undefined
    underWay.set(digest, done)
    const end = (): void => void underWay.delete(digest)
    done.then(end, end)
    return done
  }

  return {
    keys: () => (document?.keys ?? []).map(publicKey),
    operators: () => (document?.operators ?? []).map(publicOperator),
    operator: name => {
      const found = document?.operators.find(operator => operator.name === name)
      return found === undefined ? undefined : publicOperator(found)
    },
    checkKey: async (key, address): Promise<KeyCheck> => {
      const current = document
      if (current === undefined || current.keys.length === 0)
        return { ok: false, why: 'no-keys', retryAfterMs: null }
      // Nothing so short or long was ever added: that it is refused at once tells nobody anything.
      if (key.length < MIN_KEY_LENGTH || key.length > MAX_SECRET_LENGTH) return refused('unknown')
      const answer = await check({
        kind: 'key',
        name: '',
        secret: key,
        source: sourceOf(address),
        salt: current.keySalt,
        cost: current.keyCost,
        find: hash => findHash(document?.keys ?? [], hash),
      })
      return answer.ok ? { ok: true, key: publicKey(answer.found as StoredKey) } : answer
    },
    checkOperator: async (name, password, address): Promise<OperatorCheck> => {
      if (name.length > MAX_NAME_LENGTH || password.length > MAX_SECRET_LENGTH) return refused('unknown')
      const found = document?.operators.find(operator => operator.name === name)
      const answer = await check({
        kind: 'operator',
        name,
        secret: password,
        source: sourceOf(address),
        salt: found?.salt ?? nobody,
        cost: found?.cost ?? DEFAULT_COST,
        find: hash => {
          const matches = timingSafeEqual(hash, found?.hash ?? nobodyHash)
          return matches ? found : undefined
        },
      })
      return answer.ok ? { ok: true, operator: publicOperator(answer.found as StoredOperator) } : answer
    },
    reload: () => {
      const before = document
      if (!load()) return Promise.resolve(NOTHING)
      document = keepUnchanged(before, document)
      const change = changeOf(before, document)
      // A secret that was wrong may be right now.
      wrong.clear()
      reporter.report('keys.reloaded', {
        keys: document?.keys.length ?? 0,
        added: change.keysAdded,
        removed: change.keysRemoved,
      })
      if (change.operatorsChanged.length > 0 || change.operatorsRemoved.length > 0)
        reporter.report('operators.reloaded', {
          operators: document?.operators.length ?? 0,
          changed: change.operatorsChanged,
          removed: change.operatorsRemoved,
        })
      if (Object.values(change).some(names => names.length > 0))
        for (const listener of listeners) listener(change)
      return Promise.resolve(change)
    },
    onChange: listener => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

const NOTHING: AccessChange = { keysAdded: [], keysRemoved: [], operatorsChanged: [], operatorsRemoved: [] }
const nobodyHash = randomBytes(32)

function refused<W extends 'unknown' | 'held' | 'busy'>(
  why: W,
  retryAfterMs: number | null = null,
): { readonly ok: false; readonly why: W; readonly retryAfterMs: number | null } {
  return { ok: false, why, retryAfterMs }
}

/** Compares with every key, so that the time says neither which key it was nor whether there was one. */
function findHash(keys: readonly StoredKey[], hash: Buffer): StoredKey | undefined {
  let found: StoredKey | undefined
  for (const key of keys) if (timingSafeEqual(key.hash, hash)) found = key
  return found
}

function leave(counts: Map<string, number>, source: string): void {
  const left = (counts.get(source) ?? 1) - 1
  if (left <= 0) counts.delete(source)
  else counts.set(source, left)
}

function publicKey({ name, maxClients, createdMs }: StoredKey): GatewayKey {
  return { name, maxClients, createdMs }
}

function publicOperator({ name, role, sites, keys, createdMs }: StoredOperator): Operator {
  return { name, role, sites, keys, createdMs }
}

/** Entries that did not change stay the same objects: what is remembered of them stays true. */
function keepUnchanged(
  before: AccessDocument | undefined,
  after: AccessDocument | undefined,
): AccessDocument | undefined {
  if (before === undefined || after === undefined) return after
  const keep = <T extends Found>(entry: T, known: readonly T[]): T =>
    known.find(old => JSON.stringify(old) === JSON.stringify(entry)) ?? entry
  return {
    ...after,
    keys: after.keys.map(key => keep(key, before.keys)),
    operators: after.operators.map(operator => keep(operator, before.operators)),
  }
}

function changeOf(before: AccessDocument | undefined, after: AccessDocument | undefined): AccessChange {
  const oldKeys = before?.keys ?? []
  const newKeys = after?.keys ?? []
  const oldOperators = before?.operators ?? []
  const newOperators = after?.operators ?? []
  const has = (
    entries: readonly { readonly name: string; readonly hash: Buffer }[],
    key: StoredKey,
  ): boolean => entries.some(entry => entry.name === key.name && entry.hash.equals(key.hash))
  return {
    keysAdded: newKeys.filter(key => !has(oldKeys, key)).map(key => key.name),
    // A key that got another value under its old name was removed and added.
    keysRemoved: oldKeys.filter(key => !has(newKeys, key)).map(key => key.name),
    operatorsChanged: newOperators.filter(entry => !oldOperators.includes(entry)).map(entry => entry.name),
    operatorsRemoved: oldOperators
      .filter(entry => !newOperators.some(other => other.name === entry.name))
      .map(entry => entry.name),
  }
}
