// Finds secrets within a text of any format: forms, JSON, XML, multipart, headers. Linear, because attackers choose the text.

/** Words that make the value behind them a secret. Characters may be written as `%70`, `\u0070` or `\x70`. */
const WORDS = [
  'token',
  'secret',
  'passw',
  'pwd',
  'apikey',
  'api-key',
  'api_key',
  'credential',
  'auth',
  'session',
  'viewstate',
  'signature',
  'cookie',
]
/** Words that do so only as a whole name. */
const NAMES = ['pass', 'key', 'pin', 'otp']

const KEY = new RegExp(
  `(?:${WORDS.map(spelled).join('|')})|(?<![A-Za-z0-9])(?:${NAMES.map(spelled).join('|')})(?![A-Za-z0-9])`,
  'gi',
)
const NAMED = new RegExp(KEY.source, 'i')
/** Secrets by their own look: JSON Web Tokens, credentials of headers, user-info of addresses. */
const LOOKS =
  /\beyJ[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]{0,4096})?|\b(?:bearer|basic)\s{1,4}[\w.~+/=-]{6,4096}|:\/\/[^\s/?#@:]{1,100}:[^\s/?#@]{1,200}@/gi

const MAX_SECRET = 4_096

function spelled(word: string): string {
  return Array.from(word)
    .map(letter => {
      const hex = [letter, letter.toUpperCase()].map(one => one.charCodeAt(0).toString(16))
      const codes = [...new Set(hex)].join('|')
      return `(?:${letter}|%(?:25)?(?:${codes})|\\\\(?:u00|x)(?:${codes}))`
    })
    .join('')
}

// What may stand between the word and the value. Each is asked at one place only and is bounded.
const REST_OF_NAME = /[\w.-]{0,40}\]?(?:%5d)?/iy
const ASSIGNED = /(?:\\{0,3}["']|%22)?\s{0,4}(?:=|:|%3[ad])\s{0,4}/iy
const IN_ELEMENT = /(?:\s[^<>]{0,300})?>\s{0,40}/y
const NEXT_ELEMENT = /["']?\s{0,40}<\/?[\w:.-]{1,60}>\s{0,40}(?:<[\w:.-]{1,60}>)?/y
const NEXT_PART = /["']?[^\r\n]{0,200}(?:\r?\n[^\r\n]{1,300}){0,4}\r?\n\r?\n/y

/** The text with `shown` in place of every secret in it. What cannot be told from a secret goes too. */
export function withoutSecrets(text: string, shown: string): string {
  const plain = text.replaceAll(LOOKS, shown)
  let out = ''
  let from = 0
  KEY.lastIndex = 0
  for (let match = KEY.exec(plain); match !== null; match = KEY.exec(plain)) {
    const start = valueAfter(plain, KEY.lastIndex)
    if (start === null || isEndTag(plain, match.index) || namesAnother(plain, match.index)) continue
    const end = endOfValue(plain, start)
    if (end <= start) continue
    out += plain.slice(from, start) + shown
    from = end
    KEY.lastIndex = end
  }
  return out + plain.slice(from)
}

function isEndTag(text: string, at: number): boolean {
  return /<\/[\w:.-]{0,40}$/.test(text.slice(Math.max(0, at - 42), at))
}

/** Property lists write `<key>password</key><string>...`: the name is the content of the element. */
function namesAnother(text: string, at: number): boolean {
  const name = /^key>([\w .-]{1,60})<\/key>/i.exec(text.slice(at, at + 80))?.[1]
  return name !== undefined && NAMED.test(name)
}

function skip(pattern: RegExp, text: string, at: number): number | null {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : null
}

/** Where the value of a name begins; null: the word is not the name of anything. */
function valueAfter(text: string, at: number): number | null {
  const end = skip(REST_OF_NAME, text, at) ?? at
  return (
    skip(ASSIGNED, text, end) ??
    skip(IN_ELEMENT, text, end) ??
    skip(NEXT_ELEMENT, text, end) ??
    skip(NEXT_PART, text, end)
  )
}

/** The end of a value: of a quoted text, a list or an object as a whole, else as far as it can go in any format. */
function endOfValue(text: string, start: number): number {
  const limit = Math.min(text.length, start + MAX_SECRET)
  if (text.startsWith('<![', start)) {
    const end = text.indexOf(']]', start)
    return end < 0 || end > limit ? limit : end
  }
  const open = text[start] ?? ''
  if (open === '"' || open === "'") return endOfQuoted(text, start + 1, limit, open)
  if (open === '[' || open === '{') return endOfNested(text, start, limit)
  let at = start
  while (at < limit && !'&\r\n'.includes(text[at] ?? '') && !isMarkup(text, at)) at++
  // What is decoded already may hold the very signs that end a value: the next name tells.
  if (text[at] === '&') {
    while (at < limit && text[at] === '&' && !/^&[\w.$%[\]-]{1,60}=/.test(text.slice(at, at + 64))) {
      at++
      while (at < limit && text[at] !== '&') at++
    }
  }
  return at
}

function isMarkup(text: string, at: number): boolean {
  return text[at] === '<' && (text[at + 1] === '/' || text[at + 1] === '!')
}

function endOfQuoted(text: string, from: number, limit: number, quote: string): number {
  let at = from
  while (at < limit && text[at] !== quote) at += text[at] === '\\' ? 2 : 1
  // A quote within a value that is decoded already ends nothing.
  const after = text[at + 1] ?? ''
  return at < limit && /^[\s,;:}\])>/\\"'&<?]?$/.test(after) ? at + 1 : Math.min(limit, text.length)
}

function endOfNested(text: string, from: number, limit: number): number {
  let depth = 0
  let at = from
  while (at < limit) {
    const sign = text[at] ?? ''
    if (sign === '"') at = endOfQuoted(text, at + 1, limit, sign) - 1
    else if (sign === '[' || sign === '{') depth++
    else if ((sign === ']' || sign === '}') && --depth === 0) return at + 1
    at++
  }
  return limit
}
