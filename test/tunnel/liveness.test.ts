// Signs of life on a reversed connection: silence is not death, neither before nor after a graceful end, on whichever side it began.
import { once } from 'node:events'
import { connect, performServerHandshake, type Http2Session } from 'node:http2'
import { mock } from 'node:test'
import { duplexPair } from 'node:stream'
import test from 'ava'
import { LOOK_MS, SESSION_OPTIONS, SILENCE_MS } from '../../src/tunnel/h2/limits.ts'
import { watchLiveness } from '../../src/tunnel/h2/liveness.ts'

test('a stream on which nobody says anything lives on when its connection ends gracefully', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  for (const leaving of [[], ['gate'], ['connector'], ['gate', 'connector']] as const) {
    const [near, far] = duplexPair()
    const gate = connect('http://connector', { ...SESSION_OPTIONS, createConnection: () => near })
    const connector = performServerHandshake(far, SESSION_OPTIONS)
    connector.on('stream', stream => stream.respond({ ':status': 200 }))
    const stream = gate.request({ ':method': 'CONNECT', ':authority': 'echo' }, { endStream: false })
    await once(stream, 'response')
    let nowMs = 0
    const lost: string[] = []
    const sides: readonly (readonly ['gate' | 'connector', Http2Session])[] = [
      ['gate', gate],
      ['connector', connector],
    ]
    for (const [name, session] of sides) {
      watchLiveness(
        session,
        () => 0,
        () => nowMs,
        why => lost.push(`${name}: ${why}`),
      )
      if (!leaving.includes(name as never)) continue
      session.goaway(0, 0, Buffer.from('leaving'))
      session.close()
    }
    for (; nowMs < SILENCE_MS * 4; nowMs += LOOK_MS) {
      mock.timers.tick(LOOK_MS)
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
    }
    t.deepEqual(lost, [], `leaving: ${leaving.join(' and ')}`)
    t.false(stream.destroyed)
    gate.destroy()
    connector.destroy()
  }
})
