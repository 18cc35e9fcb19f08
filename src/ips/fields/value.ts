// Makes the values of fields: as sent for `.raw`, else decoded and in small letters, remembering how they were read.
import { decodeValue, type ValueKind } from '../decode/ladder.ts'
import type { FieldValue } from '../rule.ts'

/** No value. */
export const NONE: readonly FieldValue[] = []

const NO_STEPS: readonly string[] = []

/**
 * A value as rules see it: decoded up the ladder and in small letters, and once more for every other view of it.
 * @param first what was done to `sent` before, for `steps`
 */
export function decodedValues(
  field: string,
  name: string,
  sent: string,
  secret: boolean,
  first: readonly string[] = NO_STEPS,
  kind: ValueKind = 'value',
): readonly FieldValue[] {
  const values: FieldValue[] = []
  addDecoded(values, field, name, sent, secret, first, kind)
  return values
}

/** The same, added to a list: large bodies have thousands of values. */
export function addDecoded(
  values: FieldValue[],
  field: string,
  name: string,
  sent: string,
  secret: boolean,
  first: readonly string[] = NO_STEPS,
  kind: ValueKind = 'value',
): void {
  const { text, views, steps } = decodeValue(sent, kind)
  values.push(fieldValue(field, name, text, secret, first, steps))
  for (const view of views)
    values.push(fieldValue(field, name, view.text, secret, first, [...steps, view.step]))
}

/** The decoded text of a value, without other views. */
export function decodedValue(
  field: string,
  name: string,
  sent: string,
  secret: boolean,
  kind: ValueKind = 'text',
): FieldValue {
  const { text, steps } = decodeValue(sent, kind)
  return fieldValue(field, name, text, secret, NO_STEPS, steps)
}

const unchanged = (): readonly string[] => NO_STEPS

function fieldValue(
  field: string,
  name: string,
  value: string,
  secret: boolean,
  first: readonly string[],
  then: readonly string[],
): FieldValue {
  if (first.length === 0 && then.length === 0) return { field, name, value, secret, steps: unchanged }
  const steps = first.length === 0 ? then : [...first, ...then]
  return { field, name, value, secret, steps: () => steps }
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
  return decodeValue(sent, 'text').text
}
