// Memory that is read into again: what is still to be written to a client is never overwritten by what comes next.
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import test from 'ava'
import { connectTcp } from '../gate-harness.ts'
import { member, service, startServer, startStreams, stream } from './harness.ts'

const PIECE = 20_000

test('clients that do not read for a while get every byte as it was', async t => {
  const server = await startServer(t)
  const { port } = await startStreams(t, [stream([service([member(server.port)])])])
  const carry = async (index: number): Promise<void> => {
    const client = await connectTcp(port)
    client.pause()
    const socket = await server.nth(index)
    const sent: Buffer[] = []
    // Small pieces, one a turn: some of them are read while the one before is still to be written to the client.
    while (socket.writableLength < 10 * PIECE) {
      const piece = randomBytes(PIECE)
      sent.push(piece)
      socket.write(piece)
      await nextTurn()
    }
    socket.end()
    const received: Buffer[] = []
    client.on('data', chunk => received.push(chunk))
    client.resume()
    await once(client, 'end')
    t.true(Buffer.concat(received).equals(Buffer.concat(sent)))
    client.end()
  }
  await carry(0)
  await carry(1)
})
