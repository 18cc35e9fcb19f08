// Reads what the variables of the ModSecurity language stand for from a request that was taken apart.
import type { BodyParts, BodyProblem, Inspected, Part } from '../parts/inspected.ts'
import type { FieldValue, Run } from '../rule.ts'
import { urlDecode } from '../transform/url.ts'
import { PROCESSOR } from './state.ts'

/** Reads the values of a variable. */
export type Reader = (inspected: Inspected, run: Run) => readonly FieldValue[]

const SECRET_HEADERS = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'x-api-key',
  'x-auth-token',
])
const SECRET_ARGUMENT = /pass(?:wd|word|phrase)?$|pwd|secret|token|api_?key|credential/i

/** A variable with one value and no members. */
export function single(field: string, read: (inspected: Inspected, run: Run) => string | null): Reader {
  return (inspected, run) => {
    const value = read(inspected, run)
    return value === null ? [] : [{ field, name: '', value, secret: false }]
  }
}

function members(variable: string, parts: readonly Part[], secret: boolean): readonly FieldValue[] {
  return parts.map(({ name, value }) => ({
    field: `${variable}:${name}`,
    name,
    value,
    secret: secret || SECRET_ARGUMENT.test(name),
  }))
}

function namesOf(variable: string, parts: readonly Part[]): readonly FieldValue[] {
  return parts.map(({ name }) => ({ field: `${variable}:${name}`, name, value: name, secret: false }))
}

/** Values of a list of parts. */
export function values(
  variable: string,
  of: (inspected: Inspected, run: Run) => readonly Part[],
  secret = false,
): Reader {
  return (inspected, run) => members(variable, of(inspected, run), secret)
}

/** Names of a list of parts. */
export function names(variable: string, of: (inspected: Inspected, run: Run) => readonly Part[]): Reader {
  return (inspected, run) => namesOf(variable, of(inspected, run))
}

/** Headers in order, as received. */
export function headers({ facts }: Inspected): readonly Part[] {
  const { raw } = facts.headers
  const out: Part[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) out.push({ name: raw[at] ?? '', value: raw[at + 1] ?? '' })
  return out
}

/** Values of headers; those that carry credentials are secret. */
export const headerValues: Reader = inspected =>
  headers(inspected).map(({ name, value }) => ({
    field: `REQUEST_HEADERS:${name}`,
    name,
    value,
    secret: SECRET_HEADERS.has(name.toLowerCase()),
  }))

/** Arguments of the query. */
export function queryArguments({ query }: Inspected): readonly Part[] {
  return query
}

/** Arguments of the body: fields of forms, leaves of JSON under `json.`. */
export function bodyArguments({ body }: Inspected, run: Run): readonly Part[] {
  if (body === null) return []
  if (body.kind === 'form' || body.kind === 'multipart') return body.args
  if (body.kind === 'json') return jsonArguments(body)
  return run.tx.get(PROCESSOR) === 'URLENCODED' ? formOf(body.text) : []
}

const jsonNames = new WeakMap<BodyParts, readonly Part[]>()

// Members of an array all have the array's name, so that one exclusion names them all.
function jsonArguments(body: BodyParts): readonly Part[] {
  let known = jsonNames.get(body)
  if (known === undefined) {
    const isArray = body.text.trimStart().startsWith('[')
    known = body.args.map(({ name, value }) => {
      const inner = isArray ? name.replace(/^\d+(?:\.|$)/, '') : name
      const member = inner.replaceAll(/\.\d+(?=\.|$)/g, '')
      return { name: member === '' ? 'json' : `json.${member}`, value }
    })
    jsonNames.set(body, known)
  }
  return known
}

const MAX_FORM = 1000

function formOf(text: string): readonly Part[] {
  return text
    .split('&', MAX_FORM)
    .filter(field => field !== '')
    .map(field => {
      const mark = field.indexOf('=')
      return mark < 0
        ? { name: urlDecode(field), value: '' }
        : { name: urlDecode(field.slice(0, mark)), value: urlDecode(field.slice(mark + 1)) }
    })
}

/** Arguments of query and body. */
export function allArguments(inspected: Inspected, run: Run): readonly Part[] {
  const more = bodyArguments(inspected, run)
  return more.length === 0 ? inspected.query : [...inspected.query, ...more]
}

/** Bytes of all names and values of arguments. */
export function argumentsSize(inspected: Inspected, run: Run): string {
  return String(
    allArguments(inspected, run).reduce((sum, { name, value }) => sum + name.length + value.length, 0),
  )
}

/** The request target without scheme and host, and without a fragment. */
export function requestUri({ facts: { target } }: Inspected): string {
  const rest = /^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/?#]*(.*)$/s.exec(target)?.[1] ?? target
  const mark = rest.indexOf('#')
  return mark < 0 ? rest : rest.slice(0, mark)
}

/** The path of the target, its percent escapes decoded once. */
export function fileName(inspected: Inspected): string {
  const uri = requestUri(inspected)
  const mark = uri.indexOf('?')
  const path = mark < 0 ? uri : uri.slice(0, mark)
  return path.includes('%') ? urlDecode(path.replaceAll('+', '%2b')) : path
}

/** What follows the last slash or backslash of the path. */
export function baseName(inspected: Inspected): string {
  const path = fileName(inspected)
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
}

/** `HTTP/1.1` or what the request line says. */
export function protocolOf({ facts }: Inspected): string {
  return `HTTP/${facts.httpVersion ?? '1.1'}`
}

/** The request line; its parts are kept apart by one space. */
export function requestLine(inspected: Inspected): string {
  const { method, target } = inspected.facts
  return `${method} ${target} ${protocolOf(inspected)}`
}

/** Which processor reads the body: what a control rule says, or by the content type. */
export function bodyProcessor({ facts }: Inspected, run: Run): string {
  const chosen = run.tx.get(PROCESSOR)
  if (chosen !== undefined) return chosen
  const type = (facts.headers.get('content-type') ?? '').toLowerCase().trim()
  if (type.startsWith('application/x-www-form-urlencoded')) return 'URLENCODED'
  if (type.startsWith('multipart/form-data')) return 'MULTIPART'
  if (/^(?:application(?:\/soap\+|\/)|text\/)xml/.test(type)) return 'XML'
  if (/^application\/(?:json|[a-z0-9.-]+\+json)/.test(type)) return 'JSON'
  return ''
}

/** The body as rules that look at all of it see it: not when it was read as multipart, XML or JSON, whose parts they see. */
export function requestBody(inspected: Inspected, run: Run): string | null {
  const { body } = inspected
  if (body === null) return null
  const processor = bodyProcessor(inspected, run)
  return processor === '' || processor === 'URLENCODED' ? body.text : null
}

const BROKEN: ReadonlySet<BodyProblem> = new Set<BodyProblem>([
  'coding-unknown',
  'coding-broken',
  'coding-ratio',
  'coding-layers',
  'form-count',
  'multipart-broken',
  'multipart-count',
  'multipart-header',
  'json-broken',
  'json-depth',
  'json-count',
  'xml-broken',
  'xml-depth',
  'xml-count',
])

/** Problems that mean that the body could not be read. */
export function brokenness({ body }: Inspected): readonly BodyProblem[] {
  return body === null ? [] : body.problems.filter(problem => BROKEN.has(problem))
}

/** `1` when the body has one of the problems, `0` otherwise. */
export function problemFlag(field: string, ...problems: readonly BodyProblem[]): Reader {
  return single(field, ({ body }) =>
    body !== null && body.problems.some(problem => problems.includes(problem)) ? '1' : '0',
  )
}

/** `1` when a percent escape of the query or of a form is none. */
export function encodingError({ facts, body }: Inspected): string {
  const isBroken = (text: string): boolean => /%(?![0-9a-fA-F]{2})/.test(text)
  return isBroken(facts.query) || (body?.kind === 'form' && isBroken(body.text)) ? '1' : '0'
}

/** Cookies by name: a value reaches to the next semicolon and is not decoded. */
export function cookies(inspected: Inspected): readonly Part[] {
  return inspected.cookies
}
