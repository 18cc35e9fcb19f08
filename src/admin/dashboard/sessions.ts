// Sessions of logged-in operators: made at login, kept in memory, ended by time, by logout, and when the operator changes.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Operator } from '../../access/access.ts'

/** A logged-in operator at one browser. */
export type Session = {
  /** Not secret: names the session in forms and in the audit log. */
  readonly handle: string
  readonly operator: string
  /** When the account was made: an account of the same name that was made later is somebody else. */
  readonly operatorCreatedMs: number
  readonly address: string
  readonly startedMs: number
  /** When a person last did something; what renews itself does not count. */
  readonly usedMs: number
  /** What forms of this session carry. */
  readonly csrfToken: string
}

/** Why a session has ended. */
export type SessionEnd =
  'logged-out' | 'idle' | 'expired' | 'displaced' | 'operator-changed' | 'login' | 'shutdown'

/** Limits of sessions; times in milliseconds. */
export type SessionLimits = {
  /** Without anything done by a person. */
  readonly idleMs: number
  /** From the login on, whatever happens. */
  readonly absoluteMs: number
  readonly perOperator: number
  readonly total: number
}

/** Usual limits: half an hour unused, half a day in all. */
export const SESSION_LIMITS: SessionLimits = {
  idleMs: 30 * 60_000,
  absoluteMs: 12 * 3_600_000,
  perOperator: 8,
  total: 512,
}

/** All sessions. */
export type Sessions = {
  /** Starts a session and gives the secret that its cookie carries; nothing else ever holds it. */
  readonly start: (
    operator: Operator,
    address: string,
  ) => { readonly secret: string; readonly session: Session }
  /** The session of a cookie. @param touch whether a person did this */
  readonly find: (secret: string, touch: boolean) => Session | undefined
  readonly isLive: (session: Session) => boolean
  readonly ofOperator: (operator: string) => readonly Session[]
  readonly end: (session: Session, why: SessionEnd) => void
  readonly endOperators: (operators: readonly string[], why: SessionEnd) => void
  readonly endAll: (why: SessionEnd) => void
  /** One sentence for the next page of this session. */
  readonly leaveNotice: (session: Session, text: string) => void
  readonly takeNotice: (session: Session) => string | null
  readonly count: () => number
}

type Entry = { session: Session; notice: string | null }

/** @param onEnd told of every end, for the audit log and for streams that must stop */
export function createSessions(
  clock: () => number,
  onEnd: (session: Session, why: SessionEnd) => void,
  limits: SessionLimits = SESSION_LIMITS,
): Sessions {
  // By the hash of the secret: neither a look at the memory nor the time of a look-up tells one.
  const entries = new Map<string, Entry>()
  const byHandle = new Map<string, string>()

  const remove = (key: string, why: SessionEnd): void => {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    byHandle.delete(entry.session.handle)
    onEnd(entry.session, why)
  }
  const endOf = ({ startedMs, usedMs }: Session): SessionEnd | null => {
    const nowMs = clock()
    if (nowMs - startedMs >= limits.absoluteMs || nowMs < startedMs - limits.idleMs) return 'expired'
    return nowMs - usedMs >= limits.idleMs ? 'idle' : null
  }
  const sweep = (): void => {
    for (const [key, { session }] of entries) {
      const why = endOf(session)
      if (why !== null) remove(key, why)
    }
  }
  const leastUsed = (of: (session: Session) => boolean): string | undefined => {
    let found: { key: string; usedMs: number } | undefined
    for (const [key, { session }] of entries) {
      if (of(session) && (found === undefined || session.usedMs < found.usedMs))
        found = { key, usedMs: session.usedMs }
    }
    return found?.key
  }
  const entryOf = (session: Session): Entry | undefined => entries.get(byHandle.get(session.handle) ?? '')

  return {
    start: (operator, address) => {
      sweep()
      const isTheirs = (session: Session): boolean => session.operator === operator.name
      const theirs = [...entries.values()].filter(({ session }) => isTheirs(session)).length
      if (theirs >= limits.perOperator) remove(leastUsed(isTheirs) ?? '', 'displaced')
      if (entries.size >= limits.total) remove(leastUsed(() => true) ?? '', 'displaced')
      const secret = randomBytes(32).toString('base64url')
      const nowMs = clock()
      const session: Session = {
        handle: randomBytes(9).toString('base64url'),
        operator: operator.name,
        operatorCreatedMs: operator.createdMs,
        address,
        startedMs: nowMs,
        usedMs: nowMs,
        csrfToken: randomBytes(32).toString('base64url'),
      }
      const key = keyOf(secret)
      entries.set(key, { session, notice: null })
      byHandle.set(session.handle, key)
      return { secret, session }
    },
    find: (secret, touch) => {
      if (!/^[\w-]{43}$/.test(secret)) return undefined
      const key = keyOf(secret)
      const entry = entries.get(key)
      if (entry === undefined) return undefined
      const why = endOf(entry.session)
      if (why !== null) {
        remove(key, why)
        return undefined
      }
      if (touch) entry.session = { ...entry.session, usedMs: clock() }
      return entry.session
    },
    isLive: session => {
      const entry = entryOf(session)
      return entry !== undefined && endOf(entry.session) === null
    },
    ofOperator: operator => {
      sweep()
      return [...entries.values()]
        .map(({ session }) => session)
        .filter(session => session.operator === operator)
    },
    end: (session, why) => remove(byHandle.get(session.handle) ?? '', why),
    endOperators: (operators, why) => {
      const gone = new Set(operators)
      for (const [key, { session }] of entries) if (gone.has(session.operator)) remove(key, why)
    },
    endAll: why => {
      for (const key of entries.keys()) remove(key, why)
    },
    leaveNotice: (session, text) => {
      const entry = entryOf(session)
      if (entry !== undefined) entry.notice = text.slice(0, 500)
    },
    takeNotice: session => {
      const entry = entryOf(session)
      const notice = entry?.notice ?? null
      if (entry !== undefined) entry.notice = null
      return notice
    },
    count: () => entries.size,
  }
}

function keyOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url')
}

/** Whether a form carries the token of its session. */
export function hasToken(given: string | null, session: Session): boolean {
  const a = Buffer.from(given ?? '')
  const b = Buffer.from(session.csrfToken)
  return a.length === b.length && timingSafeEqual(a, b)
}
