// Escapes of HTML, JavaScript and CSS.

/** Names of characters that matter to attacks; browsers know two thousand. */
const NAMED: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  quot: '"',
  apos: "'",
  tab: '\t',
  newline: '\n',
  nbsp: '\u00a0',
  excl: '!',
  num: '#',
  dollar: '$',
  percnt: '%',
  lpar: '(',
  rpar: ')',
  ast: '*',
  plus: '+',
  comma: ',',
  period: '.',
  sol: '/',
  colon: ':',
  semi: ';',
  equals: '=',
  quest: '?',
  commat: '@',
  lsqb: '[',
  lbrack: '[',
  bsol: '\\',
  rsqb: ']',
  rbrack: ']',
  hat: '^',
  lowbar: '_',
  grave: '`',
  lcub: '{',
  lbrace: '{',
  verbar: '|',
  vert: '|',
  rcub: '}',
  rbrace: '}',
}

// Four names and all numbers work without a semicolon, but `&lt=` in a query is a parameter.
const ENTITY =
  /&(?:#[xX]([0-9a-fA-F]{1,16});?|#([0-9]{1,20});?|([a-zA-Z]{2,8});|(lt|gt|amp|quot)(?![a-z0-9=]))/gi

/** Undoes character references of HTML once; unknown ones stay. */
export function htmlEntities(text: string): string {
  if (!text.includes('&')) return text
  return text.replaceAll(ENTITY, (whole, hex?: string, decimal?: string, named?: string, bare?: string) => {
    const name = named ?? bare
    if (name !== undefined) return NAMED[name.toLowerCase()] ?? whole
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole
  })
}

/** Undoes `\uXXXX`, which stands in no file name. */
export function unicodeEscapes(text: string): string {
  if (!text.includes('\\u') && !text.includes('\\U')) return text
  return text.replaceAll(/\\u([0-9a-fA-F]{4})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

const BACKSLASHED =
  /\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|([0-3][0-7]{2}|[0-7]{1,2})(?![0-9a-fA-F])|([0-9a-fA-F]{2,6})[ \t\r\n\f]?|\r?\n)/g

/**
 * Undoes `\xHH`, `\u{...}`, octal escapes, escapes of CSS (`\3c `) and continued lines. Windows paths are full of what looks like
 * them, so this belongs into a view of its own.
 */
export function backslashEscapes(text: string): string {
  if (!text.includes('\\')) return text
  return text.replaceAll(
    BACKSLASHED,
    (whole, byte?: string, braced?: string, octal?: string, css?: string) => {
      const hex = byte ?? braced ?? css
      const code = octal === undefined ? Number.parseInt(hex ?? '', 16) : Number.parseInt(octal, 8)
      // A backslash at the end of a line continues it.
      if (Number.isNaN(code)) return ''
      return code <= 0x10ffff && code > 0 ? String.fromCodePoint(code) : whole
    },
  )
}
