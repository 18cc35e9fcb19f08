// Builds the bytes that a test sends, and reads them back into facts without any of the strictness of the gate's own parser.
import type { RequestFacts } from '../../src/policy/facts.ts'
import type { StageInput } from './official-tests.ts'

/** A request as sent; one character per byte. */
export type RawRequest = {
  readonly line: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

/** The request of a stage. Headers that a body needs are added as the official runner does. */
export function rawRequest(input: StageInput): RawRequest {
  if (input.encoded !== null) return splitRequest(input.encoded)
  const headers = [...input.headers]
  const has = (name: string): boolean => headers.some(([other]) => other.toLowerCase() === name)
  let body = input.data ?? ''
  if (input.autocomplete) {
    if (body !== '') {
      if (!has('content-type')) headers.push(['Content-Type', 'application/x-www-form-urlencoded'])
      const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? ''
      if (type === 'application/x-www-form-urlencoded') body = encodedForm(body)
    }
    const announces = body !== '' || ['POST', 'PUT', 'PATCH'].includes(input.method)
    if (announces && !has('content-length') && !has('transfer-encoding')) {
      headers.push(['Content-Length', String(body.length)])
    }
    if (!has('connection')) headers.push(['Connection', 'close'])
  }
  return {
    line: `${input.method} ${input.uri} ${input.version}`.replaceAll(/[^\0-\xff]/g, utf8),
    headers,
    body,
  }
}

const utf8 = (character: string): string => Buffer.from(character, 'utf8').toString('latin1')

// The official runner encodes forms that are written without any escape.
function encodedForm(data: string): string {
  if (data.includes('%') || data.includes('+') || data.includes(';')) return data
  const encode = (text: string): string =>
    text.replaceAll(/[^A-Za-z0-9_.~-]/g, character =>
      character === ' ' ? '+' : `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
    )
  return data
    .split('&')
    .filter(field => field !== '')
    .map(field => {
      const mark = field.indexOf('=')
      return mark < 0
        ? `${encode(field)}=`
        : `${encode(field.slice(0, mark))}=${encode(field.slice(mark + 1))}`
    })
    .join('&')
}

function splitRequest(text: string): RawRequest {
  const end = /\r?\n\r?\n/.exec(text)
  const head = end === null ? text : text.slice(0, end.index)
  const [line = '', ...rest] = head.split(/\r?\n/)
  const headers = rest
    .filter(field => field !== '')
    .map(field => {
      const mark = field.indexOf(':')
      return mark < 0
        ? ([field, ''] as const)
        : ([field.slice(0, mark), field.slice(mark + 1).trim()] as const)
    })
  const body = end === null ? '' : text.slice(end.index + end[0].length)
  const isChunked = headers.some(
    ([name, value]) => /^transfer-encoding$/i.test(name) && /chunked/i.test(value),
  )
  return { line, headers, body: isChunked ? unchunked(body) : body }
}

function unchunked(body: string): string {
  let out = ''
  let at = 0
  while (at < body.length) {
    const head = /^([0-9a-fA-F]+)[^\r\n]*\r?\n/.exec(body.slice(at))
    if (head === null) break
    const size = Number.parseInt(head[1] ?? '0', 16)
    if (size === 0) break
    at += head[0].length
    out += body.slice(at, at + size)
    at += size + 2
  }
  return out
}

/** What a server reads as the body: nothing when no header announces one. */
export function announcedBody({ headers, body }: RawRequest): string {
  const value = (name: string): string | undefined =>
    headers.find(([other]) => other.toLowerCase() === name)?.[1]
  if (value('transfer-encoding') !== undefined) return body
  const length = value('content-length')
  if (length === undefined) return ''
  return /^\d+$/.test(length) ? body.slice(0, Number(length)) : body
}

/** The bytes on the wire. */
export function wireText({ line, headers, body }: RawRequest): string {
  return `${line}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`
}

/** Facts of a request as any server would have them, however broken it is. */
export function factsOf({ line, headers }: RawRequest): RequestFacts {
  const read = /^(\S*)\s+(.*?)\s+HTTP\/(\S+)\s*$/s.exec(line)
  const [method, target, httpVersion] =
    read === null ? splitLine(line) : [read[1] ?? '', read[2] ?? '', read[3] ?? '']
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  const rest = mark < 0 ? '' : target.slice(mark + 1)
  const fragment = rest.indexOf('#')
  const raw = headers.flat()
  return {
    method,
    httpVersion,
    host: (headers.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? '')
      .toLowerCase()
      .replace(/:\d+$/, ''),
    target,
    path,
    pathFolded: path.toLowerCase(),
    query: fragment < 0 ? rest : rest.slice(0, fragment),
    headers: { raw, get: name => headers.find(([other]) => other.toLowerCase() === name)?.[1] },
    webSocket: false,
    nowMs: 1_700_000_000_000,
  }
}

function splitLine(line: string): readonly [string, string, string] {
  const [method = '', target = '', protocol = ''] = line.split(' ')
  return [method, target, protocol === '' ? '0.9' : protocol.replace(/^HTTP\//, '')]
}
