// The capsule codec: round trips however the stream is cut, limits, and everything that no honest peer sends.
import test from 'ava'
import * as fc from 'fast-check'
import { addressFromBytes, type Address } from '../../../src/net/address.ts'
import {
  CapsuleError,
  CapsuleReader,
  MAX_CONTROL_VALUE,
  MAX_DATAGRAM_VALUE,
} from '../../../src/tunnel/udp/capsule-reader.ts'
import {
  CAPSULE,
  datagramHeadLength,
  encodeAssign,
  encodeContext,
  encodeGoodbye,
  encodeProbe,
  encodeService,
  encodeTrouble,
  isKnownCapsule,
  readAssign,
  readContext,
  readGoodbye,
  readProbe,
  readService,
  readTrouble,
  readUncompressed,
  writeDatagramHead,
} from '../../../src/tunnel/udp/capsules.ts'
import { readVarint, varintLength, varintSize, writeVarint } from '../../../src/tunnel/udp/varint.ts'
import { splitDatagram, uncompressed } from './datagram-bytes.ts'

type Got = { readonly type: number; readonly value: Uint8Array }

const SEED = 9_297

function readerInto(got: Got[]): CapsuleReader {
  return new CapsuleReader((type, value) => got.push({ type, value: value.slice() }), isKnownCapsule)
}

function encoded(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(varintLength(type) + varintLength(value.length) + value.length)
  bytes.set(value, writeVarint(bytes, writeVarint(bytes, 0, type), value.length))
  return bytes
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map(place => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return at.slice(1).map((end, index) => bytes.slice(at[index], end))
}

const value = fc.uint8Array({ maxLength: 300 })
const number = fc.oneof(
  fc.integer({ min: 0, max: 70 }),
  fc.integer({ min: 16_000, max: 17_000 }),
  fc.integer({ min: 2 ** 30 - 5, max: 2 ** 30 + 5 }),
  fc.maxSafeNat(),
)
const address = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(bytes => addressFromBytes(bytes))
  .filter((found): found is Address => found !== undefined)
const peer = fc.record({ address, port: fc.integer({ min: 1, max: 65_535 }) })

test('numbers come back in their shortest form, and longer forms are read as well', t => {
  fc.assert(
    fc.property(number, wanted => {
      const bytes = new Uint8Array(8)
      const end = writeVarint(bytes, 0, wanted)
      return (
        end === varintLength(wanted) && varintSize(bytes[0] ?? 0) === end && readVarint(bytes, 0) === wanted
      )
    }),
    { seed: SEED },
  )
  // The examples of RFC 9000, appendix A.1.
  t.is(readVarint(Buffer.from('9d7f3e7d', 'hex'), 0), 494_878_333)
  t.is(readVarint(Buffer.from('7bbd', 'hex'), 0), 15_293)
  t.is(readVarint(Buffer.from('25', 'hex'), 0), 37)
  t.is(readVarint(Buffer.from('4025', 'hex'), 0), 37)
})

test('our own types are none of those that RFC 9297 keeps for greasing, and each is another', t => {
  const own = Object.values(CAPSULE)
  t.is(new Set(own).size, own.length)
  for (const type of own) t.not((type - 0x17) % 0x29, 0)
})

test('any series of capsules comes out whole, however the stream is cut; unknown ones are passed over', t => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...Object.values(CAPSULE), 0x17, 0x2fff, 2 ** 40), value), {
        maxLength: 20,
      }),
      fc.array(fc.nat(), { maxLength: 40 }),
      (capsules, places) => {
        const got: Got[] = []
        const reader = readerInto(got)
        for (const chunk of cut(joined(capsules.map(([type, body]) => encoded(type, body))), places))
          reader.push(chunk)
        const wanted = capsules.filter(([type]) => isKnownCapsule(type))
        return (
          reader.isBetween &&
          got.length === wanted.length &&
          wanted.every(
            ([type, body], index) =>
              got[index]?.type === type && Buffer.compare(got[index].value, body) === 0,
          )
        )
      },
    ),
    { seed: SEED, numRuns: 500 },
  )
  t.pass()
})

test('byte by byte, and a stream that ends within a capsule is known to', t => {
  const bytes = joined([
    encoded(CAPSULE.datagram, Buffer.from('hello')),
    encoded(2 ** 40, Buffer.alloc(500)),
    encoded(CAPSULE.close, Buffer.alloc(0)),
    encoded(CAPSULE.assign, Buffer.from([5, 0])),
  ])
  const got: Got[] = []
  const reader = readerInto(got)
  let between = 0
  for (const byte of bytes) {
    reader.push(Uint8Array.of(byte))
    if (reader.isBetween) between++
  }
  t.deepEqual(
    got.map(({ type, value: body }) => [type, body.length]),
    [
      [CAPSULE.datagram, 5],
      [CAPSULE.close, 0],
      [CAPSULE.assign, 2],
    ],
  )
  t.is(between, 4)
})

test('a capsule that comes in one piece is not copied', t => {
  const seen: Uint8Array[] = []
  const reader = new CapsuleReader((_type, body) => seen.push(body), isKnownCapsule)
  const chunk = encoded(CAPSULE.datagram, Buffer.from('payload'))
  reader.push(chunk)
  t.is(seen[0]?.buffer, chunk.buffer)
})

test('oversized capsules end the reading before their value comes, known or not', t => {
  for (const [type, length] of [
    [CAPSULE.datagram, MAX_DATAGRAM_VALUE + 1],
    [CAPSULE.assign, MAX_CONTROL_VALUE + 1],
    [0x2fff, MAX_CONTROL_VALUE + 1],
    [0x2fff, Number.MAX_SAFE_INTEGER],
  ] as const) {
    const head = new Uint8Array(varintLength(type) + varintLength(length))
    writeVarint(head, writeVarint(head, 0, type), length)
    for (const chunks of [[head], [...head].map(byte => Uint8Array.of(byte))]) {
      const reader = readerInto([])
      t.throws(() => chunks.forEach(chunk => reader.push(chunk)), { instanceOf: CapsuleError })
    }
  }
  const got: Got[] = []
  readerInto(got).push(encoded(CAPSULE.datagram, new Uint8Array(MAX_DATAGRAM_VALUE)))
  t.is(got[0]?.value.length, MAX_DATAGRAM_VALUE)
})

test('arbitrary bytes never do more than give capsules or end the reading', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat(), { maxLength: 5 }), (bytes, places) => {
      const reader = new CapsuleReader((type, body) => {
        if (type === CAPSULE.assign) readAssign(body)
        else if (type === CAPSULE.datagram) readUncompressed(splitDatagram(body).payload)
        else if (type === CAPSULE.goodbye) readGoodbye(body)
        else readContext(body)
      }, isKnownCapsule)
      try {
        for (const chunk of cut(bytes, places)) reader.push(chunk)
      } catch (error) {
        return error instanceof CapsuleError
      }
      return true
    }),
    { seed: SEED, numRuns: 2_000 },
  )
  t.pass()
})

test('what is written is read back: assignments, answers, probes, datagrams', t => {
  const bodyOf = (bytes: Uint8Array): Uint8Array => {
    const got: Got[] = []
    readerInto(got).push(bytes)
    return got[0]?.value ?? new Uint8Array()
  }
  fc.assert(
    fc.property(number, peer, value, fc.string({ maxLength: 60 }), (context, who, payload, text) => {
      if (context > 0) {
        t.deepEqual(readAssign(bodyOf(encodeAssign(context, who))), { context, peer: who })
        t.deepEqual(readAssign(bodyOf(encodeAssign(context, null))), { context, peer: null })
        t.is(readContext(bodyOf(encodeContext('close', context))), context)
        t.is(readContext(bodyOf(encodeContext('acknowledge', context))), context)
      }
      t.is(readProbe(bodyOf(encodeProbe('ping', context))), context)
      t.deepEqual(readTrouble(bodyOf(encodeTrouble(context, 2))), { context, code: 2 })
      t.like(readService(bodyOf(encodeService(context, 'heartbeat'))), { context, service: 'heartbeat' })
      t.is(readGoodbye(bodyOf(encodeGoodbye(context, text))).code, context)
      const datagram = new Uint8Array(datagramHeadLength(context, payload.length) + payload.length)
      datagram.set(payload, writeDatagramHead(datagram, 0, context, payload.length))
      const read = splitDatagram(bodyOf(datagram))
      t.is(read.context, context)
      t.is(Buffer.compare(read.payload, payload), 0)
      const open = readUncompressed(uncompressed(who, payload))
      t.deepEqual(open?.peer, who)
      t.is(Buffer.compare(open?.payload ?? new Uint8Array(), payload), 0)
    }),
    { seed: SEED, numRuns: 200 },
  )
})

test('malformed values are refused; the sentence of a goodbye cannot spoil a log', t => {
  const wrong: readonly (() => unknown)[] = [
    () => readAssign(new Uint8Array()),
    () => readAssign(Uint8Array.of(0, 0)),
    () => readAssign(Uint8Array.of(3)),
    () => readAssign(Uint8Array.of(3, 0, 0)),
    () => readAssign(Uint8Array.of(3, 4, 1, 2, 3, 4, 0)),
    () => readAssign(Uint8Array.of(3, 4, 1, 2, 3, 4, 0, 0)),
    () => readAssign(Uint8Array.of(3, 4, 1, 2, 3, 4, 0, 80, 1)),
    () => readAssign(Uint8Array.of(3, 5, 1, 2, 3, 4, 0, 80)),
    () => readAssign(Uint8Array.of(3, 6, 1, 2, 3, 4, 0, 80)),
    () => readContext(Uint8Array.of(0)),
    () => readContext(Uint8Array.of(1, 1)),
    () => readContext(Uint8Array.of(0x40)),
    () => readProbe(Uint8Array.of(1, 1)),
    () => readTrouble(Uint8Array.of(1)),
    () => readService(new Uint8Array(300)),
  ]
  for (const read of wrong) t.throws(read, { instanceOf: CapsuleError })
  t.is(readUncompressed(Uint8Array.of(4, 1, 2)), undefined)
  t.is(readUncompressed(Uint8Array.of(4, 1, 2, 3, 4, 0, 0, 9)), undefined)
  const text = 'gone\r\n{"level":"error"}\u001b[31m'
  const spoilt = readGoodbye(joined([Uint8Array.of(0), Buffer.from(text)]))
  t.is(spoilt.text, 'gone {"level":"error"} [31m')
  t.true(readGoodbye(joined([Uint8Array.of(0), Buffer.alloc(5_000, 0x61)])).text.length <= 200)
})
