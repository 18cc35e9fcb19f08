// Character tests that the transforms share; values are byte strings, one character per byte.

/** Value of a hexadecimal digit given as a character code; -1: it is none. NaN (past the end) is none. */
export function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const folded = code | 0x20
  return folded >= 0x61 && folded <= 0x66 ? folded - 0x57 : -1
}

/** Value of two hexadecimal digits at a place of the text; -1: there are not two. */
export function hexByte(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at))
  const low = hexDigit(text.charCodeAt(at + 1))
  return high < 0 || low < 0 ? -1 : high * 16 + low
}

/** Value of four hexadecimal digits at a place of the text; -1: there are not four. */
export function hexWord(text: string, at: number): number {
  const high = hexByte(text, at)
  const low = hexByte(text, at + 2)
  return high < 0 || low < 0 ? -1 : high * 256 + low
}

/** White space as C's isspace has it. */
export function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d)
}

/** Whether a digit is octal. */
export function isOctal(code: number): boolean {
  return code >= 0x30 && code <= 0x37
}

/** Characters that look or read like ASCII to servers with a best-fit code page, and do not decompose to it. */
const BEST_FIT: ReadonlyMap<number, string> = new Map(
  Object.entries({
    "'": '\u2018\u2019\u201a\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u02c8\u2035\u00b4',
    '"': '\u201c\u201d\u201e\u201f\u2033\u02ba\u00ab\u00bb\u3003',
    '/': '\u2044\u2215\u29f8',
    '\\': '\u2216\u29f5',
    '-': '\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00ad',
    '<': '\u2039\u2329\u3008\u27e8',
    '>': '\u203a\u232a\u3009\u27e9',
    '|': '\u00a6\u2223\u01c0',
    '*': '\u2217\u066d',
    ':': '\u2236\u0589\u05c3',
    '~': '\u02dc\u223c',
    '^': '\u02c6\u2303',
    '`': '\u02cb',
    ',': '\u201a\u00b8',
    '.': '\u2024\u00b7',
    '!': '\u01c3',
    o: '\u00f8',
    O: '\u00d8',
    d: '\u00f0\u0111',
    D: '\u00d0\u0110',
    l: '\u0142',
    L: '\u0141',
  }).flatMap(([plain, others]) => others.split('').map(other => [other.codePointAt(0) ?? 0, plain] as const)),
)

/** The ASCII character that a best-fit conversion makes of a UTF-16 unit; otherwise its low byte, as a byte string. */
export function bestFit(unit: number): string {
  if (unit < 0x80) return String.fromCharCode(unit)
  const known = BEST_FIT.get(unit)
  if (known !== undefined) return known
  const plain = String.fromCharCode(unit).normalize('NFKD').charCodeAt(0)
  return String.fromCharCode(plain < 0x80 ? plain : unit & 0xff)
}
