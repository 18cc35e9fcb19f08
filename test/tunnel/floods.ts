// Frames of HTTP/2 (RFC 9113) by hand, and floods of them as a peer with a key, or a false gate, could send.

/** Types of frames. */
const DATA = 0
const HEADERS = 1
const PRIORITY = 2
const RST_STREAM = 3
const SETTINGS = 4
const PING = 6
const WINDOW_UPDATE = 8
const CONTINUATION = 9

const END_STREAM = 1
const ACK = 1
const END_HEADERS = 4

/** What a client says first. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** One frame. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** SETTINGS that change nothing. */
export const EMPTY_SETTINGS = frame(SETTINGS, 0, 0)
export const SETTINGS_ACK = frame(SETTINGS, ACK, 0)

/** A field of a header list, never indexed and without Huffman coding (RFC 7541, 6.2.3). */
function field(name: string, value: string): Buffer {
  const text = (words: string): Buffer => {
    const bytes = Buffer.from(words, 'latin1')
    if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes])
    let rest = bytes.length - 127
    const length = [127]
    for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128)
    return Buffer.concat([Buffer.of(...length, rest), bytes])
  }
  return Buffer.concat([Buffer.of(0x10), text(name), text(value)])
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** Both sides allow no dynamic table: the first header list must say so (RFC 7541, 4.2), and every other one may. */
const NO_TABLE = Buffer.of(0x20)
const ASK = Buffer.concat([NO_TABLE, field(':method', 'CONNECT'), field(':authority', 'echo')])
const ANSWER = Buffer.concat([NO_TABLE, field(':status', '200')])

/** Who floods, and whom: streams of a gate have odd numbers and begin with a question, those of a connector answer. */
export type Side = 'connector' | 'gate'

/** A flood: the frames of one step, given the number of the step. */
export type Flood = {
  readonly name: string
  readonly step: (index: number, from: Side) => Buffer
  /** Sent once before it. */
  readonly before?: (from: Side) => Buffer
  /** Steps in all; otherwise until MAX_BYTES. */
  readonly steps?: number
}

const streamOf = (index: number): number => 1 + 2 * index
const head = (stream: number, from: Side, flags = END_HEADERS): Buffer =>
  frame(HEADERS, flags, stream, from === 'gate' ? ASK : ANSWER)

/** The floods. */
export const FLOODS: readonly Flood[] = [
  { name: 'SETTINGS', step: () => EMPTY_SETTINGS },
  {
    name: 'SETTINGS with hundreds of entries',
    step: () => frame(SETTINGS, 0, 0, Buffer.alloc(6 * 500, Buffer.from('000300000064', 'hex'))),
  },
  {
    name: 'SETTINGS that change the window of every stream',
    step: index =>
      frame(
        SETTINGS,
        0,
        0,
        Buffer.concat([Buffer.from('0004', 'hex'), uint32(index % 2 === 0 ? 0 : 0x7fff_ffff)]),
      ),
  },
  { name: 'acknowledgements of SETTINGS', step: () => SETTINGS_ACK },
  { name: 'PING', step: () => frame(PING, 0, 0, Buffer.alloc(8)) },
  { name: 'answers to PING that nobody sent', step: () => frame(PING, ACK, 0, Buffer.alloc(8, 1)) },
  { name: 'WINDOW_UPDATE of the connection', step: () => frame(WINDOW_UPDATE, 0, 0, uint32(1)) },
  {
    name: 'WINDOW_UPDATE of a stream',
    before: from => head(1, from),
    step: () => frame(WINDOW_UPDATE, 0, 1, uint32(1)),
  },
  { name: 'DATA without bytes', before: from => head(1, from), step: () => frame(DATA, 0, 1) },
  {
    name: 'DATA that is all padding',
    before: from => head(1, from),
    step: () => frame(DATA, 8, 1, Buffer.alloc(256, Buffer.of(255, ...Array.from({ length: 255 }, () => 0)))),
  },
  {
    name: 'PRIORITY that chains streams into a tree',
    step: index =>
      frame(PRIORITY, 0, streamOf(index + 1), Buffer.concat([uint32(streamOf(index)), Buffer.of(255)])),
  },
  { name: 'frames of an unknown type', step: () => frame(0xfa, 0, 0, Buffer.alloc(4)) },
  {
    name: 'rapid reset',
    step: (index, from) =>
      Buffer.concat([head(streamOf(index), from), frame(RST_STREAM, 0, streamOf(index), uint32(8))]),
  },
  { name: 'streams beyond the limit', step: (index, from) => head(streamOf(index), from) },
  {
    name: 'streams that end at once',
    step: (index, from) => head(streamOf(index), from, END_HEADERS | END_STREAM),
  },
  {
    name: 'CONTINUATION without an end',
    before: from => head(1, from, 0),
    step: () => frame(CONTINUATION, 0, 1, field('x', 'y'.repeat(100))),
  },
  {
    name: 'CONTINUATION without bytes',
    before: from => head(1, from, 0),
    step: () => frame(CONTINUATION, 0, 1),
  },
  {
    name: 'a header list of a megabyte',
    before: from =>
      frame(
        HEADERS,
        END_HEADERS,
        1,
        Buffer.concat([
          from === 'gate' ? ASK : ANSWER,
          ...Array.from({ length: 60 }, (_, index) => field(`x-${index}`, 'y'.repeat(1_000))),
        ]),
      ),
    step: (index, from) =>
      frame(
        HEADERS,
        END_HEADERS,
        streamOf(index + 1),
        Buffer.concat([
          from === 'gate' ? ASK : ANSWER,
          ...Array.from({ length: 60 }, (_, at) => field(`x-${at}`, 'y'.repeat(1_000))),
        ]),
      ),
  },
  {
    name: 'thousands of empty header fields',
    step: (index, from) =>
      frame(
        HEADERS,
        END_HEADERS,
        streamOf(index),
        Buffer.concat([
          from === 'gate' ? ASK : ANSWER,
          ...Array.from({ length: 4_000 }, () => field('a', '')),
        ]),
      ),
  },
  {
    name: 'trailers again and again',
    before: from => head(1, from),
    step: () => frame(HEADERS, END_HEADERS, 1, field('x-trailer', 'y')),
  },
]

/** Bytes of a flood, at most. */
export const FLOOD_BYTES = 3 * 1024 * 1024

/** The flood in pieces. */
export function* piecesOf(flood: Flood, from: Side): Generator<Buffer> {
  if (flood.before !== undefined) yield flood.before(from)
  let sent = 0
  let piece: Buffer[] = []
  let size = 0
  for (let index = 0; sent < FLOOD_BYTES; index++) {
    const step = flood.step(index, from)
    piece.push(step)
    size += step.length
    if (size < 65_536) continue
    yield Buffer.concat(piece)
    sent += size
    piece = []
    size = 0
  }
}
