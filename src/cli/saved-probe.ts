// Reads the result of a probe that ran elsewhere (`--probe --json`): from another machine, so nothing in it is believed to be well-formed.
import { readFileSync, statSync } from 'node:fs'
import { HOPS, type Hop, type ProbeResult, type ProbeStep } from '../diagnose/probe-comparison.ts'
import { escapeControls } from '../journal/redact.ts'
import { usageError } from './command.ts'

const MAX_FILE_BYTES = 65_536
const MAX_STEPS = 64
const MAX_TEXT = 300
const MAX_MS = 3_600_000

/** A probe as it was saved. */
export type SavedProbe = ProbeResult & {
  readonly host: string
  readonly port: number
  readonly atMs: number
}

/** Reads a file. @throws PortcullisError `usage` when it is not what a probe prints */
export function readSavedProbe(path: string): SavedProbe {
  let text
  try {
    if (statSync(path).size > MAX_FILE_BYTES) throw new Error('it is too long')
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw usageError(
      `the probe ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      HOW,
    )
  }
  const saved = savedProbe(parsed(text))
  if (saved === undefined) throw usageError(`${path} is not the result of a probe`, HOW)
  return saved
}

const HOW = 'At the other place: bin/diagnose --probe https://gate.example.com --json > there.json'

function parsed(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    return undefined
  }
}

function savedProbe(value: unknown): SavedProbe | undefined {
  const { target, lan, atMs, steps } = recordOf(value)
  const { host, port } = recordOf(target)
  if (typeof host !== 'string' || typeof port !== 'number' || !Array.isArray(steps)) return undefined
  if (typeof atMs !== 'number' || !Number.isFinite(atMs) || typeof lan !== 'boolean') return undefined
  const read = steps.slice(0, MAX_STEPS).map(stepOf)
  if (!read.every(step => step !== undefined)) return undefined
  return { host: plain(host), port, isLan: lan, atMs, steps: read }
}

function stepOf(value: unknown): ProbeStep | undefined {
  const { hop, what, ok, saw, addresses, ms, sha256 } = recordOf(value)
  const known = HOPS.find((name: Hop) => name === hop)
  if (known === undefined || typeof what !== 'string' || typeof saw !== 'string') return undefined
  if (ok !== null && typeof ok !== 'boolean') return undefined
  return {
    hop: known,
    what: plain(what),
    ok,
    saw: plain(saw),
    ...(Array.isArray(addresses)
      ? {
          addresses: addresses
            .filter(entry => typeof entry === 'string')
            .slice(0, 8)
            .map(plain),
        }
      : {}),
    ...(typeof ms === 'number' && ms >= 0 && ms <= MAX_MS ? { ms: Math.round(ms) } : {}),
    ...(typeof sha256 === 'string' && /^[0-9A-F:]{95}$/.test(sha256) ? { sha256 } : {}),
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function plain(text: string): string {
  return escapeControls(text.slice(0, MAX_TEXT))
}
