// Codings of mail that multipart bodies borrow: quoted-printable, encoded words, and header parameters.
import { bytesOf, hexValue, utf8Bytes } from './byte-text.ts'
import { decodeBase64 } from './base64.ts'

/** Undoes quoted-printable (RFC 2045, section 6.7); what is no escape stays. */
export function decodeQuotedPrintable(text: string): string {
  if (!text.includes('=')) return text
  return text.replaceAll(/=(?:([0-9A-Fa-f]{2})|[ \t]{0,80}\r?\n)/g, (_, hex?: string) =>
    hex === undefined ? '' : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

const ENCODED_WORD = /=\?([\w.:-]{1,40})(?:\*[\w-]{1,20})?\?([bBqQ])\?([^?\s]{0,2000})\?=(?:\s{1,8}(?==\?))?/g

/** Undoes encoded words (RFC 2047), `=?utf-8?B?...?=`; the result is UTF-8. */
export function decodeEncodedWords(text: string): string {
  if (!text.includes('=?')) return text
  return text.replaceAll(ENCODED_WORD, (whole, charset: string, coding: string, content: string) => {
    const bytes =
      coding.toLowerCase() === 'b'
        ? decodeBase64(content)
        : decodeQuotedPrintable(content.replaceAll('_', ' '))
    return bytes === null ? whole : charsetToUtf8(charset, bytes)
  })
}

/** Undoes `charset'language'percent-encoded` (RFC 8187); text of another shape is decoded as a whole. */
export function decodeExtendedValue(text: string): string {
  const marks = /^([\w.:-]{0,40})'[^']{0,40}'/.exec(text)
  return charsetToUtf8(marks?.[1] ?? '', percentOnce(text.slice(marks?.[0].length ?? 0)))
}

/** Decodes `%XX` once and leaves everything else. */
function percentOnce(text: string): string {
  if (!text.includes('%')) return text
  return text.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(hexValue(hex.charCodeAt(0)) * 16 + hexValue(hex.charCodeAt(1))),
  )
}

function charsetToUtf8(charset: string, bytes: string): string {
  if (charset === '' || /^(?:utf-?8|us-ascii)$/i.test(charset)) return bytes
  try {
    return utf8Bytes(new TextDecoder(charset).decode(bytesOf(bytes)))
  } catch {
    return bytes
  }
}

/** A parameter of a header; `raw` is what stands between the quotes. */
export type HeaderParameter = {
  readonly key: string
  readonly raw: string
  readonly quoted: boolean
}

/** Parameters of a header value, and whether something in it follows no grammar. */
export type HeaderParameters = { readonly parameters: readonly HeaderParameter[]; readonly odd: boolean }

const MAX_PARAMETERS = 64

/**
 * Reads `; key=value; key="value"` as lenient servers do. Keys are in lower case.
 * @param escapes whether a backslash keeps a quote from ending the text; servers differ
 */
export function readParameters(value: string, escapes: boolean): HeaderParameters {
  const parameters: HeaderParameter[] = []
  let odd = false
  let at = value.indexOf(';')
  while (at >= 0 && at < value.length && parameters.length < MAX_PARAMETERS) {
    at++
    const semicolon = value.indexOf(';', at)
    const equals = value.indexOf('=', at)
    if (equals < 0 || (semicolon >= 0 && semicolon < equals)) {
      const end = semicolon < 0 ? value.length : semicolon
      if (value.slice(at, end).trim() !== '') odd = true
      at = semicolon
      continue
    }
    const key = value.slice(at, equals).trim().toLowerCase()
    let from = equals + 1
    while (isBlank(value.charCodeAt(from))) from++
    const quoted = value.charCodeAt(from) === 0x22
    let end: number
    if (quoted) {
      end = endOfQuoted(value, from + 1, escapes)
      if (end < 0) odd = true
      parameters.push({ key, raw: value.slice(from + 1, end < 0 ? value.length : end), quoted })
      at = end < 0 ? -1 : value.indexOf(';', end)
      if (end >= 0 && value.slice(end + 1, at < 0 ? value.length : at).trim() !== '') odd = true
    } else {
      at = value.indexOf(';', from)
      const raw = value.slice(from, at < 0 ? value.length : at).trim()
      if (/[\s"]/.test(raw)) odd = true
      parameters.push({ key, raw, quoted })
    }
  }
  if (parameters.length === MAX_PARAMETERS) odd = true
  return { parameters, odd }
}

function endOfQuoted(value: string, from: number, escapes: boolean): number {
  for (let at = from; at < value.length; at++) {
    const code = value.charCodeAt(at)
    if (code === 0x22) return at
    if (code === 0x5c && escapes) at++
  }
  return -1
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d
}
