// Bodies: the strict chunked coding, limits, and independence of segmentation.
import test from 'ava'
import * as fc from 'fast-check'
import { BodyDecoder } from '../../../src/edge/http/body-decoder.ts'
import type { BodyFraming } from '../../../src/forward/forwarder.ts'

const CHUNKED: BodyFraming = { kind: 'chunked' }

function decode(
  parts: readonly Buffer[],
  framing: BodyFraming,
  maxBytes = 0,
): { readonly body: string; readonly rest: string; readonly problem: string | null; readonly done: boolean } {
  const decoder = new BodyDecoder(framing, maxBytes)
  let body = ''
  let rest = ''
  const sink = { onBody: (portion: Buffer) => void (body += portion.toString('latin1')) }
  for (const part of parts) {
    const end = decoder.feed(part, 0, sink)
    if (decoder.problem !== null) break
    rest += part.subarray(end).toString('latin1')
  }
  return { body, rest, problem: decoder.problem?.reason ?? null, done: decoder.done }
}

const chunked = (text: string, max = 0): ReturnType<typeof decode> =>
  decode([Buffer.from(text, 'latin1')], CHUNKED, max)

test('the chunked coding in its strict form', t => {
  t.deepEqual(chunked('5\r\nhello\r\nA;x="y"\r\n0123456789\r\n0\r\nX: y\r\n\r\nNEXT'), {
    body: 'hello0123456789',
    rest: 'NEXT',
    problem: null,
    done: true,
  })
  for (const bad of [
    'hello',
    '\r\n',
    ' 5\r\nhello\r\n',
    '5 \r\nhello\r\n',
    '0x5\r\nhello\r\n',
    '+5\r\nhello\r\n',
    '-1\r\n',
    '5\nhello\r\n',
    '5\rhello\r\n',
    '5\r\nhello!\r\n',
    '5\r\nhello\n',
    '5\r\nhello\r0',
    '5;a\nb\r\nhello\r\n',
    '5;a\rb\r\nhello\r\n',
    '1234567890123\r\n',
    `5;${'e'.repeat(1_100)}\r\nhello\r\n`,
    '0\r\nbad name: x\r\n\r\n',
    '0\r\n folded\r\n\r\n',
    '0\r\nX: a\0\r\n\r\n',
    '0\r\nX: a\n\r\n',
    '0\r\n\rX',
    `0\r\nX: ${'a'.repeat(4_200)}\r\n\r\n`,
    `0\r\n${'X: y\r\n'.repeat(40)}\r\n`,
    '5;a\0\r\nhello\r\n',
  ]) {
    t.is(chunked(bad).problem, 'framing-invalid', JSON.stringify(bad.slice(0, 40)))
  }
})

test('sizes are limited before the bytes are there', t => {
  t.is(chunked('9\r\n', 8).problem, 'body-too-large')
  t.is(chunked('5\r\nhello\r\n4\r\n', 8).problem, 'body-too-large')
  t.is(chunked('ffffffffffff\r\n', 8).problem, 'body-too-large')
  t.is(new BodyDecoder({ kind: 'length', bytes: 9 }, 8).problem?.reason, 'body-too-large')
  t.is(chunked('4\r\nfour\r\n4\r\nfour\r\n0\r\n\r\n', 8).problem, null)
})

test('property: any segmentation of a body decodes to the same bytes', t => {
  const part = fc.uint8Array({ minLength: 1, maxLength: 40 }).map(bytes => Buffer.from(bytes))
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 8 }),
      fc.array(fc.nat(600), { maxLength: 20 }),
      fc.boolean(),
      (parts, cuts, coded) => {
        const body = Buffer.concat(parts)
        const wire = coded
          ? Buffer.concat([
              ...parts.flatMap(p => [
                Buffer.from(`${p.length.toString(16)};e=1\r\n`),
                p,
                Buffer.from('\r\n'),
              ]),
              Buffer.from('0\r\nT: v\r\n\r\nNEXT'),
            ])
          : Buffer.concat([body, Buffer.from('NEXT')])
        const points = [...new Set([0, ...cuts.filter(cut => cut < wire.length), wire.length])].sort(
          (a, b) => a - b,
        )
        const segments = points.slice(1).map((end, index) => wire.subarray(points[index], end))
        const result = decode(segments, coded ? CHUNKED : { kind: 'length', bytes: body.length })
        t.deepEqual(result, { body: body.toString('latin1'), rest: 'NEXT', problem: null, done: true })
      },
    ),
    { numRuns: 400 },
  )
})

test('fuzz: random bytes never throw', t => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      bytes => void decode([Buffer.from(bytes)], CHUNKED, 1_000),
    ),
    { numRuns: 3_000 },
  )
  t.pass()
})
