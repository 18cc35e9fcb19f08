// Operators who are connected to clients now (N24): listed with their start, bounded, and ended when what allowed them is gone.
import type { OperatorSession } from '../../policy/running-state.ts'
import type { Reporter } from '../../journal/events.ts'
import { PortcullisError } from '../../policy/error.ts'

/** What a session is opened with. */
export type NewSession = Omit<OperatorSession, 'id' | 'startedMs' | 'bytesIn' | 'bytesOut'>

/** The connection of a session. */
export type SessionLink = {
  readonly bytes: () => { readonly in: number; readonly out: number }
  /** Ends it at once, with words for the operator. */
  readonly end: (why: string) => void
  /** Takes nothing new; what runs on it goes on to its own end. */
  readonly finish: (why: string) => void
}

/** The sessions that are open. */
export type Sessions = {
  readonly list: () => readonly OperatorSession[]
  /** @throws PortcullisError `sessions-limit` */
  readonly requireRoom: (operator: string) => void
  /** Opens one and reports it. Returns what closes it; closing twice is closing once. */
  readonly open: (session: NewSession, link: SessionLink) => () => void
  /** Ends every session of which this is true. */
  readonly end: (which: (session: NewSession) => boolean, why: string) => void
  /** Lets every session of which this is true end with its last connection. */
  readonly finish: (which: (session: NewSession) => boolean, why: string) => void
}

const MAX_SESSIONS = 2_000
const MAX_SESSIONS_PER_OPERATOR = 200

type Entry = {
  readonly id: string
  readonly session: NewSession
  readonly link: SessionLink
  readonly startedMs: number
}

/** Makes an empty list. */
export function createSessions(reporter: Reporter, clock: () => number, newId: () => string): Sessions {
  const entries = new Map<string, Entry>()
  return {
    list: () =>
      Array.from(entries.values(), ({ id, session, link, startedMs }) => {
        const bytes = link.bytes()
        return { ...session, id, startedMs, bytesIn: bytes.in, bytesOut: bytes.out }
      }),
    requireRoom: operator => {
      let own = 0
      for (const { session } of entries.values()) if (session.operator === operator) own++
      if (entries.size < MAX_SESSIONS && own < MAX_SESSIONS_PER_OPERATOR) return
      throw new PortcullisError('too many sessions of operators are open', {
        code: 'sessions-limit',
        side: 'downstream',
        status: 503,
        remedy: 'Close sessions that are no longer used: `portcullis sessions` lists them.',
      })
    },
    open: (session, link) => {
      const entry = { id: newId(), session, link, startedMs: clock() }
      const { operator, client, address } = session
      entries.set(entry.id, entry)
      reporter.report('operator.connected', { operator, client, address })
      return () => {
        if (!entries.delete(entry.id)) return
        const durationMs = clock() - entry.startedMs
        reporter.report('operator.disconnected', { operator, client, durationMs })
      }
    },
    end: (which, why) => {
      for (const { session, link } of entries.values()) if (which(session)) link.end(why)
    },
    finish: (which, why) => {
      for (const { session, link } of entries.values()) if (which(session)) link.finish(why)
    },
  }
}
