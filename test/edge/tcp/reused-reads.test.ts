// Memory that is read into again: what is still to be written to one side is never overwritten by what comes next.
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { takeOverReads } from '../../../src/edge/tcp/reads-taken-over.ts'
import { testCertificate } from '../../support/certificates.ts'
import { connectTcp, connectTls, portOf, readAll } from '../gate-harness.ts'
import { member, service, startServer, startStreams, stream, STREAM_HOST } from './harness.ts'

const PIECE = 20_000

/** Sends while the other side does not read, lets it read, and sends on while it does. */
async function carry(t: ExecutionContext, from: Socket, to: Socket): Promise<void> {
  const sent: Buffer[] = []
  const received: Buffer[] = []
  // Small pieces, one a turn: some of them are read while the one before is still to be written.
  const sendUntil = async (isEnough: () => boolean): Promise<void> => {
    while (!isEnough()) {
      const piece = randomBytes(PIECE)
      sent.push(piece)
      from.write(piece)
      await nextTurn()
    }
  }
  to.pause()
  await sendUntil(() => from.writableLength >= 10 * PIECE)
  to.on('data', chunk => received.push(chunk))
  to.resume()
  const before = sent.length
  await sendUntil(() => sent.length >= before + 50)
  from.end()
  await once(to, 'end')
  t.true(Buffer.concat(received).equals(Buffer.concat(sent)))
}

test('downloads and uploads whose other side does not read for a while arrive as they were', async t => {
  const server = await startServer(t)
  const { port } = await startStreams(t, [stream([service([member(server.port)])])])
  for (const way of ['down', 'down', 'up'] as const) {
    const client = await connectTcp(port)
    const socket = await server.nth(server.sockets.length)
    await (way === 'down' ? carry(t, socket, client) : carry(t, client, socket))
    client.end()
    socket.end()
  }
})

test('the same where TLS ends at the gate', async t => {
  const server = await startServer(t)
  const members = [member(server.port)]
  const terminate = { host: STREAM_HOST, tlsProfile: 'modern' } as const
  const action = { kind: 'forward', members, terminate, proxyProtocol: false, returnAfterMs: 1_000 } as const
  const { port } = await startStreams(t, [stream([service(members, { action })], { kind: 'tls' })])
  for (const way of ['down', 'up'] as const) {
    const client = await connectTls(port, { servername: STREAM_HOST })
    client.allowHalfOpen = true
    const socket = await server.nth(server.sockets.length)
    await (way === 'down' ? carry(t, socket, client) : carry(t, client, socket))
    client.end()
    socket.end()
  }
})

// Node has no public option for these. Should it change, streams go on with fresh buffers, and this says why they cost more.
for (const kind of ['TCP', 'TLS'] as const) {
  test(`Node lets an accepted ${kind} socket that flows read into given memory`, async t => {
    const server = await listening(t, kind)
    const [socket, client] = await bothEnds(server, kind)
    client.write('before')
    const [first] = (await once(socket, 'data')) as [Buffer]
    t.is(first.toString(), 'before')
    const memory = Buffer.alloc(4)
    const read: string[] = []
    const done = new Promise<void>(resolve => {
      const callback = (length: number): boolean => {
        read.push(memory.toString('latin1', 0, length))
        if (read.join('').length === 10) resolve()
        return true
      }
      t.true(takeOverReads(socket, { buffer: () => memory, callback }))
      t.false(takeOverReads(socket, { buffer: () => memory, callback }), 'once')
    })
    client.end('0123456789')
    await done
    t.deepEqual(read, ['0123', '4567', '89'])
    await once(socket, 'end')
    socket.end()
    await once(socket, 'close')
    t.false(
      takeOverReads(socket, { buffer: () => memory, callback: () => true }),
      'it has no handle any more',
    )
  })
}

test('Node has encrypted what a TLS socket was given when the write returns', async t => {
  const [socket, client] = await bothEnds(await listening(t, 'TLS'), 'TLS')
  client.pause()
  const sent = randomBytes(1_000_000)
  const memory = Buffer.from(sent)
  socket.write(memory)
  t.true(socket.writableLength > 0, 'the kernel has taken it all at once: the test needs more bytes')
  memory.fill(0)
  socket.end()
  const all = readAll(client)
  client.resume()
  t.true((await all).bytes.equals(sent))
})

async function listening(t: ExecutionContext, kind: 'TCP' | 'TLS'): Promise<Server> {
  const server =
    kind === 'TCP' ? createServer() : createTlsServer(await testCertificate(['rmm.example.test']))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return server
}

/** An accepted socket and the client's end of it. */
async function bothEnds(server: Server, kind: 'TCP' | 'TLS'): Promise<[Socket, Socket]> {
  const accepted = once(server, kind === 'TCP' ? 'connection' : 'secureConnection') as Promise<[Socket]>
  const client = await (kind === 'TCP' ? connectTcp(portOf(server)) : connectTls(portOf(server)))
  const [socket] = await accepted
  return [socket, client]
}
