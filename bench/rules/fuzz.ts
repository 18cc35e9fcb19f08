// Makes large inputs out of what rules look for: their literals, over and over, in any order.
import type { RuleCondition, RuleDocument } from '../../src/ips/rule-document.ts'
import type { Expression, Rule } from '../../src/ips/rule.ts'

/** A seeded source of numbers. */
export class Dice {
  private state: number

  constructor(seed: number) {
    this.state = Math.imul(seed + 1, 0x9e37_79b1) >>> 0 || 1
  }

  next(below: number): number {
    // xorshift32
    this.state ^= this.state << 13
    this.state ^= this.state >>> 17
    this.state ^= this.state << 5
    return (this.state >>> 0) % below
  }

  of<T>(list: readonly T[]): T {
    return list[this.next(list.length)] as T
  }
}

/** What is between the literals of attacks. */
const FILLING = [
  ' ',
  '  ',
  ' or ',
  ' and ',
  '\n',
  '\t',
  '\0',
  '\xc3\xa9',
  '\xff',
  ...'a 1 0 0x \' " ` / // ../ .. ( ) (( = % \\ ; < > & | $ { } [ ] * + - -- # @ , . : ! ? ^ ~ _'.split(' '),
  ...'/* */ <!-- $( ${ %20 %252e &lt; \\u0027 \\x41'.split(' '),
]

/** Literals of a shipped rule: its texts, and what its patterns spell out. */
export function tokensOfDocument({ when }: RuleDocument): readonly string[] {
  const texts: string[] = []
  const visit = (condition: RuleCondition): void => {
    if ('all' in condition) condition.all.forEach(visit)
    else if ('any' in condition) condition.any.forEach(visit)
    else if ('not' in condition) visit(condition.not)
    else {
      texts.push(...(condition.has ?? []), ...(condition.equals ?? []))
      for (const pattern of condition.matches ?? []) texts.push(...literalsOf(pattern))
    }
  }
  visit(when)
  return distinct(texts)
}

/** Literals of a compiled rule, by what its tests require and what their operators are called. */
export function tokensOfRule({ when }: Rule): readonly string[] {
  const texts: string[] = []
  const visit = (expression: Expression): void => {
    switch (expression.kind) {
      case 'all':
      case 'any':
        expression.parts.forEach(visit)
        return
      case 'not':
        visit(expression.part)
        return
      case 'test': {
        const { requires, id } = expression.test.operator
        texts.push(...literalsOf(id.slice(id.indexOf(' ') + 1)))
        for (const sequence of requires ?? []) {
          const text = sequence.map(set => String.fromCharCode(set[0]?.[0] ?? 97)).join('')
          texts.push(text)
        }
        return
      }
      case 'always':
    }
  }
  visit(when)
  return distinct(texts)
}

/** Words of a pattern, and the signs that it escapes. */
function literalsOf(pattern: string): readonly string[] {
  const words = pattern
    .replaceAll(/\\[bBsSdDwWAzZ]|\(\?[a-z]*:?|\{\d*,?\d*\}/g, ' ')
    .split(/[\\()[\]{}?*+|^$ ]+/)
  const escaped = [...pattern.matchAll(/\\([^a-zA-Z0-9])/g)].map(match => match[1] ?? '')
  return [...words.filter(word => word !== ''), ...escaped]
}

const MAX_TOKENS = 300

function distinct(texts: readonly string[]): readonly string[] {
  // Characters above a byte cannot be sent as they are.
  const usable = texts.filter(text => text.length > 0 && text.length <= 60 && !/[^\0-\xff]/.test(text))
  return [...new Set(usable)].slice(0, MAX_TOKENS)
}

/** An input of `length` characters in one of the ways that hurt matchers: mixed, one pair again and again, one long run. */
export function fuzzText(tokens: readonly string[], length: number, dice: Dice): string {
  const pick = (): string => (tokens.length > 0 && dice.next(3) > 0 ? dice.of(tokens) : dice.of(FILLING))
  switch (dice.next(4)) {
    case 0: {
      const begin = pick()
      const repeated = pick() + pick()
      return (begin + repeated.repeat(Math.ceil(length / repeated.length))).slice(0, length)
    }
    case 1: {
      const begin = pick() + pick()
      const run = dice.of(FILLING)
      return (
        begin +
        run.repeat(Math.ceil(length / run.length)).slice(0, length - begin.length - 8) +
        pick()
      ).slice(0, length)
    }
    case 2: {
      let block = ''
      for (let count = 0; count < 40; count++) block += pick()
      return block.repeat(Math.ceil(length / block.length)).slice(0, length)
    }
    default: {
      let text = ''
      while (text.length < length) text += pick()
      return text.slice(0, length)
    }
  }
}

/** Inputs without any attack in them, of the kinds that cost careless matchers most. */
export const PLAIN_KINDS: Readonly<Record<string, (length: number, dice: Dice) => string>> = {
  hex: (length, dice) => randomText('0123456789abcdef', length, dice),
  base64: (length, dice) =>
    randomText('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', length, dice),
  a: length => 'a'.repeat(length),
  brackets: (length, dice) => randomText('()[]{}<>', length, dice),
}

function randomText(alphabet: string, length: number, dice: Dice): string {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) bytes[at] = alphabet.charCodeAt(dice.next(alphabet.length))
  return bytes.toString('latin1')
}
