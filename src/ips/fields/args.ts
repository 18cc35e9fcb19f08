// Fields of arguments: query, form, JSON and multipart values under one roof; and of cookies.
import type { Inspected, Part } from '../parts/inspected.ts'
import { withoutIndexes } from '../parts/json.ts'
import { isSecretName } from '../redact.ts'
import type { FieldValue } from '../rule.ts'
import { membersNamed, remembered } from './memo.ts'
import type { FieldSpec, FieldTable, NamedFamily } from './spec.ts'
import { addDecoded, decoded, decodedValues, plainValue } from './value.ts'

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
    read: allNames,
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
    read: ({ cookies }) =>
      namesOf(
        'cookies.names',
        cookies.map(({ name }) => name),
      ),
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
          name => [name],
        ),
    }),
  },
]

function argument(name: string, raw: boolean): FieldSpec {
  return {
    phase: 'body',
    source: 'query-or-body',
    raw,
    read: inspected => {
      // The decoded family is read for some rule anyway, and has the same names.
      const values = membersNamed(inspected, 'args', name, () => allArgs(inspected, false), argumentNames)
      return raw && values.length > 0
        ? membersNamed(inspected, 'args.raw', name, () => allArgs(inspected, true), argumentNames)
        : values
    },
  }
}

/** A leaf of JSON is known by its path of keys and by its own key. */
function argumentNames(name: string): readonly string[] {
  const dot = name.lastIndexOf('.')
  return dot < 0 ? [name] : [name, name.slice(dot + 1)]
}

function allArgs(inspected: Inspected, raw: boolean): readonly FieldValue[] {
  return remembered(inspected, raw ? 'args.raw' : 'args', () => {
    // Lists of records repeat a few names hundreds of times.
    const names = new Map<string, ArgumentName>()
    const values: FieldValue[] = []
    const { query, body } = inspected
    const add = (sentName: string, sentValue: string): void => {
      let known = names.get(sentName)
      if (known === undefined) {
        const read = argumentName(sentName)
        known = { name: read, field: read === '' ? 'args' : `args.${read}`, isSecret: isSecretName(read) }
        names.set(sentName, known)
      }
      const { name, field } = known
      // An argument without `=` is a name to some servers and a value to others.
      const sent = sentValue === '' ? sentName : sentValue
      const secret = name !== '' && sentValue !== '' && known.isSecret
      if (raw) values.push(plainValue(`${field}.raw`, sent, name, secret))
      else addDecoded(values, field, name, sent, secret)
    }
    for (const { name, value } of query) add(name, value)
    if (body === null) return values
    const isJson = body.kind === 'json'
    for (const part of body.args) add(isJson ? nameInJson(part) : part.name, part.value)
    return values
  })
}

type ArgumentName = { readonly name: string; readonly field: string; readonly isSecret: boolean }

/** Numbers of list entries say nothing that a rule or an exception could name. */
function nameInJson({ name, keys }: Part): string {
  return keys ?? withoutIndexes(name)
}

function allNames({ query, body }: Inspected): readonly FieldValue[] {
  const names = new Set<string>()
  for (const { name } of query) names.add(name)
  const isJson = body?.kind === 'json'
  for (const part of body?.args ?? []) names.add(isJson ? nameInJson(part) : part.name)
  return namesOf('args.names', names)
}

/** A name as lenient servers take it: decoded, in small letters, without blanks around it, and up to a NUL. */
export function argumentName(sent: string): string {
  const name = decoded(sent)
  const end = name.indexOf('\0')
  return (end < 0 ? name : name.slice(0, end)).trim()
}

function namesOf(field: string, names: Iterable<string>): readonly FieldValue[] {
  const values: FieldValue[] = []
  for (const name of names) if (name !== '') addDecoded(values, field, '', name, false)
  return values
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
