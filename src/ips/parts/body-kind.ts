// Which formats a body is read in: those that its content types claim, and the one that it looks like.
import type { HeaderView } from '../../policy/facts.ts'
import type { BodyKind } from './inspected.ts'

/** A format with a parser of its own. */
export type StructuredKind = Extract<BodyKind, 'form' | 'multipart' | 'json' | 'xml'>

/** How a body is read. */
export type BodyFormats = {
  readonly kind: BodyKind
  /** Every format in which some server would read it, the most likely first. */
  readonly formats: readonly StructuredKind[]
  /** Content type and look disagree. */
  readonly conflict: boolean
}

/** All values of a header, in order. */
export function headerValues({ raw }: HeaderView, name: string): readonly string[] {
  const values: string[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const received = raw[at] ?? ''
    if (received.length === name.length && received.toLowerCase() === name)
      values.push((raw[at + 1] ?? '').trim())
  }
  return values
}

/** Every content type that a request claims: with two of them nobody knows which one the server believes. */
export function contentTypes(headers: HeaderView): readonly string[] {
  return headerValues(headers, 'content-type')
}

/**
 * Decides on the formats. Servers often do not ask what the content type says, so a body that looks like JSON or XML is read as
 * such whatever it claims; one that looks like a form only when no type is claimed, or when `isFormWanted`.
 * @param types values of all Content-Type headers: with two of them nobody knows which one the server believes
 * @param isFormWanted a body without a type that names a format is read as a form too, if it can be one: for paths that rules name
 */
export function formatsOf(types: readonly string[], text: string, isFormWanted = false): BodyFormats {
  const claimed = new Set<StructuredKind>()
  let isText = false
  for (const type of types) {
    for (const token of type.toLowerCase().split(/[,;]/)) {
      if (token.includes('=')) continue
      const kind = claimedKind(token.trim())
      if (kind !== null) claimed.add(kind)
      else if (token.trim().startsWith('text/')) isText = true
    }
  }
  const look = looksLike(text)
  if (isFormWanted && claimed.size === 0 && (look === null || look === 'form') && text.includes('=')) {
    const isBinary = !isText && looksBinary(text)
    if (types.length === 0 || !isBinary) {
      const kind = types.length === 0 && look === 'form' ? 'form' : isBinary ? 'binary' : 'text'
      return { kind, formats: ['form'], conflict: false }
    }
  }
  if (look === null) {
    const kind = [...claimed][0] ?? (isText || !looksBinary(text) ? 'text' : 'binary')
    return { kind: text === '' ? 'none' : kind, formats: [...claimed], conflict: false }
  }
  if (claimed.has(look))
    return { kind: [...claimed][0] ?? look, formats: [...claimed], conflict: claimed.size > 1 }
  if (claimed.size > 0) return { kind: [...claimed][0] ?? look, formats: [...claimed, look], conflict: true }
  if (look === 'form' && types.length > 0)
    return { kind: isText || !looksBinary(text) ? 'text' : 'binary', formats: [], conflict: false }
  return { kind: look, formats: [look], conflict: false }
}

function claimedKind(type: string): StructuredKind | null {
  if (type.startsWith('multipart/')) return 'multipart'
  if (type.includes('x-www-form-urlencoded')) return 'form'
  if (/\bjson/.test(type)) return 'json'
  return /[/+.-]xml(?:$|[-.+])/.test(type) ? 'xml' : null
}

function looksLike(text: string): StructuredKind | null {
  let at = text.startsWith('\xef\xbb\xbf') ? 3 : 0
  const end = Math.min(text.length, at + 64)
  while (at < end && text.charCodeAt(at) <= 0x20) at++
  const first = text.charCodeAt(at)
  if (first === 0x7b || first === 0x5b) return 'json'
  if (first === 0x3c) return /^<[A-Za-z_:?!]/.test(text.slice(at, at + 2)) ? 'xml' : null
  if (first === 0x2d && text.startsWith('--', at))
    return /content-disposition\s{0,8}:/i.test(text.slice(at, at + 1_000)) ? 'multipart' : null
  return /^[\w.%+~$[\]:-]{1,100}=/.test(text.slice(at, at + 101)) ? 'form' : null
}

const SAMPLE = 512

function looksBinary(text: string): boolean {
  for (let at = 0; at < Math.min(text.length, SAMPLE); at++) {
    const code = text.charCodeAt(at)
    if (code < 0x09 || (code > 0x0d && code < 0x20)) return true
  }
  return false
}
