// Fields of arguments: query, form, JSON and multipart values under one roof; and of cookies.
import type { Inspected, Part } from '../parts/inspected.ts'
import { isSecretName } from '../redact.ts'
import type { FieldValue } from '../rule.ts'
import { membersNamed, remembered } from './memo.ts'
import type { FieldSpec, FieldTable, NamedFamily } from './spec.ts'
import { decoded, decodedValues, plainValue } from './value.ts'

/** Fields of arguments and cookies. */
export const ARGUMENT_FIELDS: FieldTable = {
  args: { phase: 'body', source: 'query-or-body', read: inspected => allArgs(inspected, false) },
  'args.raw': {
    phase: 'body',
    source: 'query-or-body',
    raw: true,
    read: inspected => allArgs(inspected, true),
  },
  'args.names': {
    phase: 'body',
    source: 'query-or-body',
    read: inspected => namesOf('args.names', argumentParts(inspected)),
  },
  'args.base64': { phase: 'body', source: 'query-or-body', read: allBase64 },
  cookies: { phase: 'head', source: { header: 'cookie' }, read: inspected => allCookies(inspected, false) },
  'cookies.raw': {
    phase: 'head',
    source: { header: 'cookie' },
    raw: true,
    read: inspected => allCookies(inspected, true),
  },
  'cookies.names': {
    phase: 'head',
    source: { header: 'cookie' },
    read: ({ cookies }) => namesOf('cookies.names', cookies),
  },
}

/** `args.<name>`, `args.base64.<name>` and `cookies.<name>`. */
export const ARGUMENT_FAMILIES: readonly NamedFamily[] = [
  {
    prefix: 'args.base64.',
    spec: name => ({
      phase: 'body',
      source: 'query-or-body',
      read: inspected =>
        membersNamed(inspected, 'args.base64', name, () => allBase64(inspected), argumentNames),
    }),
  },
  { prefix: 'args.', spec: argument },
  {
    prefix: 'cookies.',
    spec: (name, raw) => ({
      phase: 'head',
      source: { header: 'cookie' },
      raw,
      read: inspected =>
        membersNamed(
          inspected,
          raw ? 'cookies.raw' : 'cookies',
          name,
          () => allCookies(inspected, raw),
          value => [value.name],
        ),
    }),
  },
]

function argument(name: string, raw: boolean): FieldSpec {
  return {
    phase: 'body',
    source: 'query-or-body',
    raw,
    read: inspected =>
      membersNamed(inspected, raw ? 'args.raw' : 'args', name, () => allArgs(inspected, raw), argumentNames),
  }
}

/** A leaf of JSON is known by its path of keys and by its own key. */
function argumentNames({ name }: FieldValue): readonly string[] {
  const dot = name.lastIndexOf('.')
  return dot < 0 ? [name] : [name, name.slice(dot + 1)]
}

function allArgs(inspected: Inspected, raw: boolean): readonly FieldValue[] {
  return remembered(inspected, raw ? 'args.raw' : 'args', () => {
    // Lists of records repeat a few names hundreds of times.
    const names = new Map<string, ArgumentName>()
    return argumentParts(inspected).flatMap(part => {
      let known = names.get(part.name)
      if (known === undefined) {
        const read = argumentName(part.name)
        known = { name: read, field: read === '' ? 'args' : `args.${read}`, isSecret: isSecretName(read) }
        names.set(part.name, known)
      }
      const { name, field } = known
      // An argument without `=` is a name to some servers and a value to others.
      const sent = part.value === '' ? part.name : part.value
      const secret = name !== '' && part.value !== '' && known.isSecret
      return raw ? plainValue(`${field}.raw`, sent, name, secret) : decodedValues(field, name, sent, secret)
    })
  })
}

type ArgumentName = { readonly name: string; readonly field: string; readonly isSecret: boolean }

function argumentParts({ query, body }: Inspected): readonly Part[] {
  if (body === null) return query
  const args = body.kind === 'json' ? body.args.map(withoutIndexes) : body.args
  return query.length === 0 ? args : [...query, ...args]
}

/** Numbers of list entries say nothing that a rule or an exception could name. */
function withoutIndexes(part: Part): Part {
  if (!INDEX.test(part.name)) return part
  const name = part.name.replaceAll(INDEXES, '')
  return { name: name.startsWith('.') ? name.slice(1) : name, value: part.value }
}

const INDEX = /(?:^|\.)\d/
const INDEXES = /(?:^|\.)\d+(?=\.|$)/g

/** A name as lenient servers take it: decoded, in small letters, without blanks around it, and up to a NUL. */
export function argumentName(sent: string): string {
  const name = decoded(sent)
  const end = name.indexOf('\0')
  return (end < 0 ? name : name.slice(0, end)).trim()
}

function namesOf(field: string, parts: readonly Part[]): readonly FieldValue[] {
  return parts.filter(({ name }) => name !== '').flatMap(({ name }) => decodedValues(field, '', name, false))
}

const BASE64 = ['base64']

function allBase64(inspected: Inspected): readonly FieldValue[] {
  return remembered(inspected, 'args.base64', () =>
    [...inspected.queryBase64, ...(inspected.body?.base64 ?? [])].flatMap(part => {
      const name = argumentName(part.name)
      const field = name === '' ? 'args.base64' : `args.base64.${name}`
      return decodedValues(field, name, part.value, isSecretName(name), BASE64)
    }),
  )
}

function allCookies(inspected: Inspected, raw: boolean): readonly FieldValue[] {
  return remembered(inspected, raw ? 'cookies.raw' : 'cookies', () =>
    inspected.cookies.flatMap(part => {
      const name = part.name.toLowerCase()
      const field = name === '' ? 'cookies' : `cookies.${name}`
      return raw
        ? plainValue(`${field}.raw`, part.value, name, true)
        : decodedValues(field, name, part.value, true)
    }),
  )
}
