// Resolves the names of fields to collections of the engine.
import type { RuleField } from '../rule-document.ts'
import type { Collection } from '../rule.ts'
import { ARGUMENT_FAMILIES, ARGUMENT_FIELDS } from './args.ts'
import { BODY_FIELDS, XML_FAMILY } from './body.ts'
import { HEADER_FAMILY, HEADER_FIELDS } from './headers.ts'
import { REQUEST_LINE_FIELDS } from './request-line.ts'
import type { FieldSource, FieldSpec, FieldTable, NamedFamily } from './spec.ts'
import { STREAM_FIELDS } from './stream.ts'
import { NONE } from './value.ts'

/** A field, resolved. */
export type Field = {
  readonly text: RuleField
  /** What exceptions call the whole of it: `args` for `args.id`, `headers` for `header.x`. */
  readonly family: string
  /** The member that it is narrowed to; null: the family as a whole. */
  readonly name: string | null
  readonly raw: boolean
  readonly source: FieldSource
  readonly aboutPath: boolean
  readonly collection: Collection
}

const TABLE: FieldTable = {
  ...REQUEST_LINE_FIELDS,
  ...ARGUMENT_FIELDS,
  ...HEADER_FIELDS,
  ...BODY_FIELDS,
  ...STREAM_FIELDS,
}

const FAMILIES: readonly NamedFamily[] = [...ARGUMENT_FAMILIES, HEADER_FAMILY, XML_FAMILY]

/** Every field that has a name of its own; `args.<name>` and the like come on top. */
export const FIELD_NAMES: readonly string[] = Object.keys(TABLE)

/** Resolves a field name; undefined: there is no such field. */
export function readField(text: RuleField): Field | undefined {
  const spec = Object.hasOwn(TABLE, text) ? TABLE[text] : undefined
  if (spec !== undefined) return fieldOf(text, familyOf(text), null, spec)
  for (const { prefix, spec: specOf } of FAMILIES) {
    if (!text.startsWith(prefix)) continue
    const rest = text.slice(prefix.length)
    const raw = rest.endsWith('.raw')
    const name = raw ? rest.slice(0, -4) : rest
    if (name === '' || name !== name.toLowerCase()) return undefined
    const named = specOf(name, raw)
    // Some families have no raw variant: their values are what a parser made of the body.
    if (raw && named.raw !== true) return undefined
    return fieldOf(text, familyOf(text), name, named)
  }
  return undefined
}

function fieldOf(text: string, family: string, name: string | null, spec: FieldSpec): Field {
  const { phase, source, aboutPath = false, raw = false, read } = spec
  return {
    text,
    family,
    name,
    raw,
    source,
    aboutPath,
    collection: { id: text, phase, volatile: false, read: readIfThere(source, read) },
  }
}

/** Most requests have neither query nor body: then nothing is set up to look for what cannot be there. */
function readIfThere(source: FieldSource, read: FieldSpec['read']): FieldSpec['read'] {
  // A header is looked for when it is read.
  if (typeof source === 'object') return read
  switch (source) {
    case 'query':
      return (inspected, run) => (inspected.facts.query === '' ? NONE : read(inspected, run))
    case 'body':
      return (inspected, run) => (inspected.body === null ? NONE : read(inspected, run))
    case 'query-or-body':
      return (inspected, run) =>
        inspected.body === null && inspected.facts.query === '' ? NONE : read(inspected, run)
    case 'always':
      return read
  }
}

/** `args` for `args.name` and `args.raw`, `headers` for `header.name`. */
function familyOf(text: string): string {
  const head = text.split('.', 1)[0] ?? text
  return head === 'header' ? 'headers' : head
}
