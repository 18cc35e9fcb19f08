// Splits queries, URL-encoded forms and cookies into parts.
import { hexValue } from './byte-text.ts'
import type { BodyProblem, Part } from './inspected.ts'

/** What a form was split into. */
export type FormParts = { readonly parts: readonly Part[]; readonly problems: readonly BodyProblem[] }

const NO_PROBLEM: readonly BodyProblem[] = []
const COUNT: readonly BodyProblem[] = ['form-count']

/**
 * Splits a query or an `application/x-www-form-urlencoded` body (WHATWG URL, section 5.1) and decodes each side once. A parameter
 * without `=` has a name and an empty value. What is beyond `maxParameters` is one value without a name.
 */
export function readForm(text: string, maxParameters: number): FormParts {
  const parts: Part[] = []
  let at = 0
  while (at < text.length) {
    if (parts.length === maxParameters) {
      parts.push({ name: '', value: decodeFormOnce(text.slice(at)) })
      return { parts, problems: COUNT }
    }
    let end = text.indexOf('&', at)
    if (end < 0) end = text.length
    if (end > at) {
      const pair = text.slice(at, end)
      const equals = pair.indexOf('=')
      parts.push(
        equals < 0
          ? { name: decodeFormOnce(pair), value: '' }
          : { name: decodeFormOnce(pair.slice(0, equals)), value: decodeFormOnce(pair.slice(equals + 1)) },
      )
    }
    at = end + 1
  }
  return { parts, problems: NO_PROBLEM }
}

/** Decodes `+` and `%XX` once, byte by byte; escapes that are none stay as they are. */
function decodeFormOnce(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  let percent = spaced.indexOf('%')
  if (percent < 0) return spaced
  let out = ''
  let from = 0
  while (percent >= 0) {
    const high = hexValue(spaced.charCodeAt(percent + 1))
    const low = hexValue(spaced.charCodeAt(percent + 2))
    if (high >= 0 && low >= 0) {
      out += spaced.slice(from, percent) + String.fromCharCode(high * 16 + low)
      from = percent + 3
      percent = spaced.indexOf('%', from)
    } else percent = spaced.indexOf('%', percent + 1)
  }
  return out + spaced.slice(from)
}

/** Splits `Cookie` header values (RFC 6265, section 5.4). Cookies have no coding of their own, so nothing is decoded. */
export function readCookies(headers: readonly string[], maxCookies: number): readonly Part[] {
  const parts: Part[] = []
  for (const header of headers) {
    let at = 0
    while (at < header.length) {
      let end = header.indexOf(';', at)
      if (end < 0 || parts.length >= maxCookies) end = header.length
      const pair = header.slice(at, end).trim()
      const equals = pair.indexOf('=')
      if (pair !== '')
        parts.push(
          equals < 0
            ? { name: '', value: pair }
            : { name: pair.slice(0, equals).trim(), value: pair.slice(equals + 1).trim() },
        )
      at = end + 1
    }
  }
  return parts
}
