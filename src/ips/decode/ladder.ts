// The decoding ladder for fields of rules: from the bytes of a value to the text that some server will see, and other views.
import { htmlEntities, unicodeEscapes } from './escapes.ts'
import { percentRound, readUtf8 } from './percent.ts'
import { characterView, tokenView } from './views.ts'

/**
 * How a value was sent. `form`: `+` is a blank and nothing was decoded yet. `value`: taken out of its format already. `text`
 * and `form-text`: a whole body or message, which has no other views than its own.
 */
export type ValueKind = 'form' | 'value' | 'text' | 'form-text'

/** A decoded value. */
export type DecodedText = {
  /** Unicode text in small letters, decoded until nothing more changes or the rounds are over. */
  readonly text: string
  /** The text as a browser, a database or a shell would take it, where that differs; in small letters. */
  readonly views: readonly { readonly text: string; readonly step: string }[]
  /** What changed on the way, in order, for example `percent x2`, `html entity`; empty when nothing did. */
  readonly steps: readonly string[]
}

const MAX_ROUNDS = 3

// No escape of any kind, no control character but line ends and tabs, no byte above ASCII, nothing that a view would change.
const PLAIN = /^[ !#$'()+,./0-9:;<=>?@A-Z[\\\]_`a-z{|}~"\t\r*-]*$/
const PAIRS = /''|""|\$[i{@*]|\/\*/i
// A backslash that may begin an escape, or that a shell would take away; those of most Windows paths do not.
const ESCAPE = /\\(?:[0-7]|[0-9a-f]{2}|[ux\r])|\//i
const NO_VIEWS: readonly never[] = []
const NO_STEPS: readonly string[] = []

/**
 * Decodes a value: UTF-8, up to three rounds of percent-decoding (`%u` and overlong forms too), character references of HTML and
 * `\uXXXX`. What cannot be decoded stays. Takes time linear in the length; a value without anything to decode costs one look.
 * @param sent one character per byte
 */
export function decodeValue(sent: string, kind: ValueKind = 'value'): DecodedText {
  const isForm = kind === 'form' || kind === 'form-text'
  const spaced = isForm && sent.includes('+') ? sent.replaceAll('+', ' ') : sent
  if (isPlain(spaced)) {
    if (spaced === sent) return { text: spaced.toLowerCase(), views: NO_VIEWS, steps: NO_STEPS }
    return { text: spaced.toLowerCase(), views: NO_VIEWS, steps: PLUS }
  }
  const { text, steps } = climb(spaced)
  if (spaced !== sent) steps.unshift('plus')
  const lower = text.toLowerCase()
  return { text: lower, steps, views: kind === 'text' || kind === 'form-text' ? NO_VIEWS : viewsOf(lower) }
}

const PLUS: readonly string[] = ['plus']

function isPlain(text: string): boolean {
  return PLAIN.test(text) && !PAIRS.test(text) && !(text.includes('\\') && ESCAPE.test(text))
}

/** Climbs the ladder until a round changes nothing. */
function climb(sent: string): { text: string; steps: string[] } {
  const steps: string[] = []
  let text = sent
  let percents = 0
  let entities = 0
  let escapes = 0
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const before = text
    if (text.includes('%')) {
      text = percentRound(text, round === 0)
      if (text !== before) percents++
    }
    if (round === 0 && /[\x80-\xff]/.test(before) && !before.includes('%')) {
      text = readUtf8(text)
      if (text !== before) steps.push('utf-8')
    }
    const decoded = htmlEntities(text)
    if (decoded !== text) entities++
    text = unicodeEscapes(decoded)
    if (text !== decoded) escapes++
    if (text === before) break
  }
  if (percents > 0) steps.push(percents === 1 ? 'percent' : `percent x${percents}`)
  if (entities > 0) steps.push(entities === 1 ? 'html entity' : `html entity x${entities}`)
  if (escapes > 0) steps.push(escapes === 1 ? 'unicode escape' : `unicode escape x${escapes}`)
  return { text, steps }
}

function viewsOf(text: string): DecodedText['views'] {
  const characters = characterView(text)
  const tokens = tokenView(text)
  if (characters === null) return tokens === null ? NO_VIEWS : [tokens]
  const views = tokens === null ? [characters] : [characters, tokens]
  const both = tokenView(characters.text)
  if (both !== null && both.text !== tokens?.text)
    views.push({ text: both.text, step: `${characters.step}, ${both.step}` })
  return views
}
