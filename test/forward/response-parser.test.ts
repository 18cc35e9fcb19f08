// Properties of the response parser: how bytes are cut never matters, and no bytes make it throw or loop.
import test from 'ava'
import * as fc from 'fast-check'
import { ResponseParser, type ResponseSink } from '../../src/forward/response-parser.ts'

type Told = { events: string[]; body: string }

function parse(
  chunks: readonly Buffer[],
  toHead = false,
): Told & { problem: string | null; end: string | null } {
  const told: Told = { events: [], body: '' }
  const sink: ResponseSink = {
    onInterim: status => told.events.push(`interim ${status}`),
    onHead: head => told.events.push(`head ${head.status} ${head.contentLength} ${head.headers.join('|')}`),
    onBody: chunk => (told.body += chunk.toString('latin1')),
    onTrailers: trailers => told.events.push(`trailers ${trailers.join('|')}`),
    onComplete: reusable => told.events.push(`complete ${reusable}`),
    onSwitch: () => told.events.push('switch'),
  }
  const parser = new ResponseParser(sink, { maxHeadBytes: 4096, maxHeaders: 32 })
  parser.begin(toHead, false)
  for (const chunk of chunks) {
    const problem = parser.execute(chunk)
    if (problem !== null) return { ...told, problem, end: null }
  }
  return { ...told, problem: null, end: parser.finish() }
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map(place => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length))
}

const bodies = fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 40 }), { maxLength: 6 })
const places = fc.array(fc.nat(5000), { maxLength: 30 })

test('property: a valid response reads the same however it is cut', t => {
  fc.assert(
    fc.property(bodies, places, fc.boolean(), fc.boolean(), (parts, cuts, chunked, trailer) => {
      const body = parts.join('')
      const framed = parts.map(part => `${part.length.toString(16)}\r\n${part}\r\n`).join('')
      const text = chunked
        ? `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n${framed}0\r\n${trailer ? 'T: u\r\n' : ''}\r\n`
        : `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      const told = parse(cut(Buffer.from(text, 'latin1'), cuts).filter(chunk => chunk.length > 0))
      t.is(told.problem, null)
      t.is(told.end, null)
      t.is(told.body, body)
      t.is(told.events.at(-1), 'complete true')
      t.is(told.events.filter(event => event.startsWith('head')).length, 1)
      t.is(told.events.includes('trailers T|u'), chunked && trailer)
    }),
    { numRuns: 500 },
  )
})

test('property: what is short of a whole response is never complete', t => {
  const text = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'
  for (let length = 0; length < text.length; length++) {
    const told = parse([Buffer.from(text.slice(0, length))].filter(chunk => chunk.length > 0))
    t.not(told.end, null, String(length))
    t.false(told.events.some(event => event.startsWith('complete')))
  }
})

test('property: a damaged response ends in a problem or in events, never in an exception', t => {
  const text = 'HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n'
  const damage = fc.array(fc.tuple(fc.nat(text.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(damage, places, (changes, cuts) => {
      const bytes = Buffer.from(text, 'latin1')
      for (const [at, value] of changes) bytes[at] = value
      const told = parse(cut(bytes, cuts).filter(chunk => chunk.length > 0))
      t.true(told.events.filter(event => event.startsWith('complete')).length <= 1)
      for (const event of told.events) t.false(/[\0\r\n]/.test(event))
    }),
    { numRuns: 2_000 },
  )
})

test('property: arbitrary bytes are a problem or an unfinished head', t => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 40 }), chunks => {
      const told = parse(chunks.map(chunk => Buffer.from(chunk)))
      t.true(told.problem !== null || told.end !== null)
      t.deepEqual(told.events, [])
    }),
  )
})
