// A raw TCP stream whose server is behind a connector: whole gate, the real connector program, half-close and bulk both ways.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { addKey } from '../../src/access/edit.ts'
import { readAll } from '../edge/gate-harness.ts'
import { AGENT_NAME, startWholeGate, until } from '../support/whole-gate.ts'
import { connectorDirectory, startConnectorProcess } from '../tunnel/process.ts'

const KEY = 'correct horse battery'

test('a database server without any way in: its stream goes through a connector, and an end stays an end', async t => {
  const dump = randomBytes(3_000_000)
  const server = createServer({ allowHalfOpen: true }, socket => {
    const asked = createHash('sha256')
    socket.on('error', () => undefined)
    socket.on('data', chunk => asked.update(chunk))
    socket.on('end', () => {
      socket.write(asked.digest())
      socket.end(dump)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  await using gate = await startWholeGate({
    policy: {
      gateway: { connectors: { rmm: { key: 'head-office' } } },
      streams: { sql: { address: '127.0.0.1:0', upstream: 'connector://rmm/sql' } },
      rules: { packs: [] },
    },
  })
  const port = gate.portcullis.streams.addresses()[0]?.port ?? 0
  const ask = async (question: Buffer) => {
    const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
    client.on('error', () => undefined)
    client.end(question)
    return await readAll(client)
  }
  // Nobody has attached: a reset, not an end; and from the second time on the server is held to be down.
  t.is((await ask(Buffer.from('?'))).errorCode, 'ECONNRESET')
  t.is((await ask(Buffer.from('?'))).errorCode, 'ECONNRESET')
  await gate.lines.next('upstream.down')
  await addKey(
    join(gate.directory, 'state/access.json'),
    KEY,
    { name: 'head-office', maxClients: null },
    Date.now(),
  )
  await gate.admin('POST', '/v1/access/reload')
  const gates = [{ url: `https://${AGENT_NAME}:${gate.directPort}`, address: '127.0.0.1', ca: 'ca.pem' }]
  const services = { sql: { tcp: `127.0.0.1:${(server.address() as AddressInfo).port}` } }
  await using running = startConnectorProcess(
    connectorDirectory({ gates, services }, KEY, { 'ca.pem': gate.ca }),
  )
  await running.next('gate.attached')
  await gate.lines.next('client.connected')
  // Whoever comes now, before any probe, finds a server.
  const question = randomBytes(2_000_000)
  const { bytes, errorCode } = await ask(question)
  t.is(errorCode, null)
  t.true(bytes.equals(Buffer.concat([createHash('sha256').update(question).digest(), dump])))
  // Both directions have ended, so the stream has.
  await until(() => gate.portcullis.streams.connections().length === 0)
  t.is(await gate.count('stream.closed'), 1)
})
