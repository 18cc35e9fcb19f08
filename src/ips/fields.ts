// The fields of a request that rules look at, each decoded once and only when a rule asks.
import type { RequestFacts } from '../policy/facts.ts'
import {
  base64Text,
  bodyText,
  decodeBodyText,
  formValues,
  jsonValues,
  multipartValues,
  type NamedValue,
} from './body.ts'
import { decodeLeniently } from './percent.ts'
import { isSecretName } from './redact.ts'
import type { RuleField } from './rule-document.ts'
import { pathReadings } from './target.ts'

/** A value of a field. */
export type FieldValue = { readonly field: string; readonly value: string; readonly secret: boolean }

/** A field, resolved: which family, and which member of it. */
export type Field = { readonly text: RuleField; readonly family: Family; readonly name: string | null }

const FAMILIES = [
  'path',
  'path.raw',
  'target.raw',
  'query',
  'query.raw',
  'method',
  'host',
  'content-type',
  'websocket',
  'origin.foreign',
  'args',
  'cookies',
  'headers',
  'body',
  'body.raw',
  'body.base64',
  'files.names',
] as const

type Family = (typeof FAMILIES)[number]

/** Families that only a body can fill, or that a body adds to. */
const BODY_FAMILIES: ReadonlySet<Family> = new Set(['args', 'body', 'body.raw', 'body.base64', 'files.names'])

/** Families that are a property of the path. */
const PATH_FAMILIES: ReadonlySet<Family> = new Set(['path', 'path.raw', 'target.raw'])

/** Resolves a field name; undefined: there is no such field. */
export function readField(text: RuleField): Field | undefined {
  const family = FAMILIES.find(entry => entry === text)
  if (family !== undefined) return { text, family, name: null }
  const dot = text.indexOf('.')
  const name = text.slice(dot + 1)
  if (dot < 0 || name === '' || name !== name.toLowerCase()) return undefined
  switch (text.slice(0, dot)) {
    case 'args':
      return { text, family: 'args', name }
    case 'cookies':
      return { text, family: 'cookies', name }
    case 'header':
      return { text, family: 'headers', name }
    default:
      return undefined
  }
}

/** Whether a body may change what the field holds. */
export function readsBody(field: Field): boolean {
  return BODY_FAMILIES.has(field.family)
}

/** Whether the field is about the path alone. */
export function readsPath(field: Field): boolean {
  return PATH_FAMILIES.has(field.family)
}

/** A request as rules see it. One per judgement; holds what was decoded so far. */
export class RequestView {
  readonly #facts: RequestFacts
  readonly #body: Uint8Array | null
  readonly #families = new Map<Family, readonly FieldValue[]>()
  readonly #named = new Map<Field, readonly FieldValue[]>()
  #text: string | undefined

  constructor(facts: RequestFacts, body: Uint8Array | null) {
    this.#facts = facts
    this.#body = body
  }

  /** The values of a field; a field that is not there has none. */
  values(field: Field): readonly FieldValue[] {
    const { name, family } = field
    if (name === null) return this.#family(family)
    let values = this.#named.get(field)
    if (values === undefined) {
      values =
        family === 'headers'
          ? this.#header(name)
          : this.#family(family).filter(({ field: full }) => full === field.text)
      this.#named.set(field, values)
    }
    return values
  }

  /**
   * Whether a value of the field could contain one of the texts that the expression lists. Never says no wrongly; it says so
   * without taking the request apart where it can.
   */
  mayContain(field: Field, texts: RegExp): boolean {
    const { family, name } = field
    const { headers, query } = this.#facts
    if (family === 'headers') {
      const { raw } = headers
      for (let at = 0; at + 1 < raw.length; at += 2) {
        if (name !== null && !isNamed(raw[at] ?? '', name)) continue
        if (texts.test(headerText(raw[at + 1] ?? ''))) return true
      }
      return false
    }
    // Every argument of a query without escapes is a part of it.
    if (family === 'args' && this.#body === null && !query.includes('%') && !query.includes('+'))
      return texts.test(query.toLowerCase())
    return this.values(field).some(({ value }) => texts.test(value))
  }

  #family(family: Family): readonly FieldValue[] {
    let values = this.#families.get(family)
    if (values === undefined) {
      values = this.#compute(family)
      this.#families.set(family, values)
    }
    return values
  }

  #compute(family: Family): readonly FieldValue[] {
    const facts = this.#facts
    switch (family) {
      case 'path':
        return this.#path()
      case 'path.raw':
        return one(family, facts.target.split('?', 1)[0] ?? '')
      case 'target.raw':
        return one(family, facts.target)
      case 'query':
        return facts.query === '' ? NONE : one(family, decodeLeniently(facts.query, true).toLowerCase())
      case 'query.raw':
        return facts.query === '' ? NONE : one(family, facts.query)
      case 'method':
        return one(family, facts.method.toLowerCase())
      case 'host':
        return one(family, facts.host)
      case 'websocket':
        return one(family, facts.webSocket ? 'yes' : 'no')
      case 'content-type': {
        const type = facts.headers.get('content-type')
        return type === undefined ? NONE : one(family, type.trim().toLowerCase())
      }
      case 'origin.foreign':
        return this.#foreignOrigin()
      case 'args':
        return this.#args()
      case 'cookies':
        return this.#cookies()
      case 'headers':
        return this.#headers()
      case 'body':
        return this.#body === null ? NONE : one(family, decodeBodyText(this.#bodyText(), this.#isForm()))
      case 'body.raw':
        return this.#body === null ? NONE : one(family, this.#bodyText())
      case 'body.base64':
        return this.#body === null ? NONE : one(family, base64Text(this.#bodyText()), true)
      case 'files.names':
        return this.#multipart().files.map(value => ({ field: 'files.names', value, secret: false }))
    }
  }

  #path(): readonly FieldValue[] {
    const readings = pathReadings(this.#facts.target)
    if (readings.length === 0) return one('path', this.#facts.pathFolded)
    const paths = new Set([this.#facts.pathFolded, ...readings.map(({ path }) => path.toLowerCase())])
    return [...paths].map(value => ({ field: 'path', value, secret: false }))
  }

  #args(): readonly FieldValue[] {
    const { query } = this.#facts
    if (this.#body === null) return query === '' ? NONE : formValues(query).map(toArgument)
    return [...formValues(query), ...this.#bodyValues()].map(toArgument)
  }

  #bodyValues(): readonly NamedValue[] {
    const types = contentTypes(this.#facts)
    const text = this.#bodyText()
    const found: NamedValue[] = []
    if (types.some(isMultipart)) found.push(...this.#multipart().values)
    if (this.#isForm()) found.push(...formValues(text))
    // Servers that parse JSON often do not ask what the content type says.
    if (types.some(type => type.includes('json')) || (found.length === 0 && /^\s{0,64}[{[]/.test(text)))
      found.push(...jsonValues(text))
    return found
  }

  #multipart(): { readonly values: NamedValue[]; readonly files: string[] } {
    const type = this.#body === null ? undefined : contentTypes(this.#facts).find(isMultipart)
    return type === undefined ? { values: [], files: [] } : multipartValues(this.#bodyText(), type)
  }

  #bodyText(): string {
    return (this.#text ??= this.#body === null ? '' : bodyText(this.#body))
  }

  #isForm(): boolean {
    return contentTypes(this.#facts).some(type => /^application\/x-www-form-urlencoded/i.test(type))
  }

  #cookies(): readonly FieldValue[] {
    const header = this.#facts.headers.get('cookie')
    if (header === undefined) return NONE
    return header.split(';').map(pair => {
      const equals = pair.indexOf('=')
      const name = equals < 0 ? '' : pair.slice(0, equals).trim().toLowerCase()
      const value = decodeLeniently(pair.slice(equals + 1).trim(), false).toLowerCase()
      return { field: name === '' ? 'cookies' : `cookies.${name}`, value, secret: true }
    })
  }

  #header(name: string): readonly FieldValue[] {
    const found: FieldValue[] = []
    const { raw } = this.#facts.headers
    for (let at = 0; at + 1 < raw.length; at += 2) {
      if (isNamed(raw[at] ?? '', name)) found.push(header(name, raw[at + 1] ?? ''))
    }
    return found
  }

  #headers(): readonly FieldValue[] {
    const found: FieldValue[] = []
    const { raw } = this.#facts.headers
    for (let at = 0; at + 1 < raw.length; at += 2)
      found.push(header((raw[at] ?? '').toLowerCase(), raw[at + 1] ?? ''))
    return found
  }

  #foreignOrigin(): readonly FieldValue[] {
    const origin = this.#facts.headers.get('origin')?.trim().toLowerCase()
    if (origin === undefined || origin === '') return NONE
    const host = /^https?:\/\/(\[[0-9a-f:.]+\]|[^/:?#@\\]+)(?::\d{1,5})?$/.exec(origin)?.[1]
    return host === this.#facts.host ? NONE : one('origin.foreign', origin)
  }
}

const NONE: readonly never[] = []

/** Every content type that a request claims: with two of them nobody knows which one the server believes. */
export function contentTypes({ headers }: Pick<RequestFacts, 'headers'>): readonly string[] {
  const { raw } = headers
  const types: string[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    if (name.length === 12 && name.toLowerCase() === 'content-type') types.push((raw[at + 1] ?? '').trim())
  }
  return types
}

function isMultipart(type: string): boolean {
  return /^multipart\//i.test(type)
}

function one(field: string, value: string, secret = false): readonly FieldValue[] {
  return [{ field, value, secret }]
}

function toArgument({ name, value }: NamedValue): FieldValue {
  return name === ''
    ? { field: 'args', value, secret: false }
    : { field: `args.${name}`, value, secret: isSecretName(name) }
}

function header(name: string, value: string): FieldValue {
  return { field: `header.${name}`, value: headerText(value), secret: isSecretName(name) }
}

function headerText(value: string): string {
  const lower = value.toLowerCase()
  return lower.includes('%') ? decodeLeniently(lower, false).toLowerCase() : lower
}

/** @param name in lower case */
function isNamed(received: string, name: string): boolean {
  return received.length === name.length && received.toLowerCase() === name
}
