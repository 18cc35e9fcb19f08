// Names of the gate's own fields for variables of the ModSecurity language: hits show them, and exceptions name them.
import { argumentName } from '../fields/args.ts'
import { readField } from '../fields/field.ts'
import type { Selector } from '../rule.ts'

/** A variable, or some of its members, that a rule does not look at. */
export type RemovedVariable = { readonly collection: string; readonly only: Selector | null }

const ARGUMENTS = ['ARGS', 'ARGS_GET', 'ARGS_POST']
const ARGUMENT_NAMES = ['ARGS_NAMES', 'ARGS_GET_NAMES', 'ARGS_POST_NAMES']
const XML_TEXTS = 'XML:/*'

/** Variables that stand for one field as a whole. */
const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  'args.names': ARGUMENT_NAMES,
  'cookies.names': ['REQUEST_COOKIES_NAMES'],
  'headers.names': ['REQUEST_HEADERS_NAMES'],
  path: ['REQUEST_FILENAME', 'REQUEST_BASENAME'],
  'target.raw': ['REQUEST_URI', 'REQUEST_URI_RAW', 'REQUEST_LINE'],
  query: ['QUERY_STRING'],
  method: ['REQUEST_METHOD'],
  protocol: ['REQUEST_PROTOCOL'],
  host: ['SERVER_NAME'],
  body: ['REQUEST_BODY'],
  'body.size': [
    'REQUEST_BODY_LENGTH',
    'FULL_REQUEST_LENGTH',
    'ARGS_COMBINED_SIZE',
    'FILES_COMBINED_SIZE',
    'FILES_SIZES',
  ],
  'body.problems': [
    'REQBODY_ERROR',
    'REQBODY_ERROR_MSG',
    'REQBODY_PROCESSOR_ERROR',
    'INBOUND_DATA_ERROR',
    'MULTIPART_STRICT_ERROR',
    'MULTIPART_UNMATCHED_BOUNDARY',
    'MULTIPART_CRLF_LF_LINES',
    'MULTIPART_BOUNDARY_QUOTED',
    'MULTIPART_BOUNDARY_WHITESPACE',
    'MULTIPART_DATA_BEFORE',
    'MULTIPART_DATA_AFTER',
    'MULTIPART_HEADER_FOLDING',
    'MULTIPART_LF_LINE',
    'MULTIPART_MISSING_SEMICOLON',
    'MULTIPART_INVALID_PART',
    'MULTIPART_SEMICOLON_MISSING',
    'MULTIPART_INVALID_HEADER_FOLDING',
    'MULTIPART_INVALID_QUOTING',
    'MULTIPART_FILE_LIMIT_EXCEEDED',
  ],
  'files.names': ['FILES', 'MULTIPART_FILENAME'],
  'files.fields': ['FILES_NAMES', 'MULTIPART_NAME'],
  'files.headers': ['MULTIPART_PART_HEADERS'],
  'files.heads': ['FILES_TMP_CONTENT'],
  'xml.attributes': ['XML://@*'],
}

const FIELD_OF = new Map(
  Object.entries(VARIABLES).flatMap(([field, variables]) => variables.map(variable => [variable, field])),
)

/** Families with members: the variables with their values and with their names. */
const FAMILIES: Readonly<
  Record<string, { readonly values: readonly string[]; readonly names: readonly string[] }>
> = {
  args: { values: ARGUMENTS, names: ARGUMENT_NAMES },
  cookies: { values: ['REQUEST_COOKIES'], names: ['REQUEST_COOKIES_NAMES'] },
  headers: { values: ['REQUEST_HEADERS'], names: ['REQUEST_HEADERS_NAMES'] },
  xml: { values: [XML_TEXTS], names: [] },
}

/** What members of variables are called as fields. */
const PREFIXES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(ARGUMENTS.map(variable => [variable, 'args'])),
  REQUEST_COOKIES: 'cookies',
  REQUEST_HEADERS: 'header',
  XML: 'xml',
}

/**
 * The field of the gate's own that a variable stands for: `args.condition` for `ARGS:condition` and `ARGS:json.condition`.
 * What no field stands for keeps its name, and is `request` when it is no part of a request but what rules counted.
 */
export function fieldOfVariable(variable: string): string {
  const mark = variable.indexOf(':')
  const name = mark < 0 ? variable : variable.slice(0, mark)
  const member = mark < 0 ? '' : variable.slice(mark + 1)
  if (name.startsWith('&') || name === 'TX') return 'request'
  if (name === 'XML' && member.startsWith('@')) return 'xml.attributes'
  const prefix = PREFIXES[name]
  if (prefix === undefined) return FIELD_OF.get(name) ?? name
  const own = prefix === 'args' ? nameOfArgument(member) : member.toLowerCase()
  return own === '' ? (prefix === 'header' ? 'headers' : prefix) : `${prefix}.${own}`
}

/** Members of JSON stand under `json.`, and its only value is `json`. */
function nameOfArgument(member: string): string {
  if (member === 'json') return ''
  return argumentName(member.startsWith('json.') ? member.slice('json.'.length) : member)
}

/** The variables that a field of an exception stands for; none for a field that imported rules know nothing of. */
export function variablesOf(text: string): readonly RemovedVariable[] {
  const plain = text.endsWith('.raw') && text !== 'target.raw' ? text.slice(0, -'.raw'.length) : text
  const whole = VARIABLES[plain]
  if (whole !== undefined) return whole.map(collection => ({ collection, only: null }))
  if (plain === 'content-type') return membersOf(['REQUEST_HEADERS'], plain, false)
  const field = readField(plain)
  const family = field === undefined ? undefined : FAMILIES[field.family]
  if (field === undefined || family === undefined) return []
  const all = [...family.values, ...family.names]
  if (plain === field.family) return all.map(collection => ({ collection, only: null }))
  // `args.base64.x` is a value that the gate decodes, and no variable.
  if (field.name === null || plain.startsWith('args.base64')) return []
  return membersOf(all, field.name, field.family === 'args')
}

/** The same names as in the gate's own fields: a leaf of JSON is known by its path of keys and by its own key. */
function membersOf(
  collections: readonly string[],
  name: string,
  isArgument: boolean,
): readonly RemovedVariable[] {
  const leaf = `.${name}`
  const only: Selector = member => {
    if (!isArgument) return member.toLowerCase() === name
    const own = argumentName(member)
    return own === name || own.endsWith(leaf)
  }
  return collections.map(collection => ({ collection, only }))
}
