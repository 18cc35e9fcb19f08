// Pinned identities in the state directory: one JSON line for each change, so that a new one costs a line and a crash at most the last.
import { appendFile } from 'node:fs/promises'
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { CONNECTOR_CLIENT } from '../policy/connector-url.ts'
import { IDENTITY_TEXT } from '../policy/gateway-policy.ts'
import type { IdentityPin, PinStore } from './identity-pins.ts'

/** Name of the file in the state directory. */
export const IDENTITY_FILE = 'client-identities.jsonl'

/** A store in a file. */
export type PinFile = PinStore & {
  /** Resolves when everything so far has been written. */
  readonly settled: () => Promise<void>
}

const MAX_FILE_BYTES = 64 * 1024 * 1024
/** A file with so many more lines than pins is written anew at the start. */
const SPARE_LINES = 200

/**
 * Opens the file; it need not exist.
 * @param trouble told when it cannot be read or written. The gate goes on with what it knows
 */
export function openPinFile(file: string, trouble: (problem: string) => void): PinFile {
  let pending: string[] = []
  let writing: Promise<void> | null = null
  const write = async (): Promise<void> => {
    while (pending.length > 0) {
      const text = pending.join('')
      pending = []
      try {
        await appendFile(file, text, { mode: 0o600, flush: true })
      } catch (cause) {
        trouble(`cannot be written: ${wordsOf(cause)}`)
      }
    }
    writing = null
  }
  const append = (entry: Readonly<Record<string, unknown>>): void => {
    pending.push(`${JSON.stringify(entry)}\n`)
    writing ??= write()
  }
  return {
    load: () => load(file, trouble),
    keep: pin => append(pin),
    drop: ({ key, name }) => append({ key, name, forgotten: true }),
    settled: () => writing ?? Promise.resolve(),
  }
}

function load(file: string, trouble: (problem: string) => void): readonly IdentityPin[] {
  const pins = new Map<string, IdentityPin>()
  let text: string
  try {
    if (statSync(file).size > MAX_FILE_BYTES) throw new Error('it is too large')
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') trouble(`cannot be read: ${wordsOf(cause)}`)
    return []
  }
  const lines = text.split('\n').filter(line => line !== '')
  let unread = 0
  for (const line of lines) {
    const entry = readEntry(line)
    if (entry === undefined) unread++
    else {
      const slot = `${entry.key}\0${entry.name.toLowerCase()}`
      if ('identity' in entry) pins.set(slot, entry)
      else pins.delete(slot)
    }
  }
  const isTorn = text !== '' && !text.endsWith('\n')
  // A line that was cut off by a crash is the last one, and nobody's loss but its own.
  if (unread > (isTorn ? 1 : 0)) trouble(`has ${unread} lines that cannot be read; the others hold`)
  if (isTorn || lines.length > pins.size * 2 + SPARE_LINES) rewrite(file, pins.values(), trouble)
  return [...pins.values()]
}

function rewrite(file: string, pins: Iterable<IdentityPin>, trouble: (problem: string) => void): void {
  try {
    let text = ''
    for (const pin of pins) text += `${JSON.stringify(pin)}\n`
    writeFileSync(`${file}.new`, text, { mode: 0o600, flush: true })
    renameSync(`${file}.new`, file)
  } catch (cause) {
    trouble(`cannot be written: ${wordsOf(cause)}`)
  }
}

function readEntry(line: string): IdentityPin | { readonly key: string; readonly name: string } | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { key, name, identity, confirmed, sinceMs, forgotten } = value as Readonly<Record<string, unknown>>
  if (typeof key !== 'string' || key.length > 64 || typeof name !== 'string' || !CONNECTOR_CLIENT.test(name))
    return undefined
  if (forgotten === true) return { key, name }
  if (typeof identity !== 'string' || !IDENTITY_TEXT.test(identity)) return undefined
  if (typeof confirmed !== 'boolean' || !Number.isSafeInteger(sinceMs)) return undefined
  return { key, name, identity, confirmed, sinceMs: Number(sinceMs) }
}

function wordsOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
