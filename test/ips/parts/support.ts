// Requests with bodies, and archives, for tests of taking requests apart.
import { inflate } from '../../../src/edge/http/inflate.ts'
import { inspectRequest } from '../../../src/ips/parts/inspect.ts'
import type { BodyParts, Part } from '../../../src/ips/parts/inspected.ts'
import { requestFacts } from '../../policy/request.ts'

/** The parts of a body. */
export function read(
  type: string | readonly string[] | null,
  body: string | Uint8Array,
  options: { readonly coding?: string; readonly complete?: boolean } = {},
): BodyParts {
  const types = type === null ? [] : typeof type === 'string' ? [type] : type
  const plain = requestFacts('POST', '/x')
  const raw = types.flatMap(value => ['Content-Type', value])
  if (options.coding !== undefined) raw.push('content-encoding', options.coding)
  const facts = { ...plain, headers: { raw, get: (): undefined => undefined } }
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body
  const { body: parts } = inspectRequest(facts, bytes, options.complete ?? true, { inflate })
  if (parts === null) throw new Error('no body')
  return parts
}

/** Parts as pairs, short to write. */
export function pairs(parts: readonly Part[]): [string, string][] {
  return parts.map(({ name, value }) => [name, value])
}

/** UTF-8 text as a byte string. */
export const utf8 = (text: string): string => Buffer.from(text).toString('latin1')

/** An entry of a zip archive that is written for a test. */
export type Entry = {
  readonly name: string
  readonly local?: string
  readonly unpacked?: number
  readonly content?: string
  readonly extra?: Buffer
  readonly offset?: number
}

/** Writes a zip archive of stored entries. */
export function zip(entries: readonly Entry[], before = ''): Buffer {
  const parts: Buffer[] = [Buffer.from(before)]
  const central: Buffer[] = []
  let at = before.length
  for (const { name, local = name, content = 'x', unpacked = content.length, extra, offset } of entries) {
    const header = Buffer.alloc(30)
    header.write('PK\x03\x04', 'latin1')
    header.writeUInt32LE(content.length, 18)
    header.writeUInt32LE(unpacked, 22)
    header.writeUInt16LE(local.length, 26)
    const record = Buffer.alloc(46)
    record.write('PK\x01\x02', 'latin1')
    record.writeUInt32LE(content.length, 20)
    record.writeUInt32LE(unpacked, 24)
    record.writeUInt16LE(name.length, 28)
    record.writeUInt16LE(extra?.length ?? 0, 30)
    record.writeUInt32LE(offset ?? at, 42)
    const data = [header, Buffer.from(local, 'latin1'), Buffer.from(content, 'latin1')]
    for (const part of data) at += part.length
    parts.push(...data)
    central.push(record, Buffer.from(name, 'latin1'), extra ?? Buffer.alloc(0))
  }
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(Buffer.concat(central).length, 12)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...parts, ...central, end])
}
