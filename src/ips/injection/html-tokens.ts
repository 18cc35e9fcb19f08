// Finds the beginnings of tags in a text and reads their attributes as lenient browsers do.

/** An attribute as written; the value without its quotes. */
export type HtmlAttribute = { readonly name: string; readonly value: string }

const isSpace = (code: number): boolean => code <= 32
const isLetter = (code: number): boolean => (code | 32) >= 97 && (code | 32) <= 122

/** Whether a tag can begin with this character behind `<`: browsers ask for a letter, old ones skip NULs. */
export function beginsTag(code: number): boolean {
  return isLetter(code) || code === 0
}

/** Reads the name of the tag that begins at a place, in small letters, and says where it ends. */
export function readName(text: string, at: number): { readonly name: string; readonly end: number } {
  let end = at
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end)
    if ((isSpace(code) && code !== 0) || code === 47 || code === 62 || code === 60) break
  }
  return { name: withoutNuls(text.slice(at, end)).toLowerCase(), end }
}

/**
 * Asks about each attribute from a place within a tag up to `>` or the end of the text.
 * @returns -1 when the answer was yes, otherwise the place behind the tag
 */
export function findAttribute(
  text: string,
  from: number,
  isWanted: (attribute: HtmlAttribute) => boolean,
): number {
  let at = from
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if (code === 62) return at + 1
    if (isSpace(code) || code === 47) {
      at++
      continue
    }
    const nameFrom = at
    at = nameEnd(text, at + 1)
    let next = at
    while (next < text.length && isSpace(text.charCodeAt(next))) next++
    if (text.charCodeAt(next) !== 61) {
      // An attribute without a value does nothing.
      at = next
      continue
    }
    const name = withoutNuls(text.slice(nameFrom, at)).toLowerCase()
    const value = valueAt(text, next + 1)
    if (isWanted({ name, value: value.text })) return -1
    at = value.end
  }
  return at
}

function nameEnd(text: string, from: number): number {
  let at = from
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if ((isSpace(code) && code !== 0) || code === 47 || code === 61 || code === 62) break
  }
  return at
}

function valueAt(text: string, from: number): { readonly text: string; readonly end: number } {
  let at = from
  while (at < text.length && isSpace(text.charCodeAt(at))) at++
  const quote = text[at]
  if (quote === '"' || quote === "'" || quote === '`') {
    const close = text.indexOf(quote, at + 1)
    const end = close < 0 ? text.length : close
    return { text: text.slice(at + 1, end), end: end + 1 }
  }
  const begin = at
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (isSpace(code) || code === 62) break
  }
  return { text: text.slice(begin, at), end: at }
}

function withoutNuls(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '') : text
}
