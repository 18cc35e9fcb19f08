// Which agents check in, minute by minute, and which of them are refused: what the guard compares before and after a change.
import type { EventFields, EventName } from '../journal/events.ts'
import { AGENT_CLASSES } from '../policy/classes.ts'

/** Check-ins of the last hour and a half. */
export type CheckIns = {
  /** Takes what it needs from an event; costs one set insertion. */
  readonly record: <K extends EventName>(name: K, fields: EventFields[K], nowMs: number) => void
  /** Distinct sources whose agents checked in from `fromMs` to before `toMs`, to the minute. */
  readonly seen: (fromMs: number, toMs: number) => ReadonlySet<string>
  /** Sources refused since `fromMs`, to the minute. */
  readonly refused: (fromMs: number) => ReadonlySet<string>
  /** Those of them whose address as such was refused, whatever they sent: nobody behind it can bring that about. */
  readonly shutOut: (fromMs: number) => ReadonlySet<string>
  /** Starts a new minute now, so that what comes is kept apart from what was. */
  readonly mark: (nowMs: number) => void
  /** From when on check-ins are known. */
  readonly sinceMs: () => number
}

const MINUTE_MS = 60_000
const KEPT_MINUTES = 90
/** Sources of one minute; a fleet beyond it is watched by a part of itself. */
const MAX_SOURCES = 50_000

type Minute = {
  readonly startMs: number
  endMs: number
  readonly passed: Set<string>
  readonly refused: Set<string>
  readonly shutOut: Set<string>
}

/** Makes the memory. */
export function createCheckIns(startMs: number): CheckIns {
  const minutes: Minute[] = []
  const open = (fromMs: number): Minute => {
    const last = minutes.at(-1)
    if (last !== undefined) last.endMs = Math.min(last.endMs, fromMs)
    const endMs = (Math.floor(fromMs / MINUTE_MS) + 1) * MINUTE_MS
    const minute: Minute = {
      startMs: fromMs,
      endMs,
      passed: new Set(),
      refused: new Set(),
      shutOut: new Set(),
    }
    minutes.push(minute)
    if (minutes.length > KEPT_MINUTES) minutes.shift()
    return minute
  }
  const minuteOf = (nowMs: number): Minute => {
    const last = minutes.at(-1)
    return last !== undefined && nowMs < last.endMs ? last : open(Math.floor(nowMs / MINUTE_MS) * MINUTE_MS)
  }
  const add = (set: Set<string>, address: string): void => {
    if (set.size < MAX_SOURCES) set.add(address)
  }
  const union = (fromMs: number, toMs: number, pick: (minute: Minute) => Set<string>): Set<string> => {
    const all = new Set<string>()
    for (const minute of minutes) {
      if (minute.endMs > fromMs && minute.startMs < toMs) for (const address of pick(minute)) all.add(address)
    }
    return all
  }
  const refuse = (
    { address, stage }: Pick<EventFields['connection.refused'], 'address' | 'stage'>,
    nowMs: number,
  ): void => {
    const minute = minuteOf(nowMs)
    add(minute.refused, address)
    if (stage === 'country' || stage === 'site') add(minute.shutOut, address)
  }
  const takes: { readonly [K in EventName]?: (fields: EventFields[K], nowMs: number) => void } = {
    'request.closed': (f, nowMs) => {
      if (AGENT_CLASSES.includes(f.class) && f.status < 500) add(minuteOf(nowMs).passed, f.address)
    },
    'websocket.opened': (f, nowMs) => {
      if (AGENT_CLASSES.includes(f.class)) add(minuteOf(nowMs).passed, f.address)
    },
    // Heartbeats over UDP are not asked: their sources can be forged, and they may pass while every check-in fails.
    'request.refused': (f, nowMs) => refuse(f, nowMs),
    'connection.refused': (f, nowMs) => refuse(f, nowMs),
    'stream.opened': (f, nowMs) => {
      if (f.class !== null && AGENT_CLASSES.includes(f.class)) add(minuteOf(nowMs).passed, f.address)
    },
    'stream.refused': (f, nowMs) => refuse(f, nowMs),
  }
  return {
    record: (name, fields, nowMs) => takes[name]?.(fields, nowMs),
    seen: (fromMs, toMs) => union(fromMs, toMs, minute => minute.passed),
    refused: fromMs => union(fromMs, Infinity, minute => minute.refused),
    shutOut: fromMs => union(fromMs, Infinity, minute => minute.shutOut),
    mark: nowMs => {
      open(nowMs)
    },
    sinceMs: () => (minutes.length < KEPT_MINUTES ? startMs : (minutes[0]?.startMs ?? startMs)),
  }
}
