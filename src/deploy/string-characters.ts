// The characters of an address string: what is invisible, looks like another one, or belongs to no host name. Pure.

/** Something wrong at a place. `at` and `length` count UTF-16 units, as string indexes do. */
export type StringProblem = {
  readonly at: number
  readonly length: number
  readonly message: string
  readonly hint: string
}

/** Ends the reading of a string. */
export class Malformed extends Error {
  readonly problem: StringProblem

  constructor(at: number, length: number, message: string, hint: string) {
    super(message)
    this.problem = { at, length: Math.max(1, length), message, hint }
  }
}

/** Letters of other alphabets that look like these; enough to name the usual ones. */
const LOOK_ALIKE: Readonly<Record<string, string>> = {
  а: 'a',
  е: 'e',
  о: 'o',
  р: 'p',
  с: 'c',
  х: 'x',
  у: 'y',
  і: 'i',
  ѕ: 's',
  ԁ: 'd',
  ɡ: 'g',
  ο: 'o',
  α: 'a',
  ν: 'v',
  ı: 'i',
  '。': '.',
  '．': '.',
  '｡': '.',
  '｜': '|',
  '∣': '|',
  ǀ: '|',
  '：': ':',
  '／': '/',
  '⁄': '/',
  '‐': '-',
  '‑': '-',
  '–': '-',
  '−': '-',
}

/** Refuses the first character that no address has, wherever it stands. @throws Malformed */
export function refuseCharacters(text: string, longest: number, example: string): void {
  if (text === '') throw new Malformed(0, 1, 'the string is empty', example)
  if (text.length > longest)
    throw new Malformed(longest, 1, `the string is longer than ${longest} characters`, example)
  let at = 0
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0
    if (/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}|\p{Cs}/u.test(character)) {
      const what = code < 32 || code === 127 ? 'a control character' : 'an invisible character'
      throw new Malformed(
        at,
        character.length,
        `${what} (${codeWord(code)})`,
        'type the string by hand instead of pasting it',
      )
    }
    if (/\s/.test(character))
      throw new Malformed(at, 1, 'a space: agents take it as a part of the address', 'remove it')
    if (code > 126) {
      const twin = LOOK_ALIKE[character]
      const looks = twin === undefined ? '' : `; it looks like "${twin}" and is another character`
      throw new Malformed(
        at,
        character.length,
        `"${character}" (${codeWord(code)}) is no character of a host name${looks}`,
        twin === undefined ? 'write the name in its ASCII form (xn--...)' : `type "${twin}"`,
      )
    }
    at += character.length
  }
}

function codeWord(code: number): string {
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`
}
