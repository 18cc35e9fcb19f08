// Fields of WebSocket messages of the client, and of its ClientHello.
import type { HelloFacts } from '../../policy/facts.ts'
import { MAX_EARLIER, type MessageFacts } from '../parts/inspected.ts'
import type { FieldValue } from '../rule.ts'
import type { FieldSpec, FieldTable } from './spec.ts'
import { decodedValue, NONE, one, plainValue } from './value.ts'

const MAX_LINE = 8192

function ofMessage(read: (message: MessageFacts) => readonly FieldValue[], raw = false): FieldSpec {
  return {
    phase: 'message',
    source: 'always',
    raw,
    read: ({ message }) => (message === null ? NONE : read(message)),
  }
}

function ofHello(read: (hello: HelloFacts) => readonly FieldValue[]): FieldSpec {
  return { phase: 'hello', source: 'always', read: (_, { hello }) => (hello === null ? NONE : read(hello)) }
}

/** Fields of messages and of the ClientHello. */
export const STREAM_FIELDS: FieldTable = {
  message: ofMessage(({ text }) => [decodedValue('message', '', text, false)]),
  'message.raw': ofMessage(({ text }) => one('message.raw', text), true),
  'message.line1': ofMessage(({ text }) => {
    const start = text.slice(0, MAX_LINE)
    const end = start.search(/[\r\n]/)
    return [decodedValue('message.line1', '', end < 0 ? start : start.slice(0, end), false)]
  }),
  // As sent: for servers that read the messages as one stream, where a line may be spread over several.
  'message.stream': ofMessage(
    ({ text, earlier = '' }) => one('message.stream', earlier + text.slice(0, MAX_EARLIER)),
    true,
  ),
  'message.number': ofMessage(({ number }) => one('message.number', String(number))),
  'message.kind': ofMessage(({ kind }) => one('message.kind', kind)),
  'hello.ja4': ofHello(({ ja4 }) => one('hello.ja4', ja4)),
  'hello.alpn': ofHello(({ alpn }) => alpn.map(name => plainValue('hello.alpn', name.toLowerCase()))),
  'hello.versions': ofHello(({ versions }) =>
    versions.map(version => plainValue('hello.versions', version.toLowerCase())),
  ),
  'hello.server-name': ofHello(({ serverName }) =>
    serverName === null ? NONE : one('hello.server-name', serverName),
  ),
  'hello.ciphers': ofHello(({ cipherCount }) => one('hello.ciphers', String(cipherCount))),
}
