// Attaching through a real gate: who may, who may not, what is said about it, and that streams carry bytes both ways.
import { once } from 'node:events'
import test from 'ava'
import { attach, KEY_NAME, service, startTunnelGate } from './harness.ts'

test('a connector attaches with the key and its TCP service is reached', async t => {
  const gate = await startTunnelGate(t)
  const port = await service(t, socket => socket.pipe(socket))
  const connector = await attach(gate, { echo: port })
  await connector.ready
  const event = await gate.events.next('client.connected')
  t.is(event.client, 'rmm')
  const client = gate.parts.registry.find(KEY_NAME, 'rmm')
  t.is(client?.realAddress, '10.1.2.3')
  const stream = await client?.open('echo', AbortSignal.timeout(5_000))
  stream?.write('hello')
  const [chunk] = (await once(stream as NodeJS.EventEmitter, 'data')) as [Buffer]
  t.is(String(chunk), 'hello')
  stream?.destroy()
  connector.session.end('test over')
  t.is((await gate.events.next('client.disconnected')).client, 'rmm')
  t.is(gate.forwarder.exchanges.length, 0)
})
