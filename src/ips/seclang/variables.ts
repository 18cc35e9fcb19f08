// The variables of the ModSecurity language as collections of the internal form.
import type { Pattern, PatternFlags, PatternProblem } from '../regex/types.ts'
import type { Inspected } from '../parts/inspected.ts'
import type { Collection, FieldValue, RulePhase, Run, Selector, Target } from '../rule.ts'
import type { SecVariable } from './document.ts'
import {
  allArguments,
  argumentsSize,
  baseName,
  bodyArguments,
  bodyProcessor,
  brokenness,
  cookies,
  encodingError,
  fileName,
  headers,
  headerValues,
  names,
  problemFlag,
  protocolOf,
  queryArguments,
  requestBody,
  requestLine,
  requestUri,
  single,
  values,
  type Reader,
} from './request-values.ts'
import { isVisible, KEPT } from './state.ts'

/** Compiles a pattern of rules. */
export type CompilePattern = (source: string, flags: PatternFlags) => Pattern | PatternProblem

function collection(id: string, phase: RulePhase, read: Reader, volatile = false): Collection {
  return { id, phase, volatile, read }
}

const sourceOf = (_: Inspected, run: Run): string | null =>
  run.scope !== null && 'sourceText' in run.scope ? run.scope.sourceText : null

const head = (id: string, read: Reader): Collection => collection(id, 'head', read)
const body = (id: string, read: Reader): Collection => collection(id, 'body', read)
const state = (id: string, read: Reader): Collection => collection(id, 'head', read, true)

const files: Reader = ({ body: parts }) =>
  (parts?.files ?? []).map(({ field, fileName: value }) => ({
    field: `FILES:${field}`,
    name: field,
    value,
    secret: false,
  }))

const multipartNames: Reader = ({ body: parts }) =>
  parts?.kind !== 'multipart'
    ? []
    : [...parts.args.map(({ name }) => name), ...parts.files.map(({ field }) => field)].map(value => ({
        field: `MULTIPART_NAME:${value}`,
        name: value,
        value,
        secret: false,
      }))

const COLLECTIONS: ReadonlyMap<string, Collection> = new Map(
  [
    body('ARGS', values('ARGS', allArguments)),
    body('ARGS_NAMES', names('ARGS_NAMES', allArguments)),
    head('ARGS_GET', values('ARGS_GET', queryArguments)),
    head('ARGS_GET_NAMES', names('ARGS_GET_NAMES', queryArguments)),
    body('ARGS_POST', values('ARGS_POST', bodyArguments)),
    body('ARGS_POST_NAMES', names('ARGS_POST_NAMES', bodyArguments)),
    body('ARGS_COMBINED_SIZE', single('ARGS_COMBINED_SIZE', argumentsSize)),
    body('FILES', files),
    body('FILES_NAMES', ({ body: parts }) =>
      (parts?.files ?? []).map(({ field }) => ({
        field: `FILES_NAMES:${field}`,
        name: field,
        value: field,
        secret: false,
      })),
    ),
    body('FILES_SIZES', ({ body: parts }) =>
      (parts?.files ?? []).map(({ field, bytes }) => ({
        field: `FILES_SIZES:${field}`,
        name: field,
        value: String(bytes),
        secret: false,
      })),
    ),
    body('FILES_TMP_CONTENT', ({ body: parts }) =>
      (parts?.files ?? []).map(({ field, head: value }) => ({
        field: `FILES_TMP_CONTENT:${field}`,
        name: field,
        value,
        secret: false,
      })),
    ),
    body(
      'FILES_COMBINED_SIZE',
      single('FILES_COMBINED_SIZE', ({ body: parts }) =>
        String((parts?.files ?? []).reduce((sum, { bytes }) => sum + bytes, 0)),
      ),
    ),
    body('MULTIPART_FILENAME', (inspected, run) =>
      files(inspected, run).map(value => ({ ...value, field: `MULTIPART_FILENAME:${value.name}` })),
    ),
    body('MULTIPART_NAME', multipartNames),
    body('MULTIPART_PART_HEADERS', ({ body: parts }) =>
      (parts?.partHeaders ?? []).map(({ field, line }) => ({
        field: `MULTIPART_PART_HEADERS:${field}`,
        name: field,
        value: line,
        secret: false,
      })),
    ),
    body(
      'MULTIPART_STRICT_ERROR',
      problemFlag('MULTIPART_STRICT_ERROR', 'multipart-broken', 'multipart-header', 'multipart-count'),
    ),
    body('MULTIPART_UNMATCHED_BOUNDARY', problemFlag('MULTIPART_UNMATCHED_BOUNDARY', 'multipart-broken')),
    ...[
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
    ].map(id => body(id, problemFlag(id, 'multipart-broken'))),
    body(
      'MULTIPART_INVALID_HEADER_FOLDING',
      problemFlag('MULTIPART_INVALID_HEADER_FOLDING', 'multipart-header'),
    ),
    body('MULTIPART_INVALID_QUOTING', problemFlag('MULTIPART_INVALID_QUOTING', 'multipart-header')),
    body('MULTIPART_FILE_LIMIT_EXCEEDED', problemFlag('MULTIPART_FILE_LIMIT_EXCEEDED', 'multipart-count')),
    body('INBOUND_DATA_ERROR', problemFlag('INBOUND_DATA_ERROR', 'cut-off')),
    body(
      'REQBODY_ERROR',
      single('REQBODY_ERROR', inspected => (brokenness(inspected).length > 0 ? '1' : '0')),
    ),
    body(
      'REQBODY_ERROR_MSG',
      single('REQBODY_ERROR_MSG', inspected => brokenness(inspected).join(', ')),
    ),
    body(
      'REQBODY_PROCESSOR_ERROR',
      single('REQBODY_PROCESSOR_ERROR', inspected => (brokenness(inspected).length > 0 ? '1' : '0')),
    ),
    state('REQBODY_PROCESSOR', single('REQBODY_PROCESSOR', bodyProcessor)),
    body('REQUEST_BODY', single('REQUEST_BODY', requestBody)),
    body(
      'REQUEST_BODY_LENGTH',
      single('REQUEST_BODY_LENGTH', ({ body: parts }) => String(parts?.text.length ?? 0)),
    ),
    body(
      'FULL_REQUEST_LENGTH',
      single('FULL_REQUEST_LENGTH', inspected =>
        String(requestLine(inspected).length + (inspected.body?.text.length ?? 0)),
      ),
    ),
    head('REQUEST_HEADERS', headerValues),
    head('REQUEST_HEADERS_NAMES', names('REQUEST_HEADERS_NAMES', headers)),
    head('REQUEST_COOKIES', values('REQUEST_COOKIES', cookies, true)),
    head('REQUEST_COOKIES_NAMES', names('REQUEST_COOKIES_NAMES', cookies)),
    head(
      'REQUEST_METHOD',
      single('REQUEST_METHOD', ({ facts }) => facts.method),
    ),
    head('REQUEST_PROTOCOL', single('REQUEST_PROTOCOL', protocolOf)),
    head('REQUEST_LINE', single('REQUEST_LINE', requestLine)),
    head('REQUEST_URI', single('REQUEST_URI', requestUri)),
    head(
      'REQUEST_URI_RAW',
      single('REQUEST_URI_RAW', ({ facts }) => facts.target),
    ),
    head('REQUEST_FILENAME', single('REQUEST_FILENAME', fileName)),
    head('REQUEST_BASENAME', single('REQUEST_BASENAME', baseName)),
    head(
      'QUERY_STRING',
      single('QUERY_STRING', ({ facts }) => facts.query),
    ),
    head(
      'PATH_INFO',
      single('PATH_INFO', () => ''),
    ),
    head('REMOTE_ADDR', single('REMOTE_ADDR', sourceOf)),
    head('REMOTE_HOST', single('REMOTE_HOST', sourceOf)),
    head(
      'SERVER_NAME',
      single('SERVER_NAME', ({ facts }) => facts.host),
    ),
    head(
      'UNIQUE_ID',
      single('UNIQUE_ID', inspected => `${inspected.facts.nowMs} ${requestLine(inspected)}`),
    ),
    head(
      'DURATION',
      single('DURATION', () => '0'),
    ),
    head(
      'TIME_EPOCH',
      single('TIME_EPOCH', ({ facts }) => String(Math.floor(facts.nowMs / 1000))),
    ),
    head('URLENCODED_ERROR', single('URLENCODED_ERROR', encodingError)),
    state('MATCHED_VAR', (_, run) =>
      run.matched === null ? [] : [{ ...run.matched, field: run.matched.field, name: '' }],
    ),
    state(
      'MATCHED_VAR_NAME',
      single('MATCHED_VAR_NAME', (_, run) => run.matched?.field ?? null),
    ),
    state('MATCHED_VARS', (_, run) => run.matchedAll),
    state('MATCHED_VARS_NAMES', (_, run) =>
      run.matchedAll.map(({ field }) => ({ field, name: field, value: field, secret: false })),
    ),
    state('TX', (_, run) =>
      [...run.tx].filter(([key]) => isVisible(key)).map(([name, value]) => txValue('TX', name, value)),
    ),
  ].map(entry => [entry.id, entry] as const),
)

function txValue(variable: string, name: string, value: string): FieldValue {
  return { field: `${variable}:${name}`, name, value, secret: false }
}

/** Collections that other engines keep over requests. */
export const KEPT_COLLECTIONS: ReadonlySet<string> = new Set([
  'IP',
  'GLOBAL',
  'SESSION',
  'USER',
  'RESOURCE',
  'GEO',
])

const xmlTexts = body('XML:/*', ({ body: parts }) =>
  (parts?.xmlTexts ?? []).map(({ name, value }) => ({ field: `XML:${name}`, name, value, secret: false })),
)
const xmlAttributes = body('XML://@*', ({ body: parts }) =>
  (parts?.xmlAttributes ?? []).map(({ name, value }) => ({
    field: `XML:@${name}`,
    name,
    value,
    secret: false,
  })),
)

/** Variables of a response: the gate does not look at responses. */
const RESPONSE_VARIABLES = /^(?:RESPONSE_|OUTBOUND_|STREAM_OUTPUT|STATUS_LINE|WEBSERVER_ERROR)/

/** Key of a variable of TX or of a kept collection in the state of a run. */
export function stateKey(variable: string, member: string): string {
  const name = member.toLowerCase()
  return variable === 'TX' ? name : `${KEPT}${variable.toLowerCase()}.${name}`
}

/** The collection of a variable; a text: why there is none. */
export function collectionOf(variable: SecVariable): Collection | string {
  const { name, selector, isPattern } = variable
  if (name === 'XML') {
    if (selector === null || selector === '/*') return xmlTexts
    return selector === '//@*' ? xmlAttributes : `only XML:/* and XML://@* can be read, not XML:${selector}`
  }
  const isKept = KEPT_COLLECTIONS.has(name)
  if ((name === 'TX' || isKept) && selector !== null && !isPattern) {
    const key = stateKey(name, selector)
    return state(`${name}:${selector.toLowerCase()}`, (_, run) => {
      const value = run.tx.get(key)
      return value === undefined ? [] : [txValue(name, selector, value)]
    })
  }
  if (isKept) return `only single members of ${name} can be read`
  const known = COLLECTIONS.get(name)
  if (known !== undefined) return known
  return RESPONSE_VARIABLES.test(name)
    ? `${name} is of the response, which is not looked at`
    : `there is no variable ${name}`
}

/** A collection by its name in a macro. */
export function plainCollection(name: string): Collection | undefined {
  return COLLECTIONS.get(name)
}

/** The selector of a variable; a text: what is wrong with it. */
export function selectorOf(variable: SecVariable, compile: CompilePattern): Selector | null | string {
  const { name, selector, isPattern } = variable
  if (selector === null || name === 'XML') return null
  if (isPattern) {
    const pattern = compile(selector, { ignoreCase: true, dotAll: true })
    return 'message' in pattern ? `${selector}: ${pattern.message}` : member => pattern.test(member)
  }
  if (name === 'TX' || KEPT_COLLECTIONS.has(name)) return null
  const folded = selector.toLowerCase()
  return member => member.length === folded.length && member.toLowerCase() === folded
}

/**
 * What cannot be read of a rule's variables, and the targets that can.
 * @param selectors those made before: rules that pick the same members share what is found out about them
 */
export function targetsOf(
  variables: readonly SecVariable[],
  compile: CompilePattern,
  selectors: Map<string, Selector | null | string>,
): { readonly targets: readonly Target[]; readonly problems: readonly string[] } {
  const selecting = (variable: SecVariable): Selector | null | string => {
    const key = `${variable.name} ${variable.isPattern} ${variable.selector ?? ''}`
    let known = variable.selector === null ? null : selectors.get(key)
    if (known === undefined) selectors.set(key, (known = selectorOf(variable, compile)))
    return known
  }
  const problems: string[] = []
  const targets: (Target & { except: Selector[] })[] = []
  for (const variable of variables) {
    if (variable.kind === 'exclude') continue
    const from = collectionOf(variable)
    const only = selecting(variable)
    if (typeof from === 'string') problems.push(from)
    else if (typeof only === 'string') problems.push(only)
    else targets.push({ collection: from, only, except: [], count: variable.kind === 'count' })
  }
  for (const variable of variables) {
    if (variable.kind !== 'exclude') continue
    const from = collectionOf(variable)
    const only = selecting(variable)
    if (typeof from === 'string') problems.push(from)
    else if (typeof only === 'string') problems.push(only)
    else {
      for (const target of targets) {
        if (target.collection.id === from.id) target.except.push(only ?? (() => true))
      }
    }
  }
  return { targets, problems }
}
