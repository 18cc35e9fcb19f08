// The names that a part of a multipart body may have, read in every way that servers are known to read them.
import { decodeEncodedWords, decodeExtendedValue, readParameters } from './mime.ts'

/** What the Content-Disposition lines of a part say. The first name of each list is the plain reading. */
export type Disposition = {
  readonly names: readonly string[]
  /** Null: the part is not a file. */
  readonly fileNames: readonly string[] | null
  /** Servers may disagree on it. */
  readonly odd: boolean
}

/** @param values values of all Content-Disposition lines of the part */
export function readDisposition(values: readonly string[]): Disposition {
  const names = new Set<string>()
  const fileNames = new Set<string>()
  let odd = values.length > 1
  for (const value of values) {
    // Browsers do not escape a backslash, so one before a quote makes the line odd only when neither reading is clean.
    const ways = (value.includes('\\"') ? [true, false] : [true]).map(escapes =>
      readParameters(value, escapes),
    )
    odd ||= ways.every(way => way.odd)
    for (const found of ways) {
      for (const [wanted, into] of [
        ['name', names],
        ['filename', fileNames],
      ] as const) {
        const plain = found.parameters.filter(({ key }) => key === wanted)
        if (plain.length > 1) odd = true
        for (const { raw, quoted } of plain) addReadings(into, raw, quoted)
        for (const { key, raw } of found.parameters)
          if (key === `${wanted}*`) into.add(decodeExtendedValue(raw))
        const joined = continuation(found.parameters, wanted)
        if (joined !== null) into.add(joined)
        // `filename="a.txt"b.php"`: some take everything up to the last quote.
        if (found.odd && plain.some(({ quoted }) => quoted)) addGreedy(into, value, wanted)
      }
    }
  }
  return { names: [...names], fileNames: fileNames.size === 0 ? null : [...fileNames], odd }
}

function addReadings(into: Set<string>, raw: string, quoted: boolean): void {
  // A quoted pair for a quote or a backslash is meant by everyone; before other characters it may be a Windows path.
  const plain = quoted ? raw.replaceAll(/\\(["\\])/g, '$1') : raw
  into.add(plain)
  if (raw.includes('\\')) {
    into.add(raw)
    into.add(raw.replaceAll(/\\(.)/gs, '$1'))
  }
  if (plain.includes('=?')) into.add(decodeEncodedWords(plain))
  if (!quoted && raw.length > 1 && raw.startsWith("'") && raw.endsWith("'")) into.add(raw.slice(1, -1))
}

function addGreedy(into: Set<string>, value: string, wanted: string): void {
  const start = new RegExp(`;\\s{0,20}${wanted}\\s{0,8}=\\s{0,8}"`, 'i').exec(value)
  if (start === null) return
  const from = start.index + start[0].length
  const end = value.lastIndexOf('"')
  if (end > from) into.add(value.slice(from, end))
}

const MAX_PIECES = 32

/** `filename*0="a"; filename*1*=utf-8''b` (RFC 2231, section 3). */
function continuation(
  parameters: readonly { readonly key: string; readonly raw: string }[],
  wanted: string,
): string | null {
  const pieces: { readonly order: number; readonly text: string }[] = []
  for (const { key, raw } of parameters) {
    if (!key.startsWith(`${wanted}*`)) continue
    const [, order, extended] = /^[a-z]+\*([0-9]{1,3})(\*?)$/.exec(key) ?? []
    if (order === undefined || pieces.length === MAX_PIECES) continue
    pieces.push({ order: Number(order), text: extended === '*' ? decodeExtendedValue(raw) : raw })
  }
  if (pieces.length === 0) return null
  return pieces
    .sort((a, b) => a.order - b.order)
    .map(({ text }) => text)
    .join('')
}
