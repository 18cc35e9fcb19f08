// What is remembered on the way to the cut-over: steps that people have done, the last verification, the last rehearsal.
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MARKED_STEPS, type MarkedStep } from '../deploy/cutover.ts'

/** A verification from outside, or a rehearsal. */
export type CutoverCheck = {
  readonly atMs: number
  readonly who: string
  /** host:port. */
  readonly target: string
  /** Closed from outside; the drill went well. */
  readonly ok: boolean
}

/** The record. */
export type CutoverRecord = {
  readonly marks: Partial<Readonly<Record<MarkedStep, { readonly atMs: number; readonly who: string }>>>
  readonly verified: CutoverCheck | null
  readonly rehearsed: CutoverCheck | null
}

const FILE = 'cutover.json'
const MAX_BYTES = 65_536
const EMPTY: CutoverRecord = { marks: {}, verified: null, rehearsed: null }

/** Reads the record of a state directory; an unreadable one counts as empty, so that nothing is believed done. */
export function readCutover(stateDir: string): CutoverRecord {
  const file = join(stateDir, FILE)
  try {
    if (!existsSync(file) || statSync(file).size > MAX_BYTES) return EMPTY
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    const marks: Partial<Record<MarkedStep, { atMs: number; who: string }>> = {}
    for (const step of MARKED_STEPS) {
      const mark = field(field(value, 'marks'), step)
      const atMs = field(mark, 'atMs')
      if (typeof atMs === 'number') marks[step] = { atMs, who: String(field(mark, 'who')) }
    }
    return {
      marks,
      verified: checkOf(field(value, 'verified')),
      rehearsed: checkOf(field(value, 'rehearsed')),
    }
  } catch {
    return EMPTY
  }
}

/** Writes the record as a whole or not at all. */
export function writeCutover(stateDir: string, record: CutoverRecord): void {
  const file = join(stateDir, FILE)
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  writeFileSync(`${file}.new`, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

function checkOf(value: unknown): CutoverCheck | null {
  const atMs = field(value, 'atMs')
  if (typeof atMs !== 'number') return null
  return {
    atMs,
    who: String(field(value, 'who')),
    target: String(field(value, 'target')),
    ok: field(value, 'ok') === true,
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined
}
