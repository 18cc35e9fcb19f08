// Upgrades over the wire forwarder: only a valid 101 joins the sockets.
import test, { type ExecutionContext } from 'ava'
import { createForwarder, type ForwarderOptions } from '../../src/forward/wire-forwarder.ts'
import type { Forwarder } from '../../src/forward/forwarder.ts'
import { memberAt, rawUpstream, run } from './support/exchange.ts'

function forwarder(t: ExecutionContext, options: ForwarderOptions = {}): Forwarder {
  const made = createForwarder(options)
  t.teardown(() => made.close())
  return made
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const HANDSHAKE = ['Host', 'rmm.example.test', 'Sec-WebSocket-Key', KEY, 'Sec-WebSocket-Version', '13']

test('trap 14: a valid 101 joins, and bytes that came with it are kept', async t => {
  const port = await rawUpstream(t, (socket, head) => {
    t.regex(head, /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/)
    socket.write(
      `HTTP/1.1 101 X\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\nearly`,
    )
  })
  const way = forwarder(t)
  const { upgraded, ended } = await run(way, memberAt(port), { upgrade: true, headers: HANDSHAKE }).done
  t.is(upgraded?.early.toString(), 'early')
  t.false(ended)
  t.is(way.open(memberAt(port)), 0)
  upgraded?.socket.destroy()
})

for (const [what, answer] of [
  ['wrong accept', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA'],
  ['no accept', 'Upgrade: websocket\r\nConnection: Upgrade'],
  ['other protocol', `Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}`],
  ['no Connection', `Upgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}`],
] as const) {
  test(`trap 14: a 101 with ${what} joins nothing`, async t => {
    const port = await rawUpstream(t, socket => void socket.write(`HTTP/1.1 101 X\r\n${answer}\r\n\r\n`))
    const { upgraded, error } = await run(forwarder(t), memberAt(port), { upgrade: true, headers: HANDSHAKE })
      .done
    t.is(upgraded, null)
    t.is(error?.code, 'upstream-invalid')
  })
}

test('an upgrade that is answered like any request stays a response', async t => {
  const port = await rawUpstream(
    t,
    socket => void socket.write('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno'),
  )
  const out = await run(forwarder(t), memberAt(port), { upgrade: true, headers: HANDSHAKE }).done
  t.is(out.head?.status, 403)
  t.true(out.ended)
  t.is(out.upgraded, null)
})

test('trap 13: an upgraded socket whose upstream has ended closes as a whole', async t => {
  const port = await rawUpstream(t, socket => {
    socket.end(
      `HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`,
    )
  })
  const { upgraded } = await run(forwarder(t), memberAt(port), { upgrade: true, headers: HANDSHAKE }).done
  if (upgraded === null) return t.fail()
  upgraded.socket.resume()
  if (!upgraded.socket.closed) await new Promise(resolve => upgraded.socket.once('close', resolve))
  t.true(upgraded.socket.writableEnded)
})

test('trap 14: an RST right after the 101 ends the socket, not the process', async t => {
  const port = await rawUpstream(t, socket => {
    const head = `HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`
    socket.write(head, () => socket.resetAndDestroy())
  })
  const { upgraded } = await run(forwarder(t), memberAt(port), { upgrade: true, headers: HANDSHAKE }).done
  if (upgraded === null) return t.fail()
  upgraded.socket.resume()
  if (!upgraded.socket.closed) await new Promise(resolve => upgraded.socket.once('close', resolve))
  t.true(upgraded.socket.destroyed)
})
