// The operators of the YAML language.
import type { Sequence } from './regex/requirement.ts'
import type { Pattern } from './regex/types.ts'
import type { Operator, Place } from './rule.ts'

const WHOLE: Place = { at: 0, length: 0 }

/** Holds for every value. */
export const present: Operator = { id: 'present', requires: null, cost: 0, find: () => WHOLE }

/** One of the texts is the whole value. */
export function oneOfOperator(texts: readonly string[]): Operator {
  const set = new Set(texts)
  return {
    id: `equals ${JSON.stringify(texts)}`,
    requires: null,
    cost: 0,
    find: value => (set.has(value) ? { at: 0, length: value.length } : null),
  }
}

/** One of the texts is contained. */
export function hasOperator(texts: readonly string[]): Operator {
  return {
    id: `has ${JSON.stringify(texts)}`,
    requires: texts.map(sequenceOf),
    cost: texts.length,
    find: value => {
      for (const text of texts) {
        const at = value.indexOf(text)
        if (at >= 0) return { at, length: text.length }
      }
      return null
    },
  }
}

/** The value has more characters. */
export function longerThanOperator(characters: number): Operator {
  return {
    id: `longerThan ${characters}`,
    requires: null,
    cost: 0,
    find: value => (value.length > characters ? WHOLE : null),
  }
}

/** The value is a number above, or below. */
export function numberOperator(above: number | undefined, below: number | undefined): Operator {
  return {
    id: `above ${above} below ${below}`,
    requires: null,
    cost: 0,
    find: value => {
      const number = Number(value)
      const holds = (above === undefined || number > above) && (below === undefined || number < below)
      return holds ? { at: 0, length: value.length } : null
    },
  }
}

/** The pattern matches somewhere. */
export function matchesOperator(pattern: Pattern): Operator {
  return {
    id: `matches ${pattern.source}`,
    requires: pattern.requirement,
    cost: 1,
    find: value => {
      const found = pattern.exec(value)
      return found === null ? null : { at: found.index, length: found.groups[0]?.length ?? 0 }
    },
  }
}

function sequenceOf(text: string): Sequence {
  return Array.from({ length: text.length }, (_, index) => {
    const code = text.charCodeAt(index)
    return [[code, code]] as const
  })
}
