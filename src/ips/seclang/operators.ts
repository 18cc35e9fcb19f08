// The operators of the ModSecurity language as operators of the internal form.
import { parseAddress } from '../../net/address.ts'
import { cidrContains, parseCidr, type Cidr } from '../../net/cidr.ts'
import type { Requirement } from '../regex/requirement.ts'
import type { Operator, Place } from '../rule.ts'
import type { SecOperator } from './document.ts'
import type { Macro } from './macro.ts'
import { phrasesOf, phrasesOfFile, searchPhrases } from './phrases.ts'
import { validateByteRange, validateUrlEncoding, validateUtf8Encoding } from './validations.ts'
import type { CompilePattern } from './variables.ts'

/** What operators need that is not part of the language. */
export type OperatorServices = {
  readonly compilePattern: CompilePattern
  /** Fingerprint of an SQL injection in a text; null: none. */
  readonly detectSqli: (text: string) => string | null
  /** Whether a text injects script into a page. */
  readonly detectXss: (text: string) => boolean
}

/** What operators need of the files that they stand in. */
export type OperatorContext = OperatorServices & {
  readonly macro: (text: string) => Macro
  /** Text of a data file that an operator names; undefined: it is not among the files. */
  readonly dataFile: (name: string) => string | undefined
}

type Find = Operator['find']

/** Reads a number as C's atoi does. */
export function leadingNumber(text: string): number {
  const code = text.charCodeAt(0)
  if (text.length === 1 && code >= 0x30 && code <= 0x39) return code - 0x30
  const digits = /^\s*([+-]?\d+)/.exec(text)?.[1]
  return digits === undefined ? 0 : Number.parseInt(digits, 10)
}

const whole = (value: string): Place => ({ at: 0, length: value.length })

function comparing(holds: (value: number, wanted: number) => boolean): (wanted: Macro) => Find {
  return wanted => (value, run) =>
    holds(leadingNumber(value), leadingNumber(wanted.expand(run))) ? whole(value) : null
}

function locating(place: (value: string, wanted: string) => number): (wanted: Macro) => Find {
  return wanted => (value, run) => {
    const text = wanted.expand(run)
    const at = place(value, text)
    return at < 0 ? null : { at, length: text.length }
  }
}

function wordPlace(value: string, word: string): number {
  const isWord = (character: string): boolean => /[a-zA-Z0-9_]/.test(character)
  if (word === '') return 0
  for (let at = value.indexOf(word); at >= 0; at = value.indexOf(word, at + 1)) {
    if (!isWord(value.charAt(at - 1)) && !isWord(value.charAt(at + word.length))) return at
  }
  return -1
}

/** Operators that compare a value with a text, which may hold macros. */
const TEXT_OPERATORS: Readonly<Record<string, (wanted: Macro) => Find>> = {
  eq: comparing((value, wanted) => value === wanted),
  ge: comparing((value, wanted) => value >= wanted),
  gt: comparing((value, wanted) => value > wanted),
  le: comparing((value, wanted) => value <= wanted),
  lt: comparing((value, wanted) => value < wanted),
  streq: locating((value, wanted) => (value === wanted ? 0 : -1)),
  contains: locating((value, wanted) => value.indexOf(wanted)),
  strmatch: locating((value, wanted) => value.indexOf(wanted)),
  containsword: locating(wordPlace),
  beginswith: locating((value, wanted) => (value.startsWith(wanted) ? 0 : -1)),
  endswith: locating((value, wanted) => (value.endsWith(wanted) ? value.length - wanted.length : -1)),
  within: wanted => (value, run) => (wanted.expand(run).includes(value) ? whole(value) : null),
}

/** What every text with an escape has in it, broken or not. */
const PERCENT: Requirement = [[[[0x25, 0x25]]]]

/** Operators that need services or state that the gate does not give to rules. */
const REFUSED: Readonly<Record<string, string>> = {
  rbl: 'a request is never held up by a question to a name server',
  geolookup: 'countries are judged by the policy itself',
  gsblookup: 'a request is never held up by a question to a service',
  inspectfile: 'rules never start programs',
  fuzzyhash: 'there is no fuzzy hashing',
  verifycc: 'numbers of payment cards are not looked for',
  verifyssn: 'social security numbers are not looked for',
  verifycpf: 'social security numbers are not looked for',
  verifysvnr: 'social security numbers are not looked for',
  validatehash: 'responses are not signed',
  validateschema: 'XML schemas are not loaded',
  validatedtd: 'XML document types are not loaded',
  rsub: 'values are never changed',
}

/** Compiles an operator; a text: why it cannot be run. */
export function operatorOf(written: SecOperator, context: OperatorContext): Operator | string {
  const { name, argument } = written
  const id = `@${name} ${argument}`
  const plain = (find: Find): Operator => ({ id, find, requires: null, cost: 1 })
  const text = TEXT_OPERATORS[name]
  if (text !== undefined) return plain(text(context.macro(argument)))
  switch (name) {
    case 'rx':
      return patternOperator(id, argument, context)
    case 'pm':
      return phraseOperator(id, phrasesOf(argument))
    case 'pmf':
    case 'pmfromfile': {
      const read = fromFiles(argument, context)
      return typeof read === 'string' ? read : phraseOperator(id, read)
    }
    case 'ipmatch':
      return addressOperator(id, argument.split(','))
    case 'ipmatchf':
    case 'ipmatchfromfile': {
      const read = fromFiles(argument, context)
      return typeof read === 'string' ? read : addressOperator(id, read)
    }
    case 'unconditionalmatch':
      return plain(whole)
    case 'nomatch':
      return plain(() => null)
    case 'validatebyterange': {
      const range = validateByteRange(argument)
      return typeof range === 'string' ? range : { id, ...range, cost: 1 }
    }
    case 'validateurlencoding':
      return { id, find: validateUrlEncoding, requires: PERCENT, cost: 1 }
    case 'validateutf8encoding':
      return plain(validateUtf8Encoding)
    case 'detectsqli':
      return plain(value => {
        const fingerprint = context.detectSqli(value)
        return fingerprint === null ? null : { ...whole(value), groups: [fingerprint] }
      })
    case 'detectxss':
      return plain(value => (context.detectXss(value) ? whole(value) : null))
    default:
      return REFUSED[name] ?? `there is no operator @${name}`
  }
}

function patternOperator(id: string, source: string, context: OperatorContext): Operator | string {
  if (/%\{[a-z_]+[.:}]/i.test(source)) return 'a pattern cannot be put together from values of a request'
  // Rules that want to keep a value write this.
  if (source === '^.*$')
    return { id, requires: null, cost: 1, find: value => ({ ...whole(value), groups: [value] }) }
  const pattern = context.compilePattern(source, { dotAll: true })
  if ('message' in pattern) return `${pattern.message} (at character ${pattern.column} of the pattern)`
  return {
    id,
    requires: pattern.requirement,
    cost: 1,
    holds: value => pattern.test(value),
    find: value => {
      if (!pattern.test(value)) return null
      const match = pattern.exec(value)
      return match === null
        ? null
        : { at: match.index, length: match.groups[0]?.length ?? 0, groups: match.groups }
    },
  }
}

function phraseOperator(id: string, phrases: readonly string[]): Operator {
  const { find, requirement: requires } = searchPhrases(phrases)
  return { id, find, requires, cost: 1 }
}

/** Characters of all phrases of an operator: the table that finds them takes up to 1 KB for each. */
const MAX_PHRASES = 250_000

function fromFiles(argument: string, context: OperatorContext): readonly string[] | string {
  const out: string[] = []
  let length = 0
  for (const name of argument.split(/\s+/).filter(part => part !== '')) {
    const text = context.dataFile(name)
    if (text === undefined) return `the data file ${name} is not among the imported files`
    for (const phrase of phrasesOfFile(text)) {
      length += phrase.length
      if (length > MAX_PHRASES) return `its phrases are longer than ${MAX_PHRASES} characters together`
      out.push(phrase)
    }
  }
  return out.length === 0 ? 'its data file has no entries' : out
}

function addressOperator(id: string, entries: readonly string[]): Operator | string {
  const ranges: Cidr[] = []
  for (const entry of entries.map(text => text.trim()).filter(text => text !== '')) {
    const range = parseCidr(entry)
    if (typeof range === 'string') return `${entry.slice(0, 50)} is not an address or range (${range})`
    ranges.push(range)
  }
  const find = (value: string): Place | null => {
    const address = parseAddress(value)
    return address !== undefined && ranges.some(range => cidrContains(range, address)) ? whole(value) : null
  }
  return { id, find, requires: null, cost: 1 }
}
