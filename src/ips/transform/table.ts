// The transforms of the ModSecurity language by name.
import type { Transform } from '../rule.ts'
import { md5, sha1 } from './digests.ts'
import {
  base64Decode,
  base64DecodeExt,
  base64Encode,
  hexDecode,
  hexEncode,
  parityEven7bit,
  parityOdd7bit,
  parityZero7bit,
  sqlHexDecode,
} from './encodings.ts'
import { cssDecode, escapeSeqDecode, htmlEntityDecode, jsDecode } from './escapes.ts'
import { normalizePath, normalizePathWin } from './paths.ts'
import {
  cmdLine,
  compressWhitespace,
  lowercase,
  removeComments,
  removeCommentsChar,
  removeNulls,
  removeWhitespace,
  replaceComments,
  replaceNulls,
  trim,
  trimLeft,
  trimRight,
  uppercase,
} from './text.ts'
import { urlDecode, urlDecodeUni, urlEncode, utf8toUnicode } from './url.ts'

const FUNCTIONS: Readonly<Record<string, (value: string) => string>> = {
  base64Decode,
  base64DecodeExt,
  base64Encode,
  cmdLine,
  compressWhitespace,
  cssDecode,
  escapeSeqDecode,
  hexDecode,
  hexEncode,
  htmlEntityDecode,
  jsDecode,
  length: value => String(value.length),
  lowercase,
  md5,
  normalizePath,
  normalizePathWin,
  parityEven7bit,
  parityOdd7bit,
  parityZero7bit,
  removeComments,
  removeCommentsChar,
  removeNulls,
  removeWhitespace,
  replaceComments,
  replaceNulls,
  sha1,
  sqlHexDecode,
  trim,
  trimLeft,
  trimRight,
  uppercase,
  urlDecode,
  urlDecodeUni,
  urlEncode,
  utf8toUnicode,
}

const span = (first: number, last: number): string =>
  Array.from({ length: last - first + 1 }, (_, index) => String.fromCharCode(first + index)).join('')

const UPPER = span(0x41, 0x5a)
const SPACES = ' \t\n\v\f\r'

/** What a value must have for a transform to change it. Most values have nothing of it. */
const CHANGES: Readonly<Record<string, string>> = {
  cmdLine: `${UPPER}"'\\^ ,;\t\r\n`,
  compressWhitespace: `${SPACES}\xa0`,
  cssDecode: '\\',
  escapeSeqDecode: '\\',
  htmlEntityDecode: '&',
  jsDecode: '\\',
  lowercase: UPPER,
  normalizePath: '/.',
  normalizePathWin: '/.\\',
  removeComments: '*-#',
  removeCommentsChar: '*-#',
  removeNulls: '\0',
  removeWhitespace: `${SPACES}\xa0`,
  replaceComments: '*',
  replaceNulls: '\0',
  sqlHexDecode: 'xX',
  trim: SPACES,
  trimLeft: SPACES,
  trimRight: SPACES,
  uppercase: span(0x61, 0x7a),
  urlDecode: '%+',
  urlDecodeUni: '%+',
  utf8toUnicode: span(0x80, 0xff),
}

/** Other spellings that rule files use. */
const ALIASES: Readonly<Record<string, string>> = {
  normalisepath: 'normalizePath',
  normalisepathwin: 'normalizePathWin',
}

const TRANSFORMS: ReadonlyMap<string, Transform> = new Map(
  Object.entries(FUNCTIONS).map(([name, apply]) => {
    const changes = CHANGES[name]
    return [name.toLowerCase(), { id: `t:${name}`, apply, ...(changes === undefined ? {} : { changes }) }]
  }),
)

/** Names of all transforms. */
export const TRANSFORM_NAMES: readonly string[] = Object.keys(FUNCTIONS)

/** The transform of a name, case aside; undefined: there is none. */
export function transformNamed(name: string): Transform | undefined {
  const folded = name.toLowerCase()
  return TRANSFORMS.get(ALIASES[folded]?.toLowerCase() ?? folded)
}
