// Opens the journal's SQLite file: pragmas, schema, migrations, and what to do with a damaged file.
import { closeSync, existsSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { PortcullisError } from '../policy/error.ts'

/** Files up to this size are checked page by page when they are opened. */
const CHECKED_BYTES = 32 * 1024 * 1024

/** Entry N brings a database from version N to N + 1. Entries are never changed once released. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    name TEXT NOT NULL,
    severity INTEGER NOT NULL,
    address BLOB,
    site TEXT,
    class TEXT,
    reason TEXT,
    reference TEXT,
    fields TEXT NOT NULL
  ) STRICT;
  CREATE INDEX event_time ON event(time);
  CREATE INDEX event_name ON event(name, time);
  CREATE INDEX event_loud ON event(time) WHERE severity >= 2;
  CREATE INDEX event_address ON event(address, time) WHERE address IS NOT NULL;
  CREATE INDEX event_site ON event(site, time) WHERE site IS NOT NULL;
  CREATE INDEX event_class ON event(class, time) WHERE class IS NOT NULL;
  CREATE INDEX event_reason ON event(reason, time) WHERE reason IS NOT NULL;
  CREATE INDEX event_reference ON event(reference) WHERE reference IS NOT NULL;
  CREATE TABLE event_count (
    hour INTEGER NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (hour, name, reason)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE overlay (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('ban', 'allow')),
    range TEXT NOT NULL,
    classes TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    UNIQUE (kind, range, classes)
  ) STRICT;
  CREATE TABLE source (id INTEGER PRIMARY KEY, address BLOB NOT NULL UNIQUE, last_day INTEGER NOT NULL) STRICT;
  CREATE TABLE shape (id INTEGER PRIMARY KEY, facts TEXT NOT NULL UNIQUE, last_day INTEGER NOT NULL) STRICT;
  CREATE TABLE ledger_open (
    day INTEGER NOT NULL, source INTEGER NOT NULL, shape INTEGER NOT NULL, hour INTEGER NOT NULL,
    count INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (day, source, shape, hour)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE ledger_day (
    day INTEGER NOT NULL, source INTEGER NOT NULL, entries BLOB NOT NULL,
    PRIMARY KEY (day, source)
  ) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE rule_watch (
    rule TEXT PRIMARY KEY, digest TEXT NOT NULL, since INTEGER NOT NULL, promoted INTEGER
  ) STRICT, WITHOUT ROWID;`,
  // Sums that pages read, and the ways to the events of a country and of a rule. What is on record already gets the two ways,
  // countries for the newest 200,000 events: a start must not wait for minutes. Sums of traffic begin now: the ledger knows no country.
  `CREATE TABLE traffic_hour (
    hour INTEGER NOT NULL, site TEXT NOT NULL, country TEXT NOT NULL, admitted INTEGER NOT NULL, failed INTEGER NOT NULL,
    refused INTEGER NOT NULL, answered INTEGER NOT NULL, unanswered INTEGER NOT NULL,
    PRIMARY KEY (hour, site, country)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE site_seen (
    site TEXT PRIMARY KEY, admitted INTEGER NOT NULL, refused INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE rule_hour (
    hour INTEGER NOT NULL, rule TEXT NOT NULL, site TEXT NOT NULL,
    detected INTEGER NOT NULL, refused INTEGER NOT NULL, excepted INTEGER NOT NULL,
    PRIMARY KEY (hour, rule, site)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE rule_event (
    event INTEGER NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (event, rule)
  ) STRICT, WITHOUT ROWID;
  ALTER TABLE event ADD COLUMN country TEXT;
  UPDATE event SET country = fields ->> '$.country'
    WHERE id > (SELECT coalesce(max(id), 0) - 200000 FROM event) AND address IS NOT NULL AND json_valid(fields);
  CREATE INDEX event_country ON event(country, time) WHERE country IS NOT NULL;
  INSERT OR IGNORE INTO rule_event SELECT id, fields ->> '$.hit.ruleId' FROM event
    WHERE name IN ('rule.detected', 'rate.held') AND json_valid(fields) AND fields ->> '$.hit.ruleId' IS NOT NULL;
  INSERT OR IGNORE INTO rule_event SELECT event.id, hit.value ->> '$.ruleId' FROM event, json_each(event.fields, '$.hits') AS hit
    WHERE event.reason = 'rule' AND json_valid(event.fields) AND hit.value ->> '$.ruleId' IS NOT NULL;
  CREATE INDEX rule_event_rule ON rule_event(rule, event);
  INSERT INTO rule_hour SELECT time / 3600000, rule, coalesce(site, ''), sum(reason IS NULL), sum(reason IS NOT NULL),
    sum(fields ->> '$.hit.exception' IS NOT NULL) FROM rule_event JOIN event ON event.id = rule_event.event GROUP BY 1, 2, 3;`,
  `CREATE TABLE overlay_next (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('ban', 'allow', 'opening')),
    range TEXT NOT NULL,
    classes TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    UNIQUE (kind, range, classes)
  ) STRICT;
  INSERT INTO overlay_next SELECT * FROM overlay;
  DROP TABLE overlay;
  ALTER TABLE overlay_next RENAME TO overlay;
  CREATE TABLE latency (
    hour INTEGER NOT NULL, class TEXT NOT NULL, part TEXT NOT NULL, buckets TEXT NOT NULL,
    PRIMARY KEY (hour, class, part)
  ) STRICT, WITHOUT ROWID;`,
  // The same sums without sites: a month of them is read in milliseconds, however many sites there are.
  `CREATE TABLE country_hour (
    hour INTEGER NOT NULL, country TEXT NOT NULL, admitted INTEGER NOT NULL, failed INTEGER NOT NULL,
    refused INTEGER NOT NULL, answered INTEGER NOT NULL, unanswered INTEGER NOT NULL,
    PRIMARY KEY (hour, country)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO country_hour SELECT hour, country, sum(admitted), sum(failed), sum(refused), sum(answered), sum(unanswered)
    FROM traffic_hour GROUP BY hour, country;`,
  // Errors are few: without a way of their own, the newest are found by walking all warnings.
  `CREATE INDEX event_error ON event(time) WHERE severity >= 3;`,
]

/** What became of a damaged file. */
export type Replaced = {
  readonly movedTo: string
  readonly problem: string
  readonly entriesKept: number
}

/** Opens for writing; makes and migrates the database. Throws SQLite errors, or `store-newer`. */
export function openWritable(file: string): DatabaseSync {
  mkdirSync(dirname(file), { recursive: true })
  // SQLite gives its side files the mode of the database: nobody else reads what the journal knows.
  closeSync(openSync(file, 'a', 0o600))
  const database = new DatabaseSync(file, { timeout: 5_000 })
  try {
    database.exec(
      'PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;' +
        ' PRAGMA journal_size_limit = 33554432; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;',
    )
    if (statSync(file).size <= CHECKED_BYTES) check(database)
    migrate(database)
    return database
  } catch (error) {
    closeQuietly(database)
    throw error
  }
}

/**
 * Opens for reading only, whether a gate writes to the file or not.
 * @throws PortcullisError `store-missing` or `store-unreadable`
 */
export function openReadOnly(file: string): DatabaseSync {
  if (!existsSync(file)) {
    throw new PortcullisError(`there is no journal at ${file}`, {
      code: 'store-missing',
      side: 'configuration',
      remedy: 'Start the gate once, or point to the state directory of the gate that ran.',
    })
  }
  try {
    return probed(new DatabaseSync(file, { readOnly: true, timeout: 5_000 }))
  } catch (cause) {
    try {
      // A directory that may not be written to cannot hold the shared-memory file; without a log the file is complete.
      if (existsSync(`${file}-wal`)) throw cause
      const url = pathToFileURL(file)
      url.searchParams.set('immutable', '1')
      return probed(new DatabaseSync(url, { readOnly: true }))
    } catch {
      throw new PortcullisError(`the journal ${file} cannot be read: ${problemOf(cause)}`, {
        code: 'store-unreadable',
        side: 'configuration',
        remedy: 'Run the command as the user of the gate, or look whether the file is damaged.',
        cause,
      })
    }
  }
}

/** Whether an error says that the file itself is damaged (SQLITE_CORRUPT, SQLITE_NOTADB). */
export function isDamage(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === 11 || code === 26
}

/** A problem in words, `disk full` where it is that. */
export function problemOf(error: unknown): string {
  const code = sqliteCode(error)
  if (code === 13) return 'the disk is full'
  return error instanceof Error ? error.message : String(error)
}

/** Moves a damaged database and its side files away. Returns the new name of the main file. */
export function moveAside(file: string, nowMs: number): string {
  const stamp = new Date(nowMs)
    .toISOString()
    .replace(/[-:]/g, '')
    .replace(/\.\d+Z$/, 'Z')
  let target = `${file}.damaged-${stamp}`
  for (let copy = 2; existsSync(target); copy++) target = `${file}.damaged-${stamp}-${copy}`
  renameSync(file, target)
  for (const side of ['-wal', '-shm'])
    if (existsSync(file + side)) renameSync(file + side, `${target}${side}`)
  return target
}

/** Closes without caring whether it was open. */
export function closeQuietly(database: DatabaseSync): void {
  try {
    database.close()
  } catch {
    // Closed already, or too damaged to be closed: either way there is nothing left to lose here.
  }
}

/** Runs the work in one transaction. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    try {
      database.exec('ROLLBACK')
    } catch {
      // A full disk may have rolled back by itself.
    }
    throw error
  }
}

function sqliteCode(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return 0
  return typeof error.errcode === 'number' ? error.errcode & 255 : 0
}

function probed(database: DatabaseSync): DatabaseSync {
  try {
    const version = userVersion(database)
    if (version === 0) throw new Error('it is empty')
    refuseNewer(version)
    return database
  } catch (error) {
    closeQuietly(database)
    throw error
  }
}

function check(database: DatabaseSync): void {
  const row = database.prepare('PRAGMA quick_check(1)').get()
  const answer = String(row?.['quick_check'])
  if (answer !== 'ok') throw Object.assign(new Error(`integrity check: ${answer}`), { errcode: 11 })
}

function migrate(database: DatabaseSync): void {
  const version = userVersion(database)
  refuseNewer(version)
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index < version) continue
    inTransaction(database, () => database.exec(`${sql}; PRAGMA user_version = ${index + 1}`))
  }
}

function refuseNewer(version: number): void {
  if (version <= MIGRATIONS.length) return
  throw new PortcullisError(
    `the journal has version ${version}, this program knows ${MIGRATIONS.length} at most`,
    {
      code: 'store-newer',
      side: 'configuration',
      remedy: 'Run the version of Portcullis that wrote it, or move the file away.',
    },
  )
}

function userVersion(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0)
}
