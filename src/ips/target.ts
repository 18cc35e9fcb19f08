// Normalises a request target once: percent-decoding to a fixpoint, backslashes, `;params`, dot segments, repeated slashes.

/** A request target, split and normalised. */
export type NormalTarget = { readonly path: string; readonly pathFolded: string; readonly query: string }

const MAX_ROUNDS = 3

/**
 * Splits and normalises an origin-form target.
 * @returns undefined when the target must be refused: not origin-form, control bytes, or still encoded after three rounds
 */
export function normaliseTarget(target: string): NormalTarget | undefined {
  if (!target.startsWith('/')) return undefined
  const mark = target.indexOf('?')
  const rawPath = mark < 0 ? target : target.slice(0, mark)
  const query = mark < 0 ? '' : target.slice(mark + 1)
  const path = normalisePath(rawPath)
  return path === undefined ? undefined : { path, pathFolded: path.toLowerCase(), query }
}

const PLAIN_PATH = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)*\/?$/

function normalisePath(raw: string): string | undefined {
  if (PLAIN_PATH.test(raw)) return raw
  let path = raw
  for (let round = 0; path.includes('%'); round++) {
    if (round === MAX_ROUNDS) return undefined
    const decoded = percentDecode(path)
    if (decoded === undefined) return undefined
    if (decoded === path) break
    path = decoded
  }
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return undefined
  }
  return resolveSegments(path.replaceAll('\\', '/'))
}

/** Decodes valid %XX once; a % that starts no escape stays as it is. */
function percentDecode(text: string): string | undefined {
  return text.replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

function resolveSegments(path: string): string {
  const out: string[] = []
  const segments = path.split('/')
  for (const [index, segment] of segments.entries()) {
    const semicolon = segment.indexOf(';')
    const name = semicolon < 0 ? segment : segment.slice(0, semicolon)
    const last = index === segments.length - 1
    if (name === '' || name === '.') {
      if (last) out.push('')
    } else if (name === '..') {
      out.pop()
      if (last) out.push('')
    } else {
      out.push(name)
    }
  }
  return `/${out.join('/')}`
}
