// Takes a request apart for the engine: query and cookies of the head, then the body.
import type { RequestFacts } from '../policy/facts.ts'
import { base64Text, bodyText, formValues, jsonValues, multipartValues, type NamedValue } from './body.ts'
import type { BodyKind, BodyParts, Inspected, MessageFacts, Part } from './parts/inspected.ts'

/** The head of a request. */
export function inspectHead(facts: RequestFacts): Inspected {
  return { facts, query: formParts(facts.query), cookies: cookieParts(facts), body: null, message: null }
}

/** The same request with its body. */
export function inspectBody(head: Inspected, body: Uint8Array, complete: boolean): Inspected {
  const types = contentTypes(head.facts)
  const text = bodyText(body)
  const args: NamedValue[] = []
  const multipart = types.find(isMultipart)
  const parts = multipart === undefined ? null : multipartValues(text, multipart)
  if (parts !== null) args.push(...parts.values)
  const isForm = types.some(type => /^application\/x-www-form-urlencoded/i.test(type))
  if (isForm) args.push(...formValues(text))
  // Servers that parse JSON often do not ask what the content type says.
  const isJson =
    types.some(type => type.includes('json')) || (args.length === 0 && /^\s{0,64}[{[]/.test(text))
  if (isJson) args.push(...jsonValues(text))
  const base64 = base64Text(text)
  const kind: BodyKind = parts !== null ? 'multipart' : isForm ? 'form' : isJson ? 'json' : 'text'
  const read: BodyParts = {
    kind,
    text,
    args,
    files: (parts?.files ?? []).map(fileName => ({ field: '', fileName, headers: [], head: '', bytes: 0 })),
    partHeaders: [],
    xmlTexts: [],
    xmlAttributes: [],
    xmlDoctype: null,
    archiveEntries: [],
    base64: base64 === '' ? [] : [{ name: '', value: base64 }],
    problems: complete ? [] : ['cut-off'],
    complete,
  }
  return { ...head, body: read }
}

/** The upgrade request with a message of the client. */
export function inspectMessage(head: Inspected, message: MessageFacts): Inspected {
  return { ...head, message }
}

const NOBODY: RequestFacts = {
  method: '',
  host: '',
  target: '/',
  path: '/',
  pathFolded: '/',
  query: '',
  headers: { get: () => undefined, raw: [] },
  webSocket: false,
  nowMs: 0,
}

/** Before any request: all there is to see is the ClientHello. */
export const INSPECTED_HELLO: Inspected = {
  facts: NOBODY,
  query: [],
  cookies: [],
  body: null,
  message: null,
}

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

const MAX_PARTS = 1000

function formParts(text: string): readonly Part[] {
  const parts: Part[] = []
  for (let at = 0; at < text.length;) {
    let end = text.indexOf('&', at)
    if (end < 0 || parts.length === MAX_PARTS) end = text.length
    if (end > at) {
      const pair = text.slice(at, end)
      const equals = pair.indexOf('=')
      parts.push({
        name: decodeOnce(equals < 0 ? pair : pair.slice(0, equals)),
        value: equals < 0 ? '' : decodeOnce(pair.slice(equals + 1)),
      })
    }
    at = end + 1
  }
  return parts
}

function decodeOnce(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  if (!spaced.includes('%')) return spaced
  return spaced.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

function cookieParts({ headers }: RequestFacts): readonly Part[] {
  if (headers.get('cookie') === undefined) return []
  const parts: Part[] = []
  const { raw } = headers
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if ((raw[at] ?? '').toLowerCase() !== 'cookie') continue
    for (const pair of (raw[at + 1] ?? '').split(';')) {
      const equals = pair.indexOf('=')
      parts.push({
        name: equals < 0 ? '' : pair.slice(0, equals).trim(),
        value: pair.slice(equals + 1).trim(),
      })
    }
  }
  return parts
}
