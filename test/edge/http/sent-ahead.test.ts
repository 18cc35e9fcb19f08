// Attack with requests that are sent ahead: a client whose bytes are not read is not seen leaving.
import test from 'ava'
import { get, RawClient, startGate, until, withLimits } from './harness.ts'

test('attack: who sends far ahead and goes away unread holds the server no longer than a silent body', async t => {
  const gate = await startGate({ snapshot: withLimits({ bodyIdleMs: 5_000, responseMs: 36_000_000 }) })
  const client = await RawClient.open(gate.port)
  client.send(`${get('/automate/slow')}POST /agent HTTP/1.1\r\nX: ${'x'.repeat(200_000)}`)
  const exchange = await gate.forwarder.at(0)
  await until(
    () => [...gate.sockets].some(socket => socket.isPaused()),
    listen => {
      const timer = setImmediate(listen)
      return () => clearImmediate(timer)
    },
  )
  t.false(exchange.aborted)
  gate.clock.pass(5_000)
  const closed = await gate.event('request.closed')
  t.is(closed.ending, 'client-timeout')
  t.is(closed.status, 408)
  t.true(exchange.aborted)
  t.regex(await client.all(), /^HTTP\/1\.1 408 /)
  client.socket.destroy()
  await gate.close()
})
