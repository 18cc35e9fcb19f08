// WebSocket frames of the practice server: any cut of the bytes gives the same messages, and broken ones are named.
import test from 'ava'
import { array, assert, boolean, property, record, uint8Array } from 'fast-check'
import {
  acceptKey,
  createFrameReader,
  encodeFrame,
  MAX_MESSAGE_BYTES,
  OPCODE,
} from '../../src/practice/frames.ts'

type Seen = { messages: { payload: string; binary: boolean }[]; closed: number | null; broken: number | null }

function read(masked: boolean, pieces: readonly Buffer[]): Seen {
  const seen: Seen = { messages: [], closed: null, broken: null }
  const reader = createFrameReader(masked, {
    message: (payload, binary) => seen.messages.push({ payload: payload.toString('hex'), binary }),
    ping: () => undefined,
    pong: () => undefined,
    close: code => (seen.closed = code),
    broken: code => (seen.broken = code),
  })
  for (const piece of pieces) reader.feed(piece)
  return seen
}

test('the accept key is the one of RFC 6455 section 1.3', t => {
  t.is(acceptKey('dGhlIHNhbXBsZSBub25jZQ=='), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
})

test('whatever is encoded is read, however the bytes are cut', t => {
  const message = record({ payload: uint8Array({ maxLength: 300 }), binary: boolean() })
  assert(
    property(
      array(message, { maxLength: 5 }),
      boolean(),
      uint8Array({ minLength: 1, maxLength: 20 }),
      (messages, masked, cuts) => {
        const mask = masked ? Buffer.from([1, 2, 3, 250]) : null
        const bytes = Buffer.concat(
          messages.map(({ payload, binary }) =>
            encodeFrame(binary ? OPCODE.binary : OPCODE.text, payload, mask),
          ),
        )
        const pieces: Buffer[] = []
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const length = 1 + (cuts[turn % cuts.length] ?? 0)
          pieces.push(bytes.subarray(at, at + length))
          at += length
        }
        t.deepEqual(
          read(masked, pieces).messages,
          messages.map(({ payload, binary }) => ({ payload: Buffer.from(payload).toString('hex'), binary })),
        )
      },
    ),
    { numRuns: 200 },
  )
})

test('all three length forms are read', t => {
  for (const length of [125, 126, 65_535, 65_536]) {
    const seen = read(false, [encodeFrame(OPCODE.binary, Buffer.alloc(length, 7), null)])
    t.is(seen.messages[0]?.payload.length, length * 2)
  }
})

test('fragments are joined', t => {
  const first = encodeFrame(OPCODE.text, Buffer.from('ab'), null)
  first[0] = OPCODE.text
  const last = encodeFrame(OPCODE.continuation, Buffer.from('cd'), null)
  t.deepEqual(read(false, [first, last]).messages, [{ payload: '61626364', binary: false }])
})

test('broken frames are answered with the right close code', t => {
  const huge = Buffer.alloc(10)
  huge[0] = 0x82
  huge[1] = 127
  huge.writeBigUInt64BE(BigInt(MAX_MESSAGE_BYTES + 1), 2)
  const reserved = encodeFrame(OPCODE.text, Buffer.from('x'), null)
  reserved[0] = 0xc1
  t.is(read(false, [huge]).broken, 1009)
  t.is(read(false, [reserved]).broken, 1002)
  t.is(read(true, [encodeFrame(OPCODE.text, Buffer.from('x'), null)]).broken, 1002, 'unmasked from a client')
  t.is(
    read(false, [encodeFrame(OPCODE.text, Buffer.from('x'), Buffer.alloc(4))]).broken,
    1002,
    'masked from a server',
  )
  t.is(read(false, [encodeFrame(OPCODE.continuation, Buffer.alloc(0), null)]).broken, 1002)
  t.is(read(false, [encodeFrame(11, Buffer.alloc(0), null)]).broken, 1002)
  t.is(read(false, [encodeFrame(OPCODE.close, Buffer.from([3, 232]), null)]).closed, 1000)
})

test('no bytes make the reader throw', t => {
  assert(
    property(array(uint8Array({ maxLength: 40 }), { maxLength: 6 }), boolean(), (pieces, masked) => {
      read(
        masked,
        pieces.map(piece => Buffer.from(piece)),
      )
    }),
    { numRuns: 1_000 },
  )
  t.pass()
})
