// The request grammar: what is refused and why, that segmentation never changes a result, and agreement with Node's own parser.
import { createServer, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import test from 'ava'
import * as fc from 'fast-check'
import { HeadBytes } from '../../../src/edge/http/head-bytes.ts'
import {
  findHeadEnd,
  isProblem,
  parseRequestHead,
  problemOfPartialHead,
  type HeadProblem,
  type RequestHead,
} from '../../../src/edge/http/request-head.ts'

const LIMITS = { headBytes: 4_096, headerCount: 20, targetBytes: 1_024 }
const H = 'Host: rmm.example.test'

function parse(text: string): RequestHead | HeadProblem {
  return parseRequestHead(text, LIMITS)
}

function lines(...all: readonly string[]): string {
  return `${all.join('\r\n')}\r\n\r\n`
}

const REFUSED: readonly (readonly [string, string, string])[] = [
  // Framing (RFC 9112, section 6.3; request smuggling).
  [
    'CL and TE',
    lines('POST / HTTP/1.1', H, 'Content-Length: 4', 'Transfer-Encoding: chunked'),
    'framing-invalid',
  ],
  [
    'TE and CL',
    lines('POST / HTTP/1.1', H, 'Transfer-Encoding: chunked', 'Content-Length: 4'),
    'framing-invalid',
  ],
  ['two CL', lines('POST / HTTP/1.1', H, 'Content-Length: 4', 'Content-Length: 5'), 'framing-invalid'],
  ['two equal CL', lines('POST / HTTP/1.1', H, 'Content-Length: 4', 'content-length: 4'), 'framing-invalid'],
  ['CL list', lines('POST / HTTP/1.1', H, 'Content-Length: 4, 4'), 'framing-invalid'],
  ['CL with plus', lines('POST / HTTP/1.1', H, 'Content-Length: +4'), 'framing-invalid'],
  ['CL negative', lines('POST / HTTP/1.1', H, 'Content-Length: -4'), 'framing-invalid'],
  ['CL hexadecimal', lines('POST / HTTP/1.1', H, 'Content-Length: 0x4'), 'framing-invalid'],
  ['CL with inner space', lines('POST / HTTP/1.1', H, 'Content-Length: 4 4'), 'framing-invalid'],
  ['CL empty', lines('POST / HTTP/1.1', H, 'Content-Length: '), 'framing-invalid'],
  ['CL beyond 2^53', lines('POST / HTTP/1.1', H, 'Content-Length: 9999999999999999'), 'framing-invalid'],
  ['TE gzip, chunked', lines('POST / HTTP/1.1', H, 'Transfer-Encoding: gzip, chunked'), 'framing-invalid'],
  ['TE identity', lines('POST / HTTP/1.1', H, 'Transfer-Encoding: identity'), 'framing-invalid'],
  [
    'TE chunked twice',
    lines('POST / HTTP/1.1', H, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
    'framing-invalid',
  ],
  ['TE xchunked', lines('POST / HTTP/1.1', H, 'Transfer-Encoding: xchunked'), 'framing-invalid'],
  ['TE with vertical tab', lines('POST / HTTP/1.1', H, 'Transfer-Encoding: \x0bchunked'), 'request-invalid'],
  ['TE in HTTP/1.0', lines('POST / HTTP/1.0', H, 'Transfer-Encoding: chunked'), 'framing-invalid'],
  ['space before colon', lines('POST / HTTP/1.1', H, 'Transfer-Encoding : chunked'), 'framing-invalid'],
  ['tab before colon', lines('POST / HTTP/1.1', H, 'Content-Length\t: 4'), 'framing-invalid'],
  ['folded line', lines('GET / HTTP/1.1', H, 'X: a', ' b'), 'framing-invalid'],
  ['folded first line', lines('GET / HTTP/1.1', ' X: a', H), 'framing-invalid'],
  ['bare CR in a value', lines('GET / HTTP/1.1', H, 'X: a\rY: b'), 'framing-invalid'],
  ['bare LF in a value', lines('GET / HTTP/1.1', H, 'X: a\nTransfer-Encoding: chunked'), 'framing-invalid'],
  ['bare LF after the request line', `GET / HTTP/1.1\n${H}\r\n\r\n`, 'framing-invalid'],
  ['bare CR after the request line', `GET / HTTP/1.1\r${H}\r\n\r\n`, 'framing-invalid'],
  ['header without colon', lines('GET / HTTP/1.1', H, 'Nothing'), 'framing-invalid'],
  ['two Hosts', lines('GET / HTTP/1.1', H, 'Host: other.example.test'), 'framing-invalid'],
  ['two equal Hosts', lines('GET / HTTP/1.1', H, H), 'framing-invalid'],
  ['URL and Host differ', lines('GET http://other.example.test/ HTTP/1.1', H), 'framing-invalid'],
  ['URL with user', lines('GET http://a@rmm.example.test/ HTTP/1.1', H), 'framing-invalid'],
  // Grammar.
  ['NUL in a value', lines('GET / HTTP/1.1', H, 'X: a\0b'), 'request-invalid'],
  ['DEL in a value', lines('GET / HTTP/1.1', H, 'X: a\x7fb'), 'request-invalid'],
  ['NUL in a name', lines('GET / HTTP/1.1', H, 'X\0: a'), 'request-invalid'],
  ['non-ASCII name', lines('GET / HTTP/1.1', H, 'Gr\xfc\xdfe: a'), 'request-invalid'],
  ['empty name', lines('GET / HTTP/1.1', H, ': a'), 'request-invalid'],
  ['parenthesis in a name', lines('GET / HTTP/1.1', H, 'a(b): c'), 'request-invalid'],
  ['no Host', lines('GET / HTTP/1.1', 'X: y'), 'request-invalid'],
  ['no Host in HTTP/1.0', lines('GET / HTTP/1.0'), 'request-invalid'],
  ['empty Host', lines('GET / HTTP/1.1', 'Host: '), 'request-invalid'],
  ['Host with a path', lines('GET / HTTP/1.1', 'Host: rmm.example.test/x'), 'request-invalid'],
  ['Host with user', lines('GET / HTTP/1.1', 'Host: a@rmm.example.test'), 'request-invalid'],
  ['Host list', lines('GET / HTTP/1.1', 'Host: rmm.example.test, other'), 'request-invalid'],
  ['Host with a bad port', lines('GET / HTTP/1.1', 'Host: rmm.example.test:x'), 'request-invalid'],
  ['lower-case protocol', lines('GET / http/1.1', H), 'request-invalid'],
  ['HTTP/2.0', lines('GET / HTTP/2.0', H), 'request-invalid'],
  ['HTTP/1.2', lines('GET / HTTP/1.2', H), 'request-invalid'],
  ['HTTP/1.10', lines('GET / HTTP/1.10', H), 'request-invalid'],
  ['HTTP/0.9', lines('GET /'), 'request-invalid'],
  ['two spaces', lines('GET  / HTTP/1.1', H), 'request-invalid'],
  ['tab instead of space', lines('GET\t/ HTTP/1.1', H), 'request-invalid'],
  ['space in the target', lines('GET /a b HTTP/1.1', H), 'request-invalid'],
  ['space after the version', lines('GET / HTTP/1.1 ', H), 'request-invalid'],
  ['space before the method', lines(' GET / HTTP/1.1', H), 'request-invalid'],
  [
    'Expect of something else',
    lines('POST / HTTP/1.1', H, 'Content-Length: 1', 'Expect: cake'),
    'request-invalid',
  ],
  // Targets.
  ['raw UTF-8 in the target', lines('GET /gr\xc3\xbc\xc3\x9fe HTTP/1.1', H), 'target-invalid'],
  ['fragment', lines('GET /a#b HTTP/1.1', H), 'target-invalid'],
  ['authority-form', lines('GET rmm.example.test:443 HTTP/1.1', H), 'target-invalid'],
  ['relative target', lines('GET a/b HTTP/1.1', H), 'target-invalid'],
  ['other scheme', lines('GET ftp://rmm.example.test/ HTTP/1.1', H), 'target-invalid'],
  ['* with GET', lines('GET * HTTP/1.1', H), 'target-invalid'],
  ['CONNECT', lines('CONNECT rmm.example.test:443 HTTP/1.1', H), 'method-refused'],
  ['TRACE', lines('TRACE / HTTP/1.1', H), 'method-refused'],
  ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\n', 'request-invalid'],
  // Limits.
  ['target too long', lines(`GET /${'a'.repeat(1_100)} HTTP/1.1`, H), 'head-too-large'],
  ['head too long', lines('GET / HTTP/1.1', H, `X: ${'a'.repeat(4_096)}`), 'head-too-large'],
  [
    'too many headers',
    lines('GET / HTTP/1.1', H, ...Array.from({ length: 20 }, (_, i) => `X${i}: y`)),
    'head-too-large',
  ],
]

test('every ambiguous or invalid head is refused for its reason', t => {
  for (const [what, text, reason] of REFUSED) {
    const outcome = parse(text)
    t.is(isProblem(outcome) ? outcome.reason : 'accepted', reason, what)
  }
})

test('what a valid head says is read', t => {
  t.like(parse(lines('GET /a?b=c HTTP/1.1', 'hOST: RMM.Example.Test:8443', 'X:  y  ', 'Empty:')), {
    method: 'GET',
    target: '/a?b=c',
    minor: 1,
    hostField: 'rmm.example.test:8443',
    host: 'rmm.example.test',
    headers: ['hOST', 'RMM.Example.Test:8443', 'X', 'y', 'Empty', ''],
    framing: { kind: 'none' },
    keepAlive: true,
    webSocket: false,
  })
  t.like(parse(lines('GET https://RMM.example.test/a HTTP/1.1', H)), { target: '/a' })
  t.like(parse(lines('GET http://rmm.example.test HTTP/1.1', H)), { target: '/' })
  t.like(parse(lines('OPTIONS * HTTP/1.1', H)), { target: '*' })
  t.like(parse(lines('GET / HTTP/1.1', 'Host: [2001:db8::1]:443')), { host: '[2001:db8::1]' })
  t.like(parse(lines('GET / HTTP/1.1', 'Host: rmm.example.test.')), { host: 'rmm.example.test' })
  t.like(parse(lines('POST / HTTP/1.1', H, 'Content-Length: 12')), { framing: { kind: 'length', bytes: 12 } })
  t.like(parse(lines('POST / HTTP/1.1', H, 'Content-Length: 0')), { framing: { kind: 'length', bytes: 0 } })
  t.like(parse(lines('POST / HTTP/1.1', H, 'Transfer-Encoding: Chunked')), { framing: { kind: 'chunked' } })
  t.like(parse(lines('GET / HTTP/1.1', H, 'Connection: Foo, Close')), { keepAlive: false })
  t.like(parse(lines('GET / HTTP/1.0', H, 'Connection: keep-alive')), { keepAlive: false, minor: 0 })
  t.like(parse(lines('GET / HTTP/1.1', H, 'Upgrade: websocket', 'Connection: keep-alive, Upgrade')), {
    webSocket: true,
    connectionUpgrade: true,
  })
})

test('a head that can never become valid is refused before it is complete', t => {
  const partial = (text: string): string | undefined => {
    const bytes = Buffer.from(text, 'latin1')
    return problemOfPartialHead(bytes, 0, bytes.length, LIMITS)?.reason
  }
  t.is(partial('GET / HTTP/1.1\nHost: x\n\n'), 'framing-invalid')
  t.is(partial('\x16\x03\x01\x02\x00\x01'), 'request-invalid')
  t.is(partial('a'.repeat(4_096)), 'head-too-large')
  t.is(partial('GET / HTTP/1.1\r\nHost: x\r\n'), undefined)
})

const TOKEN_CHARS = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
const token = fc.string({ unit: fc.constantFrom(...TOKEN_CHARS.split('')), minLength: 1, maxLength: 12 })
const value = fc
  .string({
    unit: fc
      .integer({ min: 0x20, max: 0xff })
      .filter(code => code !== 0x7f)
      .map(code => String.fromCharCode(code)),
    maxLength: 20,
  })
  .map(text => text.replace(/^[ \t]+|[ \t]+$/g, ''))
const RESERVED =
  /^(?:host|content-length|transfer-encoding|connection|upgrade|expect|keep-alive|proxy-connection|trailer)$/i
const header = fc.tuple(
  token.filter(name => !RESERVED.test(name)),
  value,
)
const path = fc
  .string({ unit: fc.constantFrom(...'abcXYZ019/-_.~%?&=+;:@!$(),*'.split('')), maxLength: 30 })
  .map(text => `/${text}`)
const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND')

test('property: any valid request in any segmentation parses to the same head', t => {
  const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 12 })
  fc.assert(
    fc.property(method, path, fc.array(header, { maxLength: 8 }), cuts, (verb, target, headers, at) => {
      const text = lines(
        `${verb} ${target} HTTP/1.1`,
        H,
        ...headers.map(([name, content]) => `${name}: ${content}`),
      )
      const whole = parse(text)
      t.false(isProblem(whole), JSON.stringify(whole))
      const bytes = Buffer.from(`${text}next`, 'latin1')
      const points = [...new Set([0, ...at.filter(point => point < bytes.length), bytes.length])].sort(
        (a, b) => a - b,
      )
      let held: HeadBytes | null = null
      let parsed: RequestHead | HeadProblem | null = null
      for (const [index, end] of points.slice(1).entries()) {
        const chunk = bytes.subarray(points[index], end)
        if (held === null) held = new HeadBytes(chunk)
        else held.append(chunk)
        const headEnd = findHeadEnd(held.bytes, held.searchFrom(), held.end)
        if (headEnd < 0) {
          t.is(problemOfPartialHead(held.bytes, held.start, held.end, LIMITS), undefined)
          held.searched()
          continue
        }
        parsed ??= parse(held.bytes.toString('latin1', held.start, headEnd))
      }
      t.deepEqual(parsed, whole)
    }),
    { numRuns: 300 },
  )
})

test('fuzz: random bytes and mutated requests never throw', t => {
  const noise = fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes).toString('latin1'))
  const mutated = fc.tuple(noise, fc.nat(200)).map(([dirt, at]) => {
    const text = lines('POST /a HTTP/1.1', H, 'Content-Length: 4', 'Connection: close', 'X: y')
    return text.slice(0, at % text.length) + dirt.slice(0, 3) + text.slice(at % text.length)
  })
  fc.assert(
    fc.property(fc.oneof(noise, mutated), text => {
      parse(`${text}\r\n\r\n`)
      const bytes = Buffer.from(text, 'latin1')
      problemOfPartialHead(bytes, 0, bytes.length, LIMITS)
    }),
    { numRuns: 3_000 },
  )
  t.pass()
})

test('differential: what we accept, the strict parser of Node accepts and reads the same way', async t => {
  const samples = fc.sample(
    fc.record({
      verb: fc.oneof(
        { weight: 4, arbitrary: method },
        { weight: 1, arbitrary: fc.constantFrom('TRACE', 'get', 'BITS_POST', 'CONNECT') },
      ),
      target: fc.oneof(
        { weight: 4, arbitrary: path },
        { weight: 1, arbitrary: fc.constantFrom('*', 'http://rmm.example.test/u', 'x', '/#f', '/\x80') },
      ),
      version: fc.oneof(
        { weight: 6, arbitrary: fc.constant('HTTP/1.1') },
        { weight: 1, arbitrary: fc.constantFrom('HTTP/1.0', 'HTTP/1.2', 'HTTP/2.0', 'http/1.1') },
      ),
      headers: fc.array(header, { maxLength: 4 }),
      special: fc.subarray(
        [
          'Content-Length: 3',
          'Content-Length: 3',
          'Content-Length: +3',
          'Content-Length : 3',
          'Transfer-Encoding: chunked',
          'Transfer-Encoding: gzip, chunked',
          ' folded',
          'X: a\x01b',
          'X: a\rb',
          'X: a\nb',
          'Bad Name: x',
          'Host: two.example.test',
          'Connection: close',
        ],
        { maxLength: 2 },
      ),
    }),
    { numRuns: 400, seed: 7 },
  )
  const results = await readWithNode(
    samples.map(({ verb, target, version, headers, special }) =>
      lines(
        `${verb} ${target} ${version}`,
        H,
        ...headers.map(([name, content]) => `${name}: ${content}`),
        ...special,
      ),
    ),
  )
  let accepted = 0
  let refusedByUsOnly = 0
  for (const { text, node } of results) {
    const ours = parse(text)
    if (isProblem(ours)) {
      if (node !== null) refusedByUsOnly++
      continue
    }
    accepted++
    // Node knows a closed list of methods; ours pass the parser and meet the policy's list.
    if (node === null && /^(?:get|BITS_POST) /.test(text)) continue
    t.truthy(node, JSON.stringify(text))
    t.is(node?.method, ours.method)
    t.is(node?.url?.replace(/^http:\/\/[^/]+/, ''), ours.target)
    t.deepEqual(node?.rawHeaders, ours.headers)
    t.is(node?.headers['transfer-encoding'] === 'chunked', ours.framing.kind === 'chunked')
  }
  t.true(accepted > 100)
  t.true(refusedByUsOnly > 0)
})

type NodeReading = { readonly text: string; readonly node: IncomingMessage | null }

/** Sends each head on its own connection to a Node server and notes what it made of it. */
async function readWithNode(texts: readonly string[]): Promise<NodeReading[]> {
  const server = createServer({ insecureHTTPParser: false, requireHostHeader: true })
  let seen: IncomingMessage | null = null
  server.on('request', (request, response) => {
    seen = request
    response.writeHead(200, { connection: 'close' }).end()
  })
  server.on('connect', (_request, socket) => socket.destroy())
  server.on('clientError', (_error, socket) => socket.destroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const readings: NodeReading[] = []
  for (const text of texts) {
    seen = null
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.resume()
    socket.end(Buffer.from(text, 'latin1'))
    await once(socket, 'close')
    readings.push({ text, node: seen })
  }
  server.close()
  return readings
}
