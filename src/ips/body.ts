// Reads an inspected body the way an application would: text, form, JSON and multipart values, file names, base64 inside.
import { decodeLeniently } from './percent.ts'

/** A named value of a request. */
export type NamedValue = { readonly name: string; readonly value: string }

const MAX_VALUES = 1000
const MAX_DEPTH = 64
const MAX_BASE64 = 131_072

/** The body as text. UTF-16 is read as such, announced or not: servers do so, and it would hide everything else. */
export function bodyText(body: Uint8Array): string {
  const [a = 0, b = 0, c = 0, d = 0] = body
  if ((a === 0xff && b === 0xfe) || (isText(a) && b === 0 && isText(c) && d === 0))
    return bothReadings('utf-16le', body)
  if ((a === 0xfe && b === 0xff) || (a === 0 && isText(b) && c === 0 && isText(d)))
    return bothReadings('utf-16be', body)
  return new TextDecoder('utf-8').decode(body)
}

/** A few NUL bytes in front must not hide from rules what a server reads as UTF-8 all the same. */
function bothReadings(wide: string, body: Uint8Array): string {
  return `${new TextDecoder(wide).decode(body)}\n${new TextDecoder('utf-8').decode(body)}`
}

function isText(byte: number): boolean {
  return (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10 || byte === 13
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
        name: parameterName(decodeLeniently(name, true)),
        value: decodeLeniently(value, true).toLowerCase(),
      })
    }
    at = end + 1
  }
  return values
}

/** A name as lenient servers take it: without blanks around it, and up to a NUL. */
function parameterName(name: string): string {
  const end = name.indexOf('\0')
  return (end < 0 ? name : name.slice(0, end)).trim().toLowerCase()
}

// `"name": value` as lenient parsers read it: quotes of either kind or none, comments between.
const LOOSE_PAIR =
  /(?:"([^"\\]{0,200}(?:\\.[^"\\]{0,200}){0,20})"|'([^'\\]{0,200})'|(?<![\w$])([\w$]{1,200}))(?:\s|\/\*[^*]{0,80}\*\/){0,8}:(?:\s|\/\*[^*]{0,80}\*\/){0,8}(?:"([^"\\]*(?:\\.[^"\\]*)*)"?|'([^'\\]*(?:\\.[^'\\]*)*)'?|([^\s,}\]"']{1,400}))/gs

/** Pairs of text that is nearly JSON, or the beginning of JSON; lenient servers read comments, single quotes and late commas. */
function looseJsonValues(text: string): NamedValue[] {
  const values: NamedValue[] = [{ name: '', value: decodeBodyText(text, false) }]
  for (const [, double, single, bare, inDouble, inSingle, plain] of text.matchAll(LOOSE_PAIR)) {
    if (values.length > MAX_VALUES * 4) break
    const name = decodeBodyText(double ?? single ?? bare ?? '', false)
    values.push({ name, value: decodeBodyText(inDouble ?? inSingle ?? plain ?? '', false) })
  }
  return values
}

/** Leaves of a JSON document by the name of their key. When it cannot be read whole, its text is a value as well: never unseen. */
export function jsonValues(text: string): NamedValue[] {
  let root: unknown
  try {
    root = JSON.parse(text)
  } catch {
    return looseJsonValues(text)
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

/** Fields and file names of a multipart body. What servers could read in several ways is read in all of them. */
export function multipartValues(
  text: string,
  contentType: string,
): { readonly values: NamedValue[]; readonly files: string[] } {
  const delimiters = new Set(
    [...contentType.matchAll(BOUNDARY)].map(([, quoted, plain]) => quoted ?? plain ?? ''),
  )
  const values: NamedValue[] = []
  const files: string[] = []
  if (delimiters.size !== 1) values.push({ name: '', value: decodeBodyText(text, false) })
  for (const delimiter of delimiters) {
    const parts = text.split(`--${delimiter}`)
    const rest = parts.splice(MAX_VALUES)
    for (const part of parts.slice(1)) readPart(part, values, files)
    if (rest.length > 0) values.push({ name: '', value: decodeBodyText(rest.join('\n'), false) })
  }
  return { values, files }
}

const BOUNDARY = /boundary\s{0,8}=\s{0,8}(?:"([^"]{1,200})"|([^;,\s]{1,200}))/gi

function readPart(part: string, values: NamedValue[], files: string[]): void {
  const end = part.search(/\r?\n\r?\n/)
  const { names, file } = readDisposition(end < 0 ? part : part.slice(0, end))
  if (file !== undefined) files.push(decodeLeniently(file, false).toLowerCase())
  // A part with a file name that is empty is a field to some servers.
  const isFile = file !== undefined && file !== ''
  const value = isFile || end < 0 ? '' : decodeBodyText(part.slice(end).trim(), false)
  for (const name of names) values.push({ name, value })
}

// A quoted text is taken whole: `x="; name=a"` names nothing.
const PARAMETER =
  /;\s{0,20}([^\s=;"*]{1,40})\*?\s{0,8}=\s{0,8}(?:"([^"\\]*(?:\\.[^"\\]*)*)"?|([^;\r\n]{0,2000}))|"[^"\\]*(?:\\.[^"\\]*)*"?/gs

/** The names that a part may have, and its file name when it is one. Only the Content-Disposition line says so. */
function readDisposition(head: string): { readonly names: ReadonlySet<string>; readonly file?: string } {
  const line = /(?:^|\n)content-disposition[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)/i.exec(head)?.[1] ?? ''
  const names = new Set<string>()
  let file: string | undefined
  for (const [, key, quoted, plain] of line.matchAll(PARAMETER)) {
    const value = quoted ?? plain?.trim() ?? ''
    if (key?.toLowerCase() === 'filename') file ??= value
    if (key?.toLowerCase() !== 'name') continue
    names.add(parameterName(decodeLeniently(value, false)))
    // Some servers take a backslash for an escape, others for itself.
    if (value.includes('\\')) names.add(parameterName(value.replaceAll(/\\(.)/g, '$1')))
  }
  if (names.size === 0) names.add('')
  return file === undefined ? { names } : { names, file }
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
