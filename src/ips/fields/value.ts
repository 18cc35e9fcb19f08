// Makes the values of fields: as sent for `.raw`, else decoded and in small letters, remembering how they were read.
import { decodeBodyText } from '../body.ts'
import { decodeLeniently } from '../percent.ts'
import type { FieldValue } from '../rule.ts'

/** No value. */
export const NONE: readonly FieldValue[] = []

// Nothing to decode: no escape of any kind, no byte above ASCII.
const PLAIN = /^[^%\\&\x80-\uffff]*$/

/** A value of a field that was decoded; how is worked out again when a hit asks. */
class DecodedValue implements FieldValue {
  readonly field: string
  readonly name: string
  readonly value: string
  readonly secret: boolean
  readonly #sent: string
  readonly #first: readonly string[]

  constructor(field: string, name: string, sent: string, secret: boolean, first: readonly string[]) {
    this.field = field
    this.name = name
    this.value = decoded(sent)
    this.secret = secret
    this.#sent = sent
    this.#first = first
  }

  steps(): readonly string[] {
    return [...this.#first, ...stepsOf(this.#sent)]
  }
}

const NO_STEPS: readonly string[] = []

/**
 * A value as rules see it: decoded up the ladder and in small letters.
 * @param first what was done to `sent` before, for `steps`
 */
export function decodedValue(
  field: string,
  name: string,
  sent: string,
  secret: boolean,
  first: readonly string[] = NO_STEPS,
): FieldValue {
  return new DecodedValue(field, name, sent, secret, first)
}

/** A value that stands as it is. */
export function plainValue(field: string, value: string, name = '', secret = false): FieldValue {
  return { field, name, value, secret }
}

/** One value that stands as it is. */
export function one(field: string, value: string, secret = false): readonly FieldValue[] {
  return [{ field, name: '', value, secret }]
}

/** The decoded view of a text, in small letters. */
export function decoded(sent: string): string {
  if (PLAIN.test(sent)) return sent.toLowerCase()
  return decodeBodyText(unescaped(sent), false)
}

/** Bytes above ASCII are escapes that were decoded already: together with others they may be one character. */
function unescaped(sent: string): string {
  const escaped = sent.replaceAll(/[\x80-\xff]/g, char => `%${char.charCodeAt(0).toString(16)}`)
  return decodeLeniently(escaped, false)
}

function stepsOf(sent: string): readonly string[] {
  if (PLAIN.test(sent)) return NO_STEPS
  const steps: string[] = []
  const text = unescaped(sent)
  if (text !== sent) steps.push('percent')
  if (decodeBodyText(text, false) !== text.toLowerCase()) steps.push('escapes')
  return steps
}
