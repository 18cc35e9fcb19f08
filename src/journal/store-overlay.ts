// Bans, allows and openings that operators set while the gate runs: rows of the store, and the overlay that decisions read.
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { CidrTrie, parseCidr, type Cidr } from '../net/cidr.ts'
import { CLASSES, type TrafficClass } from '../policy/classes.ts'
import { buildOpenings } from './store-openings.ts'
import type { AllowEntry, BanEntry, Overlay } from '../policy/snapshot.ts'

/** Which way an entry goes. */
export type OverlayKind = 'ban' | 'allow' | 'opening'

const KINDS: readonly OverlayKind[] = ['ban', 'allow', 'opening']

/** A new ban, allow or opening. */
export type NewOverlayEntry = {
  readonly kind: OverlayKind
  /** Canonical text of the range; `site:<id>` for the opening of a site. */
  readonly range: string
  /** Null: every class. */
  readonly classes: readonly TrafficClass[] | null
  readonly reason: string
  readonly owner: string
  readonly createdMs: number
  /** Null: until somebody removes it. */
  readonly expiresMs: number | null
}

/** A stored ban or allow. */
export type OverlayEntry = NewOverlayEntry & { readonly id: number }

/** Overlay rows. */
export type OverlayTable = {
  /** Adds an entry; one with the same kind, range and classes is replaced. */
  readonly add: (entry: NewOverlayEntry) => OverlayEntry
  /** Removes every entry of this kind and exactly this range; returns what was removed. */
  readonly remove: (kind: OverlayKind, range: string) => OverlayEntry[]
  /** Removes entries that have ended; returns them, so that their end can be reported. */
  readonly removeExpired: (nowMs: number) => OverlayEntry[]
  /** Entries, newest first, at most 100,000. */
  readonly list: () => OverlayEntry[]
}

/** Works on the overlay table of an open database. */
export function createOverlayTable(database: DatabaseSync): OverlayTable {
  return {
    add: entry => {
      const row = database
        .prepare(
          `INSERT INTO overlay (kind, range, classes, reason, owner, created, expires) VALUES (?,?,?,?,?,?,?)
           ON CONFLICT DO UPDATE SET reason = excluded.reason, owner = excluded.owner, created = excluded.created,
           expires = excluded.expires RETURNING id`,
        )
        .get(
          entry.kind,
          entry.range,
          classesText(entry.classes),
          entry.reason,
          entry.owner,
          entry.createdMs,
          entry.expiresMs,
        )
      return { ...entry, id: Number(row?.['id']) }
    },
    remove: (kind, range) =>
      database
        .prepare('DELETE FROM overlay WHERE kind = ? AND range = ? RETURNING *')
        .all(kind, range)
        .map(overlayEntry),
    removeExpired: nowMs =>
      database.prepare('DELETE FROM overlay WHERE expires <= ? RETURNING *').all(nowMs).map(overlayEntry),
    list: () =>
      database.prepare('SELECT * FROM overlay ORDER BY id DESC LIMIT 100000').all().map(overlayEntry),
  }
}

/** Builds what decisions read. A row whose range cannot be read any more is left out. */
export function buildOverlay(
  entries: readonly OverlayEntry[],
  promotedRules: ReadonlySet<string> = new Set(),
): Overlay {
  const openings = buildOpenings(entries)
  const overlay = {
    allow: new CidrTrie<AllowEntry>(),
    ban: new CidrTrie<BanEntry>(),
    promotedRules,
    ...(openings === undefined ? {} : { openings }),
  }
  for (const entry of entries) {
    if (entry.kind === 'opening') continue
    const range = parseCidr(entry.range)
    if (typeof range !== 'string') overlay[entry.kind].insert(range, decisionEntry(entry, range))
  }
  return overlay
}

function decisionEntry(entry: OverlayEntry, range: Cidr): AllowEntry {
  return {
    range,
    classes: entry.classes === null ? null : new Set(entry.classes),
    reason: entry.reason,
    owner: entry.owner,
    expiresMs: entry.expiresMs,
    at: { file: `(${entry.kind} ${entry.id} set by ${entry.owner})`, line: 0, column: 0 },
  }
}

function classesText(classes: readonly TrafficClass[] | null): string {
  return classes === null ? '*' : classes.toSorted().join(',')
}

function overlayEntry(row: Record<string, SQLOutputValue>): OverlayEntry {
  const classes = String(row['classes'])
  const names = new Set(classes.split(','))
  return {
    id: Number(row['id']),
    kind: KINDS.find(kind => kind === row['kind']) ?? 'ban',
    range: String(row['range']),
    classes: classes === '*' ? null : CLASSES.filter(name => names.has(name)),
    reason: String(row['reason']),
    owner: String(row['owner']),
    createdMs: Number(row['created']),
    expiresMs: row['expires'] === null || row['expires'] === undefined ? null : Number(row['expires']),
  }
}
