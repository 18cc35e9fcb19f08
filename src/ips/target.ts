// Normalises a request target once, and lists the other ways in which an upstream could read the same path.
import { decodeEscapesOnce, decodePathOnce } from './percent.ts'

/** A request target, split and normalised. */
export type NormalTarget = { readonly path: string; readonly pathFolded: string; readonly query: string }

/** Another way to read a path. */
export type PathReading = {
  readonly path: string
  /**
   * True when it differs from the normalised path by repeated slashes or `;params` alone, with no dot segment in play.
   * An upstream that reads it this way looks for something that is not there, so no profile line need name it.
   */
  readonly harmless: boolean
}

const MAX_ROUNDS = 3

/**
 * Splits and normalises an origin-form target.
 *
 * Normalised: percent-encoding to a fixpoint (at most three rounds), backslashes, `;params`, dot segments, repeated slashes.
 * Kept: case, UTF-8, single bytes of an old code page, a `%` that starts no escape.
 * @returns undefined when the target must be refused: not origin-form, a raw `#`, control bytes at any level of encoding,
 * overlong or otherwise deceptive UTF-8, `%uXXXX`, still encoded after three rounds, or over 2,048 characters of a path that
 * is not plain
 */
export function normaliseTarget(target: string): NormalTarget | undefined {
  if (!target.startsWith('/')) return undefined
  const mark = target.indexOf('?')
  const rawPath = mark < 0 ? target : target.slice(0, mark)
  const query = mark < 0 ? '' : target.slice(mark + 1)
  if (hasForbidden(query)) return undefined
  const path = normalisePath(rawPath)
  return path === undefined ? undefined : { path, pathFolded: path.toLowerCase(), query }
}

// Anything in a raw path that two servers could understand differently. All else is read alike by everybody.
const AMBIGUOUS = /[^A-Za-z0-9_~!$&'*+,=@./-]|\.(?:\/|$)|\/\//

/**
 * The other readings of the path of a target that `normaliseTarget` takes; empty for the ordinary path.
 *
 * Servers differ in what they decode, when they resolve dot segments, and what they cut off: IIS takes `\` for `/`, trims
 * trailing dots, cuts at `:` (NTFS streams) and drops `(S(...))` sessions; Tomcat and Jetty strip `;params`; others decode
 * once, twice or not at all, keep `%2f`, merge slashes or not. A decision that depends on the path must come out the same
 * for all of them, or be a refusal.
 */
export function pathReadings(target: string): readonly PathReading[] {
  const mark = target.indexOf('?')
  const raw = mark < 0 ? target : target.slice(0, mark)
  if (!AMBIGUOUS.test(raw)) return []
  // One request asks several times: to classify, for its head, for its body.
  if (lastReadings.raw !== raw) lastReadings = { raw, readings: findReadings(raw) }
  return lastReadings.readings
}

let lastReadings: { readonly raw: string; readonly readings: readonly PathReading[] } = {
  raw: '',
  readings: [],
}

function findReadings(raw: string): readonly PathReading[] {
  const normal = normalisePath(raw)
  if (normal === undefined) return []
  const once = decodeEscapesOnce(raw)
  if (isPlainText(once)) return []
  const full = decodeFully(raw) ?? once
  const backslashed = full.replaceAll('\\', '/')
  const keptSlashes = decodeEscapesOnce(raw.replaceAll(/%(?=2f|5c)/gi, '%25'))
  const readings = new Set<string>([
    raw,
    once,
    full,
    backslashed,
    resolve(raw, false),
    resolve(once, false),
    resolve(once, true),
    resolve(full, false),
    resolve(full, true),
    resolve(keptSlashes, false),
    resolve(once.replaceAll('\\', '/'), false),
    resolve(backslashed, false),
    resolve(backslashed, true),
    resolve(decodeEscapesOnce(withoutParams(raw)), false),
    resolve(withoutParams(backslashed), false),
  ])
  for (const reading of [...readings, normal]) {
    readings.add(windowsReading(reading))
    readings.add(withoutCookielessSession(reading))
    if (/[^\0-\x7f]/.test(reading)) readings.add(bestFit(reading))
    // What a URL parser with a base makes of `//host/path`.
    if (/^[/\\]{2}/.test(reading)) readings.add(`/${reading.slice(2).split(/[/\\]/).slice(1).join('/')}`)
  }
  readings.delete(normal)
  const harmless = /^[A-Za-z0-9_~!$&'*+,=@./;-]*$/.test(raw) && !/\.(?:[;/]|$)/.test(raw)
  return [...readings].map(path => ({ path, harmless }))
}

// Decoded once, and nothing in it that any server treats as more than a letter: every server decodes such escapes alike.
function isPlainText(decoded: string): boolean {
  return /^[A-Za-z0-9_~!$&'*+,=@./ {}^-]*$/.test(decoded) && !/[. ](?:\/|$)|\/\/|\/\.{1,2}\//.test(decoded)
}

const MAX_AMBIGUOUS_LENGTH = 2048

const PLAIN_PATH = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)*\/?$/

function normalisePath(raw: string): string | undefined {
  if (PLAIN_PATH.test(raw)) return raw
  if (raw.includes('#')) return undefined
  // Every reading costs time in proportion to the length, and no real client sends so much of this.
  if (raw.length > MAX_AMBIGUOUS_LENGTH && AMBIGUOUS.test(raw) && !isPlainText(decodeEscapesOnce(raw)))
    return undefined
  const path = decodeFully(raw)
  return path === undefined ? undefined : resolve(withoutParams(path.replaceAll('\\', '/')), true)
}

/** Decodes until nothing changes; undefined when the path must be refused. */
function decodeFully(raw: string): string | undefined {
  let path: string | undefined = raw
  for (let round = 0; ; round++) {
    const decoded = decodePathOnce(path, round === 0)
    if (decoded === undefined || hasForbidden(decoded)) return undefined
    if (decoded === path) return path
    if (round === MAX_ROUNDS) return undefined
    path = decoded
  }
}

function hasForbidden(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

function withoutParams(path: string): string {
  return path.includes(';') ? path.replaceAll(/;[^/\\]*/g, '') : path
}

/** Resolves dot segments (RFC 3986, section 5.2.4); `merge` also drops empty segments. */
function resolve(path: string, merge: boolean): string {
  const out: string[] = []
  const segments = path.slice(path.startsWith('/') ? 1 : 0).split('/')
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1
    if (segment === '.' || segment === '..') {
      if (segment === '..') out.pop()
      if (last) out.push('')
    } else if (segment !== '' || last || !merge) {
      out.push(segment)
    }
  }
  return `/${out.join('/')}`
}

/** NTFS and Win32 habits: trailing dots and spaces do not count, `name:stream` opens name. */
function windowsReading(path: string): string {
  return path
    .split('/')
    .map(segment => (/^\.{1,2}$/.test(segment) ? segment : trimEnd(segment.split(':', 1)[0] ?? '')))
    .join('/')
}

function trimEnd(segment: string): string {
  let end = segment.length
  while (end > 0 && (segment[end - 1] === '.' || segment[end - 1] === ' ')) end--
  return segment.slice(0, end)
}

/** ASP.NET takes `/(S(token))` out of the path before it looks for the page (CVE-2023-36899). */
function withoutCookielessSession(path: string): string {
  if (!path.includes('(')) return path
  const cut = path.replaceAll(/\/?\((?:[A-Za-z]\([^()/]*\)){1,8}\)/g, '')
  return resolve(cut.startsWith('/') ? cut : `/${cut}`, true)
}

/** Characters that a conversion to an old code page, or a lenient comparison, turns into ASCII (`／` to `/`, `ſ` to `s`). */
function bestFit(path: string): string {
  const ascii = path
    .normalize('NFKD')
    .replaceAll(/[\u2044\u2215\u2216\u29f5\u29f8]/g, '/')
    .replaceAll(/\p{M}/gu, '')
  return resolve(ascii.toUpperCase().toLowerCase().replaceAll('\\', '/'), true)
}
