// Pinned identities in the state directory: one JSON line for each change, so that a new one costs a line and a crash at most the last.
import { appendFile, rename, writeFile } from 'node:fs/promises'
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

/** More than all the pins and the lines that are spared for them can take. */
const MAX_FILE_BYTES = 128 * 1024 * 1024
/** A file with so many more lines than pins is written anew: whoever holds a key could make it too large to be read again. */
const SPARE_LINES = 200

/**
 * Opens the file; it need not exist.
 * @param trouble told when it cannot be read or written. The gate goes on with what it knows
 */
export function openPinFile(file: string, trouble: (problem: string) => void): PinFile {
  const pins = new Map<string, IdentityPin>()
  let pending: string[] = []
  let lines = 0
  let writing: Promise<void> | null = null
  const write = async (): Promise<void> => {
    while (pending.length > 0) {
      const text = pending
      pending = []
      try {
        if (isWordy(lines, pins)) {
          // What is pending is among the pins already.
          lines = pins.size
          await writeFile(`${file}.new`, textOf(pins.values()), { mode: 0o600, flush: true })
          await rename(`${file}.new`, file)
        } else await appendFile(file, text.join(''), { mode: 0o600, flush: true })
      } catch (cause) {
        trouble(`cannot be written: ${wordsOf(cause)}`)
      }
    }
    writing = null
  }
  const append = (entry: Readonly<Record<string, unknown>>): void => {
    lines++
    pending.push(`${JSON.stringify(entry)}\n`)
    writing ??= write()
  }
  return {
    load: () => {
      lines = load(file, pins, trouble)
      return [...pins.values()]
    },
    keep: pin => {
      pins.set(slotOf(pin), pin)
      append(pin)
    },
    drop: ({ key, name }) => {
      pins.delete(slotOf({ key, name }))
      append({ key, name, forgotten: true })
    },
    settled: () => writing ?? Promise.resolve(),
  }
}

function isWordy(lines: number, pins: ReadonlyMap<string, IdentityPin>): boolean {
  return lines > pins.size * 2 + SPARE_LINES
}

function slotOf({ key, name }: Pick<IdentityPin, 'key' | 'name'>): string {
  return `${key}\0${name.toLowerCase()}`
}

/** Reads the file into `pins`. @returns how many lines it has then */
function load(file: string, pins: Map<string, IdentityPin>, trouble: (problem: string) => void): number {
  let text: string
  try {
    if (statSync(file).size > MAX_FILE_BYTES) throw new Error('it is too large')
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') trouble(`cannot be read: ${wordsOf(cause)}`)
    return 0
  }
  const lines = text.split('\n').filter(line => line !== '')
  let unread = 0
  for (const line of lines) {
    const entry = readEntry(line)
    if (entry === undefined) unread++
    else {
      if ('identity' in entry) pins.set(slotOf(entry), entry)
      else pins.delete(slotOf(entry))
    }
  }
  const isTorn = text !== '' && !text.endsWith('\n')
  // A line that was cut off by a crash is the last one, and nobody's loss but its own.
  if (unread > (isTorn ? 1 : 0)) trouble(`has ${unread} lines that cannot be read; the others hold`)
  if (!isTorn && !isWordy(lines.length, pins)) return lines.length
  rewrite(file, pins.values(), trouble)
  return pins.size
}

function textOf(pins: Iterable<IdentityPin>): string {
  let text = ''
  for (const pin of pins) text += `${JSON.stringify(pin)}\n`
  return text
}

function rewrite(file: string, pins: Iterable<IdentityPin>, trouble: (problem: string) => void): void {
  try {
    writeFileSync(`${file}.new`, textOf(pins), { mode: 0o600, flush: true })
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
