// PROXY protocol headers, versions 1 and 2: strict, bounded, and the same in every segmentation.
import test from 'ava'
import * as fc from 'fast-check'
import { MAX_PROXY_HEADER_BYTES, readProxyHeader, type ProxyRead } from '../../src/edge/proxy-protocol.ts'

const START = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
const text = (line: string): ProxyRead => readProxyHeader(Buffer.from(line, 'latin1'))

function v2(command: number, family: number, body: readonly number[]): Buffer {
  return Buffer.from([...START, command, family, body.length >> 8, body.length & 255, ...body])
}

const v4Body = [203, 0, 113, 7, 192, 0, 2, 1, 0xd4, 0x31, 0x01, 0xbb]

test('version 1 names the client', t => {
  const line = 'PROXY TCP4 203.0.113.7 192.0.2.1 54321 443\r\n'
  t.like(text(line + 'more'), {
    kind: 'header',
    bytes: line.length,
    source: { address: { text: '203.0.113.7' }, port: 54321 },
  })
  t.like(text('PROXY TCP6 2001:DB8::7 2001:db8::1 1 443\r\n'), {
    source: { address: { text: '2001:db8::7' } },
  })
  t.like(text('PROXY TCP6 ::ffff:203.0.113.7 ::1 1 443\r\n'), {
    source: { address: { family: 4, text: '203.0.113.7' } },
  })
  t.like(text('PROXY UNKNOWN\r\n'), { kind: 'header', source: null, bytes: 15 })
  t.like(text('PROXY UNKNOWN whatever it says\r\n'), { kind: 'header', source: null })
})

test('version 2 names the client, TLVs are passed over', t => {
  t.like(readProxyHeader(v2(0x21, 0x11, v4Body)), {
    kind: 'header',
    bytes: 28,
    source: { address: { text: '203.0.113.7' }, port: 54321 },
  })
  t.like(readProxyHeader(v2(0x21, 0x11, [...v4Body, 4, 0, 1, 0])), { kind: 'header', bytes: 32 })
  const v6Body = [
    ...Buffer.from('20010db8000000000000000000000007', 'hex'),
    ...Buffer.alloc(16),
    0,
    80,
    1,
    187,
  ]
  t.like(readProxyHeader(v2(0x21, 0x21, v6Body)), { source: { address: { text: '2001:db8::7' }, port: 80 } })
  t.like(readProxyHeader(v2(0x20, 0x00, [])), { kind: 'header', bytes: 16, source: null })
  t.like(readProxyHeader(v2(0x20, 0x11, v4Body)), { kind: 'header', source: null })
})

test('anything else is missing or invalid, never guessed', t => {
  t.is(text('GET / HTTP/1.1').kind, 'missing')
  t.is(readProxyHeader(Buffer.from([22, 3, 1, 2, 0, 1])).kind, 'missing')
  for (const line of [
    'PROXY TCP4 203.0.113.7 192.0.2.1 54321 443\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 54321\r\n',
    'PROXY TCP4 203.0.113.07 192.0.2.1 1 443\r\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n',
    'PROXY TCP4 203.0.113.7 192.0.2.1 01 443\r\n',
    'PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n',
    'PROXY TCP6 203.0.113.7 192.0.2.1 1 443\r\n',
    'PROXY TCP4  203.0.113.7 192.0.2.1 1 443\r\n',
    'PROXY UDP4 203.0.113.7 192.0.2.1 1 443\r\n',
    'PROXY UNKNOWNX\r\n',
    'PROXY TCP4 203.0.113.7\r 192.0.2.1 1 443\r\n',
    `PROXY ${'x'.repeat(120)}`,
  ])
    t.is(text(line).kind, 'invalid', JSON.stringify(line))
  t.is(readProxyHeader(v2(0x11, 0x11, v4Body)).kind, 'invalid')
  t.is(readProxyHeader(v2(0x22, 0x11, v4Body)).kind, 'invalid')
  t.is(readProxyHeader(v2(0x21, 0x12, v4Body)).kind, 'invalid')
  t.is(readProxyHeader(v2(0x21, 0x31, v4Body)).kind, 'invalid')
  t.is(readProxyHeader(v2(0x21, 0x11, v4Body.slice(0, 8))).kind, 'invalid')
  t.is(readProxyHeader(v2(0x21, 0x11, [...Buffer.alloc(MAX_PROXY_HEADER_BYTES)])).kind, 'invalid')
})

test('every prefix is incomplete or gives the final answer; nothing throws', t => {
  const start = fc.constantFrom(
    Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 54321 443\r\nx'),
    v2(0x21, 0x11, [...v4Body, 1, 2, 3]),
    Buffer.from('PROXY '),
    Buffer.from(START),
  )
  const changed = fc
    .tuple(
      start,
      fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }),
      fc.uint8Array({ maxLength: 140 }),
    )
    .map(([bytes, changes, tail]) => {
      const copy = Buffer.concat([bytes, Buffer.from(tail)])
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value
      return copy
    })
  fc.assert(
    fc.property(changed, bytes => {
      const whole = readProxyHeader(bytes)
      for (let end = 0; end <= bytes.length; end++) {
        const read = readProxyHeader(bytes.subarray(0, end))
        if (read.kind !== 'incomplete') t.deepEqual(read, whole)
      }
    }),
    { numRuns: 500 },
  )
})
