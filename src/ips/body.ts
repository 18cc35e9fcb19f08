// Reads an inspected body the way an application would: text, form, JSON and multipart values, file names, base64 inside.
import { decodeLeniently } from './percent.ts'

/** A named value of a request. */
export type NamedValue = { readonly name: string; readonly value: string }

const MAX_VALUES = 1000
const MAX_DEPTH = 64
const MAX_BASE64 = 131_072

/** The body as text. UTF-16 is read as such, because XML parsers do so and it would hide everything else. */
export function bodyText(body: Uint8Array): string {
  const [a = 0, b = 0, c = 0, d = 0] = body
  if ((a === 0xff && b === 0xfe) || (a === 0x3c && b === 0 && c !== 0 && d === 0))
    return new TextDecoder('utf-16le').decode(body)
  if ((a === 0xfe && b === 0xff) || (a === 0 && b === 0x3c && c === 0))
    return new TextDecoder('utf-16be').decode(body)
  return new TextDecoder('utf-8').decode(body)
}

/** The decoded, lower-case view of body text: percent, `\uXXXX` and XML character references. */
export function decodeBodyText(text: string, isForm: boolean): string {
  let decoded = text.includes('%') || isForm ? decodeLeniently(text, isForm) : text
  if (decoded.includes('\\u')) {
    decoded = decoded.replaceAll(/\\u([0-9a-f]{4})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    )
  }
  if (decoded.includes('&')) {
    decoded = decoded.replaceAll(
      /&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(lt|gt|amp|quot|apos));/gi,
      (whole, hex?: string, decimal?: string, named?: string) => {
        if (named !== undefined) return NAMED_REFERENCES[named.toLowerCase()] ?? whole
        const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
        return code <= 0x10ffff ? String.fromCodePoint(code) : whole
      },
    )
  }
  return decoded.toLowerCase()
}

const NAMED_REFERENCES: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  quot: '"',
  apos: "'",
}

/** Splits a query or form into decoded, lower-case pairs. What is beyond the count limit is looked at as one value. */
export function formValues(text: string): NamedValue[] {
  const values: NamedValue[] = []
  let at = 0
  while (at < text.length) {
    let end = text.indexOf('&', at)
    if (end < 0 || values.length === MAX_VALUES) end = text.length
    const equals = text.indexOf('=', at)
    const split = equals >= 0 && equals < end ? equals : end
    if (end > at) {
      const name = split === end ? '' : text.slice(at, split)
      const value = split === end ? text.slice(at, end) : text.slice(split + 1, end)
      values.push({
        name: decodeLeniently(name, true).toLowerCase(),
        value: decodeLeniently(value, true).toLowerCase(),
      })
    }
    at = end + 1
  }
  return values
}

/** Leaves of a JSON document by the name of their key. When it cannot be read whole, its text is one value: never unseen. */
export function jsonValues(text: string): NamedValue[] {
  let root: unknown
  try {
    root = JSON.parse(text)
  } catch {
    return [{ name: '', value: decodeBodyText(text, false) }]
  }
  const values: NamedValue[] = []
  const pending: { name: string; value: unknown; depth: number }[] = [{ name: '', value: root, depth: 0 }]
  for (let entry = pending.pop(); entry !== undefined; entry = pending.pop()) {
    const { name, value, depth } = entry
    if (typeof value === 'string') {
      values.push({ name, value: decodeLeniently(value, false).toLowerCase() })
    } else if (typeof value === 'number') {
      values.push({ name, value: String(value) })
    } else if (typeof value !== 'object' || value === null) {
      continue
    } else if (Array.isArray(value)) {
      for (const item of value as unknown[]) pending.push({ name, value: item, depth: depth + 1 })
    } else {
      for (const [key, item] of Object.entries(value)) {
        pending.push({ name: key.toLowerCase(), value: item, depth: depth + 1 })
      }
    }
    if (depth > MAX_DEPTH || values.length + pending.length > MAX_VALUES * 4) {
      return [{ name: '', value: decodeBodyText(text, false) }]
    }
  }
  return values
}

/** Fields and file names of a multipart body. */
export function multipartValues(
  text: string,
  contentType: string,
): { readonly values: NamedValue[]; readonly files: string[] } {
  const boundary = /boundary=(?:"([^"]{1,200})"|([^;,\s]{1,200}))/i.exec(contentType)
  const delimiter = boundary?.[1] ?? boundary?.[2]
  const values: NamedValue[] = []
  const files: string[] = []
  if (delimiter === undefined) return { values: [{ name: '', value: decodeBodyText(text, false) }], files }
  for (const part of text.split(`--${delimiter}`).slice(1, MAX_VALUES)) {
    const end = part.search(/\r?\n\r?\n/)
    const head = end < 0 ? part : part.slice(0, end)
    const name = dispositionParameter(head, 'name') ?? ''
    const file = dispositionParameter(head, 'filename')
    if (file === undefined) {
      values.push({
        name: name.toLowerCase(),
        value: decodeBodyText(end < 0 ? '' : part.slice(end).trim(), false),
      })
    } else {
      values.push({ name: name.toLowerCase(), value: '' })
      files.push(decodeLeniently(file, false).toLowerCase())
    }
  }
  return { values, files }
}

function dispositionParameter(head: string, name: string): string | undefined {
  const found = new RegExp(
    `[;\\s]${name}\\*?\\s{0,8}=\\s{0,8}(?:"((?:[^"\\\\]|\\\\.){0,2000})"|([^;\\r\\n]{0,2000}))`,
    'i',
  ).exec(head)
  return found?.[1] ?? found?.[2]
}

/** What the base64 runs of a text decode to, lower-case, NULs dropped so that UTF-16 inside reads as text. */
export function base64Text(text: string): string {
  const decoded: string[] = []
  let total = 0
  for (const [run] of decodeLeniently(text, false).matchAll(BASE64_RUN)) {
    let packed = run
      .replaceAll(/[\r\n]/g, '')
      .replaceAll('-', '+')
      .replaceAll('_', '/')
    if (packed.length % 4 === 1) packed = packed.slice(0, -1)
    total += packed.length
    decoded.push(atob(packed).replaceAll('\0', ''))
    if (total > MAX_BASE64) break
  }
  return decoded.join('\n').toLowerCase()
}

const BASE64_RUN = /[A-Za-z0-9+/_-]{20,}(?:\r?\n[A-Za-z0-9+/_-]{2,})*/g
