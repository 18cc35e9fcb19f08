// Attacks with bodies in the smallest pieces: neither memory nor work may grow with the number of pieces.
import test from 'ava'
import * as fc from 'fast-check'
import { BodyDecoder } from '../../../src/edge/http/body-decoder.ts'
import { HeldBody } from '../../../src/edge/http/held-body.ts'
import { RawClient, startGate } from './harness.ts'

test('attack: a body in chunks of one byte becomes one portion per read, not one per byte', t => {
  const decoder = new BodyDecoder({ kind: 'chunked' }, 0)
  const portions: string[] = []
  const wire = Buffer.from(`${'1\r\nx\r\n'.repeat(5_000)}0\r\n\r\n`)
  decoder.feed(wire, 0, { onBody: portion => void portions.push(portion.toString('latin1')) })
  t.true(decoder.done)
  t.deepEqual(portions, ['x'.repeat(5_000)])
})

test('attack: small chunks around a large one keep their order', t => {
  const decoder = new BodyDecoder({ kind: 'chunked' }, 0)
  const large = 'L'.repeat(2_000)
  const portions: string[] = []
  const wire = `1\r\na\r\n1\r\nb\r\n7d0\r\n${large}\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n`
  decoder.feed(Buffer.from(wire), 0, { onBody: portion => void portions.push(portion.toString('latin1')) })
  t.deepEqual(portions, ['ab', large, 'cd'])
})

test('attack: a held body in portions of one byte is kept in a few buffers', t => {
  const held = new HeldBody(true)
  for (let at = 0; at < 131_072; at++) held.add(Buffer.from([at & 0xff]))
  const portions = held.portions()
  t.true(portions.length <= 32, `${portions.length} buffers`)
  const memory = portions.reduce((sum, portion) => sum + portion.buffer.byteLength, 0)
  t.true(memory <= 4 * 131_072, `${memory} bytes of memory`)
  t.is(held.joined().length, 131_072)
  t.true(held.joined().every((byte, at) => byte === (at & 0xff)))
})

test('property: a held body gives back what it was given, whatever the sizes', t => {
  const sizes = fc.array(fc.oneof(fc.nat(3), fc.nat(1_500), fc.constant(5_000)), { maxLength: 40 })
  fc.assert(
    fc.property(sizes, list => {
      const held = new HeldBody(true)
      let next = 0
      const given: Buffer[] = []
      for (const size of list) {
        const portion = Buffer.from(Array.from({ length: size }, () => next++ & 0xff))
        given.push(portion)
        // As the socket does it: the next read may reuse nothing of this one, so a copy stands for the view.
        held.add(Buffer.from(portion))
      }
      t.deepEqual(Buffer.concat(held.portions()), Buffer.concat(given))
    }),
    { numRuns: 200 },
  )
})

test('attack: chunks of one byte through the gate reach the server whole and in few writes', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send('POST /agent HTTP/1.1\r\nHost: rmm.example.test\r\nTransfer-Encoding: chunked\r\n\r\n')
  client.send(`${'1\r\nx\r\n'.repeat(20_000)}0\r\n\r\n`)
  const exchange = await gate.forwarder.at(0)
  await gate.forwarder.when(() => exchange.ended)
  t.is(exchange.body.toString('latin1'), 'x'.repeat(20_000))
  t.true(exchange.writes < 2_000, `${exchange.writes} writes`)
  exchange.answer(200)
  client.socket.destroy()
  await gate.close()
})
