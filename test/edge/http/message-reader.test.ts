// Messages out of the client's frames: any split, any fragmentation, every breach of RFC 6455; decompression within limits.
import test from 'ava'
import { array, assert, constantFrom, nat, property, record, string, uint8Array } from 'fast-check'
import { MessageReader, type Reading } from '../../../src/edge/http/message-reader.ts'
import { closeFrame, FrameBoundary, FrameHeads } from '../../../src/edge/http/web-socket-frames.ts'
import {
  agreedDeflate,
  MessageInflater,
  readableOffers,
} from '../../../src/edge/http/web-socket-extensions.ts'
import { deflated, fragments, frame } from './client-frames.ts'

/** Everything that is found in the chunks, in words. */
function found(chunks: readonly Buffer[], maxBytes = 1_000, mayCompress = false): readonly string[] {
  const reader = new MessageReader(maxBytes, mayCompress)
  const out: string[] = []
  for (const chunk of chunks) {
    let at = 0
    for (;;) {
      const reading: Reading = reader.read(chunk, at)
      if (reading.found === 'more') break
      if (reading.found === 'invalid') return [...out, `invalid: ${reading.saw}`]
      at = reading.end
      out.push(
        'message' in reading
          ? `${reading.found} ${reading.message.kind} ${Buffer.from(reading.message.payload).toString('latin1')}`
          : reading.found,
      )
    }
  }
  return out
}

const bytewise = (bytes: Buffer): Buffer[] => [...bytes].map(byte => Buffer.of(byte))

test('messages, fragments and control frames are told apart, whole and byte by byte', t => {
  const stream = Buffer.concat([
    frame(9, 'are you there'),
    frame(1, 'one'),
    frame(2, ''),
    fragments(1, ['t', 'w', '', 'o']),
    frame(2, 'x'.repeat(300)),
    frame(1, 'wide', { wide: 8 }),
    frame(8, '\x03\xe8bye'),
  ])
  const expected = [
    'control',
    'message text one',
    'message binary ',
    'message text two',
    `message binary ${'x'.repeat(300)}`,
    'message text wide',
    'control',
  ]
  t.deepEqual(found([stream]), expected)
  t.deepEqual(found(bytewise(stream)), expected)
})

test('what RFC 6455 forbids a client is invalid, wherever the bytes are split', t => {
  const cases: readonly (readonly [string, Buffer])[] = [
    ['a frame without a mask', frame(1, 'x', { masked: false })],
    ['a reserved bit', frame(1, 'x', { rsv: 2 })],
    ['a reserved bit', frame(1, 'x', { rsv: 1 })],
    ['a compressed message without permessage-deflate', frame(1, 'x', { rsv: 4 })],
    ['a compressed control frame', frame(9, 'x', { rsv: 4 })],
    ['opcode 3', frame(3, 'x')],
    ['opcode 11', frame(11, 'x')],
    ['a control frame in fragments', frame(9, 'x', { fin: false })],
    ['a control frame of more than 125 bytes', frame(9, 'x'.repeat(126))],
    ['a continuation of nothing', frame(0, 'x')],
    [
      'a new message before the end of the last one',
      Buffer.concat([frame(1, 'a', { fin: false }), frame(1, 'b')]),
    ],
    [
      'a reserved bit in a continuation',
      Buffer.concat([frame(1, 'a', { fin: false }), frame(0, 'b', { rsv: 4 })]),
    ],
    ['data after the Close frame', Buffer.concat([frame(8, ''), frame(1, 'b')])],
    ['a Close frame within a message', Buffer.concat([frame(1, 'a', { fin: false }), frame(8, '')])],
    ['an impossible length', frame(2, '', { length: Number.MAX_SAFE_INTEGER + 1, wide: 8 })],
  ]
  for (const [saw, bytes] of cases) {
    t.is(found([bytes]).at(-1), `invalid: ${saw}`)
    t.is(found(bytewise(bytes)).at(-1), `invalid: ${saw}`)
  }
})

test('a message beyond the limit is given as far as it was read, its rest is skipped', t => {
  const stream = Buffer.concat([frame(1, `${'a'.repeat(10)}b`), frame(1, 'next')])
  t.deepEqual(found([stream], 10), ['overflow text aaaaaaaaaa', 'message text next'])
  const split = Buffer.concat([
    frame(2, 'aaaaaa', { fin: false }),
    frame(0, 'bbbbbb', { fin: false }),
    frame(0, 'c'),
  ])
  t.deepEqual(found([split, frame(1, 'n')], 10), ['overflow binary aaaaaabbbb', 'skipped', 'message text n'])
  t.deepEqual(found(bytewise(split), 10), ['overflow binary aaaaaabbbb', 'skipped'])
  t.deepEqual(found([frame(1, 'a'.repeat(10))], 10), ['message text aaaaaaaaaa'])
  // Fragments without content and pings within a message are bytes too, which somebody has to hold.
  const empty = Buffer.concat([
    frame(1, '', { fin: false }),
    ...Array.from({ length: 100 }, () => frame(0, '', { fin: false })),
  ])
  t.deepEqual(found([empty], 10), ['overflow text '])
  t.deepEqual(found(bytewise(empty), 10), ['overflow text '])
})

test('any messages in any fragments and any split come out as they were sent', t => {
  const message = record({
    opcode: constantFrom(1, 2),
    parts: array(string({ maxLength: 200 }), { minLength: 1, maxLength: 5 }),
  })
  assert(
    property(array(message, { maxLength: 6 }), array(nat(400), { maxLength: 40 }), (messages, cuts) => {
      const stream = Buffer.concat(messages.map(({ opcode, parts }) => fragments(opcode, parts)))
      const chunks: Buffer[] = []
      let rest = stream
      for (const cut of cuts) {
        chunks.push(rest.subarray(0, cut))
        rest = rest.subarray(cut)
      }
      t.deepEqual(
        found([...chunks, rest], 2_000).filter(entry => entry !== 'control'),
        messages.map(
          ({ opcode, parts }) =>
            `message ${opcode === 1 ? 'text' : 'binary'} ${Buffer.from(parts.join(''), 'latin1').toString('latin1')}`,
        ),
      )
    }),
    { seed: 7, numRuns: 200 },
  )
})

test('no bytes whatever make the reader throw or gather more than its limit', t => {
  assert(
    property(array(uint8Array({ maxLength: 300 }), { maxLength: 8 }), chunks => {
      const reader = new MessageReader(64, true)
      for (const chunk of chunks) {
        let at = 0
        for (;;) {
          const reading = reader.read(chunk, at)
          t.true(reader.memory <= 64)
          if (reading.found === 'more' || reading.found === 'invalid') break
          t.true(reading.end >= at)
          at = reading.end
        }
      }
    }),
    { seed: 8, numRuns: 500 },
  )
})

test('the boundaries of server frames are followed through any split', t => {
  const stream = Buffer.concat([
    frame(1, 'hello', { masked: false }),
    frame(2, 'x'.repeat(200), { masked: false }),
  ])
  const boundary = new FrameBoundary()
  t.true(boundary.isBetween)
  const between: number[] = []
  for (const [at, byte] of stream.entries()) {
    boundary.follow(Buffer.of(byte))
    if (boundary.isBetween) between.push(at + 1)
  }
  t.deepEqual(between, [7, stream.length])
  t.is(new FrameBoundary().follow(stream, 0, true), 7)
})

test('Close frames to both sides are what the other side can read', t => {
  const plain = closeFrame(1008, 'y'.repeat(200), null)
  t.is(plain.length, 2 + 125)
  t.is(plain.readUInt16BE(2), 1008)
  const heads = new FrameHeads()
  const masked = closeFrame(1001, '', Buffer.of(1, 2, 3, 4))
  t.like(heads.take(masked, 0), { fin: true, opcode: 8, masked: true, length: 2 })
  t.deepEqual([...masked.subarray(heads.at)], [(1001 >> 8) ^ 1, (1001 & 255) ^ 2])
})

test('permessage-deflate: what may be agreed, and what else is no valid answer', t => {
  const agreed = (value: string): unknown => agreedDeflate(['Sec-WebSocket-Extensions', value])
  t.is(agreedDeflate([]), null)
  t.deepEqual(agreed('permessage-deflate'), { contextTakeover: true })
  t.deepEqual(agreed('Permessage-Deflate; client_no_context_takeover; server_max_window_bits=10'), {
    contextTakeover: false,
  })
  t.deepEqual(agreed('permessage-deflate; client_max_window_bits="9"; server_no_context_takeover'), {
    contextTakeover: true,
  })
  for (const wrong of [
    'x-webkit-deflate-frame',
    'permessage-deflate, permessage-deflate',
    'permessage-deflate; client_max_window_bits=16',
    'permessage-deflate; client_no_context_takeover; client_no_context_takeover',
    'permessage-deflate; client_no_context_takeover=1',
    'permessage-deflate; other',
  ])
    t.is(typeof agreed(wrong), 'string', wrong)
})

test('offers that the gate could not read through are not passed on', t => {
  const offer = (value: string): readonly string[] =>
    readableOffers(['Host', 'h', 'sec-websocket-extensions', value])
  t.deepEqual(offer('permessage-deflate; client_max_window_bits'), [
    'Host',
    'h',
    'sec-websocket-extensions',
    'permessage-deflate; client_max_window_bits',
  ])
  t.deepEqual(offer('bbf-usp-protocol, permessage-deflate; server_no_context_takeover, permessage-deflate'), [
    'Host',
    'h',
    'Sec-WebSocket-Extensions',
    'permessage-deflate; server_no_context_takeover, permessage-deflate',
  ])
  t.deepEqual(offer('mux'), ['Host', 'h'])
})

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

test('messages decompress with and without the context of those before', t => {
  const one = 'the quick brown fox jumps over the lazy dog'
  const kept = new MessageInflater({ contextTakeover: true })
  t.is(text(kept.inflate(deflated(one), 1_000).bytes), one)
  const second = deflated(one, one)
  t.true(second.length < 20, 'the second message leans on the first')
  t.is(text(kept.inflate(second, 1_000).bytes), one)
  const none = new MessageInflater({ contextTakeover: false })
  t.is(text(none.inflate(deflated(one), 1_000).bytes), one)
  t.is(none.inflate(second, 1_000).ended, 'broken')
  t.is(text(none.inflate(deflated(''), 1_000).bytes), '')
  // RFC 7692, section 7.2.3.5: a block that says it is the last one, and a stream that goes on behind such a block.
  const final = Buffer.from('f348cdc9c9070000', 'hex')
  t.is(text(none.inflate(final, 1_000).bytes), 'Hello')
  t.is(
    text(none.inflate(Buffer.concat([final.subarray(0, 7), deflated(' evil')]), 1_000).bytes),
    'Hello evil',
  )
  t.is(
    none.inflate(Buffer.concat(Array.from({ length: 20 }, () => final.subarray(0, 7))), 1_000).ended,
    'broken',
  )
})

test('a bomb gives its beginning and no more; what leans on it is lost', t => {
  const bomb = deflated(Buffer.alloc(50_000_000, 'ab'))
  const inflater = new MessageInflater({ contextTakeover: true })
  const before = process.memoryUsage().arrayBuffers
  const { bytes, ended } = inflater.inflate(bomb, 65_536)
  t.is(ended, 'limit')
  t.true(bytes.length <= 65_536 && bytes.length > 60_000, `${bytes.length}`)
  t.is(text(bytes.subarray(0, 4)), 'abab')
  t.true(inflater.lost)
  t.true(process.memoryUsage().arrayBuffers - before < 8_000_000)
  t.is(inflater.memory, 0)
})

test('any message survives the way through the compressor of a client that keeps its context', t => {
  assert(
    property(array(string({ maxLength: 400 }), { maxLength: 6 }), messages => {
      const inflater = new MessageInflater({ contextTakeover: true })
      let context = ''
      for (const message of messages) {
        const sent = Buffer.from(message, 'latin1').toString('latin1')
        t.is(text(inflater.inflate(deflated(Buffer.from(sent, 'latin1'), ''), 4_000).bytes), sent)
        context += sent
      }
      t.true(inflater.memory <= Math.max(context.length, 32_768))
    }),
    { seed: 9, numRuns: 100 },
  )
})
