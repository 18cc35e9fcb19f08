// White space, case, comments and shell noise.
import { isSpace } from './characters.ts'

/** ASCII letters in lower case; bytes above ASCII stay. */
export function lowercase(value: string): string {
  // Without bytes above ASCII the built-in function, many times as fast, does the same.
  if (!/[\x80-\xff]/.test(value)) return value.toLowerCase()
  return /[A-Z]/.test(value) ? value.replaceAll(/[A-Z]+/g, letters => letters.toLowerCase()) : value
}

/** ASCII letters in upper case. */
export function uppercase(value: string): string {
  return /[a-z]/.test(value) ? value.replaceAll(/[a-z]+/g, letters => letters.toUpperCase()) : value
}

/** Drops NUL bytes. */
export function removeNulls(value: string): string {
  return value.includes('\0') ? value.replaceAll('\0', '') : value
}

/** NUL bytes become spaces. */
export function replaceNulls(value: string): string {
  return value.includes('\0') ? value.replaceAll('\0', ' ') : value
}

/** Drops white space, the no-break space among it. */
export function removeWhitespace(value: string): string {
  return value.replaceAll(/[\t-\r \xa0]+/g, '')
}

/** Runs of white space, the no-break space among it, become one space. */
export function compressWhitespace(value: string): string {
  return value.replaceAll(/[\t-\r \xa0]+/g, ' ')
}

/** Drops white space at the beginning. */
export function trimLeft(value: string): string {
  let from = 0
  while (from < value.length && isSpace(value.charCodeAt(from))) from++
  return value.slice(from)
}

/** Drops white space at the end. */
export function trimRight(value: string): string {
  let to = value.length
  while (to > 0 && isSpace(value.charCodeAt(to - 1))) to--
  return value.slice(0, to)
}

/** Drops white space at both ends. */
export function trim(value: string): string {
  return trimLeft(trimRight(value))
}

/** Each C comment becomes one space; one without an end reaches to the end. */
export function replaceComments(value: string): string {
  return withoutRanges(value, '/*', '*/', ' ')
}

function withoutRanges(value: string, open: string, close: string, by: string): string {
  let from = value.indexOf(open)
  if (from < 0) return value
  let out = ''
  let at = 0
  while (from >= 0) {
    out += value.slice(at, from) + by
    const end = value.indexOf(close, from + open.length)
    if (end < 0) return out
    at = end + close.length
    from = value.indexOf(open, at)
  }
  return out + value.slice(at)
}

/** Drops comments of C, HTML and SQL with what is in them; `--` and `#` reach to the end. */
export function removeComments(value: string): string {
  let out = ''
  for (let at = 0; at < value.length; at++) {
    if (value.startsWith('/*', at) || value.startsWith('<!--', at)) {
      const close = value.charCodeAt(at) === 0x2f ? '*/' : '-->'
      const end = value.indexOf(close, at + 2)
      if (end < 0) return out
      at = end + close.length - 1
    } else if (value.startsWith('--', at) || value.charCodeAt(at) === 0x23) return out
    else out += value.charAt(at)
  }
  return out
}

/** Drops the characters that begin and end comments, not what is in them. */
export function removeCommentsChar(value: string): string {
  return value.replaceAll(/\/\*|\*\/|<!--|-->|--|#/g, '')
}

/**
 * What a command line looks like to the shell behind its noise: quotes, backslashes and carets are dropped, separators become one
 * space, none before a slash or bracket, and letters are small.
 */
export function cmdLine(value: string): string {
  return lowercase(value.replaceAll(/["'\\^]+/g, '').replaceAll(/[ ,;\t\r\n]+/g, ' ')).replaceAll(
    / (?=[/(])/g,
    '',
  )
}
