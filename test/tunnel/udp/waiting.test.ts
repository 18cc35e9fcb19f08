// What waits and what counts as alive, on a virtual clock: the outbox, the watch over the other end.
import test from 'ava'
import * as fc from 'fast-check'
import { parseAddress } from '../../../src/net/address.ts'
import { CapsuleReader } from '../../../src/tunnel/udp/capsule-reader.ts'
import { CAPSULE, isKnownCapsule, readAssign, readContext } from '../../../src/tunnel/udp/capsules.ts'
import {
  BUSY_PING_MS,
  DEAD_MS,
  HOLD_MS,
  Liveness,
  PING_MS,
  TICK_MS,
} from '../../../src/tunnel/udp/liveness.ts'
import { MAX_AGE_MS, MAX_QUEUED_BYTES, Outbox } from '../../../src/tunnel/udp/outbox.ts'
import { splitDatagram } from './datagram-bytes.ts'

const address = parseAddress('198.51.100.7')
if (address === undefined) throw new Error('no address')
const PEER = { address, port: 4_000 }

/** What comes out, as words in their order. */
function words(pieces: readonly Uint8Array[]): string[] {
  const out: string[] = []
  const reader = new CapsuleReader((type, value) => {
    if (type === CAPSULE.datagram) {
      const { context, payload } = splitDatagram(value)
      out.push(`${context}:${Buffer.from(payload).toString()}`)
    } else if (type === CAPSULE.assign) out.push(`assign ${readAssign(value).context}`)
    else if (type === CAPSULE.close) out.push(`close ${readContext(value)}`)
    else if (type === CAPSULE.acknowledge) out.push(`ack ${readContext(value)}`)
    else if (type === CAPSULE.ping) out.push('ping')
    else if (type === CAPSULE.pong) out.push('pong')
  }, isKnownCapsule)
  for (const piece of pieces) reader.push(piece)
  return out
}

test('trap 29: a turn goes out as one piece of control and one of datagrams, in order', t => {
  const outbox = new Outbox()
  outbox.assign(1, PEER, 'heartbeat')
  outbox.datagram(1, Buffer.from('a'), 0)
  outbox.datagram(1, Buffer.from('b'), 0)
  outbox.probe('ping', 1)
  outbox.probe('ping', 2)
  const pieces = outbox.take(1)
  t.is(pieces.length, 2)
  t.deepEqual(words(pieces), ['assign 1', 'ping', '1:a', '1:b'])
  t.true(outbox.isEmpty)
  t.deepEqual(outbox.take(2), [])
})

test('a context that was never sent needs no word when it is closed, an accepted one does', t => {
  const outbox = new Outbox()
  outbox.assign(1, PEER, null)
  outbox.close(1)
  outbox.acknowledge(2)
  outbox.close(2)
  outbox.acknowledge(4)
  t.deepEqual(words(outbox.take(0)), ['close 2', 'ack 4'])
})

test('what has waited for two seconds is dropped and counted; control is not', t => {
  const outbox = new Outbox()
  outbox.assign(1, PEER, null)
  outbox.datagram(1, Buffer.from('old'), 0)
  outbox.datagram(1, Buffer.from('old too'), 50)
  outbox.datagram(1, Buffer.from('young'), 1_500)
  t.deepEqual(words(outbox.take(MAX_AGE_MS + 1)), ['assign 1', '1:young'])
  t.deepEqual(outbox.dropped, { aged: 2, overflow: 0 })
})

test('a peer that does not read costs a bounded amount of memory, whatever is sent to it', t => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 40_000 }), fc.integer({ min: 0, max: 300 })), {
        minLength: 50,
        maxLength: 300,
      }),
      sizes => {
        const outbox = new Outbox()
        let nowMs = 0
        let sent = 0
        for (const [size, gap] of sizes) {
          nowMs += gap
          outbox.datagram(1, new Uint8Array(size), nowMs)
          sent++
          if (outbox.queuedBytes > MAX_QUEUED_BYTES + 65_536) return false
        }
        let got = 0
        for (;;) {
          const pieces = outbox.take(nowMs)
          if (pieces.length === 0) break
          got += words(pieces).length
        }
        return got + outbox.dropped.aged + outbox.dropped.overflow === sent
      },
    ),
    { seed: 29, numRuns: 60 },
  )
  t.pass()
})

test('contexts that come and go before anything can be sent leave nothing behind', t => {
  const outbox = new Outbox()
  for (let context = 1; context < 200_000; context += 2) {
    outbox.assign(context, PEER, 'heartbeat')
    outbox.close(context)
  }
  t.is(outbox.answers, 0)
  t.deepEqual(outbox.take(0), [])
})

test('a datagram of the largest size passes', t => {
  const outbox = new Outbox()
  outbox.datagram(3, new Uint8Array(65_507), 0)
  outbox.datagram(3, Buffer.from('next'), 0)
  const got = words(outbox.take(0))
  t.is(got[0]?.length, 65_507 + 2)
  t.is(got[1], '3:next')
})

test('asks every two seconds, more often under load, and finds a black hole in less than five', t => {
  const liveness = new Liveness(0)
  t.is(liveness.tick(TICK_MS), 'ping')
  liveness.heard(TICK_MS)
  liveness.answered(liveness.pingId, TICK_MS + 40)
  t.is(liveness.roundTripMs, 40)
  let nowMs = TICK_MS
  const pings: number[] = []
  for (; nowMs < 8_000; nowMs += TICK_MS) {
    liveness.heard(nowMs)
    if (liveness.tick(nowMs) === 'ping') {
      pings.push(nowMs)
      liveness.answered(liveness.pingId, nowMs)
    }
  }
  t.deepEqual(
    pings.map((at, index) => at - (pings[index - 1] ?? at)),
    [0, PING_MS, PING_MS],
  )
  for (let turn = 0; turn < 4; turn++, nowMs += TICK_MS) {
    liveness.sent()
    liveness.heard(nowMs)
    if (liveness.tick(nowMs) === 'ping') liveness.answered(liveness.pingId, nowMs)
  }
  liveness.sent()
  t.is(liveness.tick(nowMs + BUSY_PING_MS), 'ping')
  const heardMs = nowMs - TICK_MS
  let beat = 'nothing'
  for (nowMs += 2 * TICK_MS; beat !== 'dead'; nowMs += TICK_MS) beat = liveness.tick(nowMs)
  t.true(nowMs - TICK_MS - heardMs >= DEAD_MS)
  t.true(nowMs - heardMs < 5_000 + TICK_MS)
})

test('an end that is behind gets no more; a process that was stopped does not blame the other side', t => {
  const liveness = new Liveness(0)
  liveness.tick(TICK_MS)
  t.true(liveness.keepsUp(TICK_MS + HOLD_MS - 1))
  t.false(liveness.keepsUp(TICK_MS + HOLD_MS))
  liveness.answered(99, 3_000)
  t.false(liveness.keepsUp(3_000), 'an answer to what was never asked')
  liveness.answered(1, 3_000)
  t.true(liveness.keepsUp(3_000))
  const stopped = new Liveness(0)
  stopped.heard(0)
  t.not(stopped.tick(60_000), 'dead')
})
