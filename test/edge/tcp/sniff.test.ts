// The first bytes of mixed listeners as properties: any bytes are decided in bounds, and more of them never change a decision.
import test from 'ava'
import * as fc from 'fast-check'
import { sniff, sniffAtEnd, SNIFF_BYTES } from '../../../src/edge/tcp/sniff.ts'
import { service } from './harness.ts'

const SEED = { seed: 4_711, numRuns: 400 }
const services = [service([], { start: 'bytes', signatures: [Buffer.from('SSH-2.0-'), Buffer.from([3, 0])] })]
const begins = fc.constantFrom(
  'GET / HTTP/1.1\r\n',
  'POST http://203.0.113.7/fakeurl.htm HTTP/1.1\r\n',
  'POST /',
  'SSH-2.0-x',
  '\x16\x03\x01',
  '\x80\x2e\x01\x03',
  '\x03\x00',
  'PO',
  '',
)
const bytes = fc
  .tuple(begins, fc.uint8Array({ maxLength: 700 }))
  .map(([text, rest]) => Buffer.concat([Buffer.from(text, 'latin1'), rest]))

test('property: a decision does not depend on how the bytes are cut, and never changes when more come', t => {
  fc.assert(
    fc.property(bytes, fc.nat({ max: 800 }), (whole, cut) => {
      const early = sniff(whole.subarray(0, cut), services)
      if (early.kind !== 'incomplete') t.deepEqual(early.kind, sniff(whole, services).kind)
    }),
    SEED,
  )
  t.pass()
})

test('property: after the bound everything is decided, and nothing throws', t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: SNIFF_BYTES, maxLength: 2_000 }), bytes, (noise, some) => {
      t.not(sniff(Buffer.concat([some, noise]), services).kind, 'incomplete')
      t.true(['tls', 'http', 'binary'].includes(sniffAtEnd(noise.subarray(0, 5))))
    }),
    SEED,
  )
})

test('property: every request line of HTTP is HTTP, NetSupport’s only with its page, and every TLS record is TLS', t => {
  const method = fc.constantFrom('GET', 'HEAD', 'PUT', 'OPTIONS', 'DELETE', 'PATCH', 'POST')
  const path = fc.stringMatching(/^\/[a-z0-9/._-]{0,40}$/)
  fc.assert(
    fc.property(method, path, fc.uint8Array({ maxLength: 40 }), (word, target, rest) => {
      const line = Buffer.from(`${word} ${target} HTTP/1.1\r\n`)
      t.is(sniff(line, services).kind, word === 'POST' && target === '/fakeurl.htm' ? 'netsupport' : 'http')
      t.is(sniff(Buffer.concat([Buffer.from([22, 3]), rest]), services).kind, 'tls')
    }),
    SEED,
  )
  t.is(sniff(Buffer.from('POST http://1.2.3.4/fakeurl.htm HTTP/1.1\r\n'), []).kind, 'netsupport')
  t.is(sniff(Buffer.from('GET http://1.2.3.4/fakeurl.htm HTTP/1.1\r\n'), []).kind, 'http')
})
