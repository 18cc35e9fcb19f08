// TCP through the tunnel: half-close, resets, back-pressure, unknown and unreachable services, large transfers both ways.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { PortcullisError } from '../../src/policy/error.ts'
import type { LiveClient } from '../../src/tunnel/client.ts'
import { attach, KEY_NAME, service, startTunnelGate } from './harness.ts'

async function clientWith(
  t: ExecutionContext,
  services: Readonly<Record<string, number>>,
): Promise<LiveClient> {
  const gate = await startTunnelGate(t)
  const connector = await attach(gate, services)
  t.teardown(() => connector.session.end('test over'))
  await gate.events.next('client.connected')
  const client = gate.parts.registry.find(KEY_NAME, 'rmm')
  if (client === undefined) throw new Error('not attached')
  return client
}

const open = (client: LiveClient, name: string): Promise<Duplex> =>
  client.open(name, AbortSignal.timeout(20_000))

async function all(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of stream) parts.push(chunk as Buffer)
  return Buffer.concat(parts)
}

test('trap 47: a half-close survives the tunnel in both directions', async t => {
  // Answers only when the client has ended: a database dump, ssh.
  const port = await service(t, socket => {
    const hash = createHash('sha256')
    socket.on('data', chunk => hash.update(chunk))
    socket.on('end', () => socket.end(hash.digest('hex')))
  })
  // Ends first, and reads on until the client ends.
  const got = Promise.withResolvers<string>()
  const early = await service(t, socket => {
    socket.end('goodbye')
    let text = ''
    socket.on('data', chunk => (text += String(chunk)))
    socket.on('end', () => got.resolve(text))
  })
  const client = await clientWith(t, { dump: port, early })
  const stream = await open(client, 'dump')
  stream.end('the whole question')
  t.is(String(await all(stream)), createHash('sha256').update('the whole question').digest('hex'))
  const other = await open(client, 'early')
  const [said] = (await once(other, 'data')) as [Buffer]
  t.is(String(said), 'goodbye')
  await once(other, 'end')
  other.end('still here')
  t.is(await got.promise, 'still here')
})

test('trap 47: a reset travels as a reset, both ways', async t => {
  const sockets: Socket[] = []
  const arrived = Promise.withResolvers<void>()
  const ends: (string | null)[] = []
  const over = Promise.withResolvers<void>()
  const port = await service(t, socket => {
    sockets.push(socket)
    socket.resume()
    socket.on('error', (error: NodeJS.ErrnoException) => ends.push(error.code ?? null))
    socket.on('end', () => ends.push('end'))
    socket.on('close', () => over.resolve())
    arrived.resolve()
  })
  const client = await clientWith(t, { raw: port })
  const first = await open(client, 'raw')
  await arrived.promise
  const failed = once(first, 'error')
  sockets[0]?.resetAndDestroy()
  const [error] = (await failed) as [Error]
  t.truthy(error)
  t.false(first.readableEnded)
  const second = await open(client, 'raw')
  second.write('x')
  ends.length = 0
  second.on('error', () => undefined)
  ;(second as Duplex & { resetAndDestroy: () => void }).resetAndDestroy()
  await over.promise
  while (ends.length === 0) await new Promise(setImmediate)
  t.deepEqual(ends, ['ECONNRESET'])
})

test('trap 47: a tunnel that one side ends breaks what runs through it, on both sides, and leaves nothing open', async t => {
  for (const ends of ['gate', 'connector'] as const) {
    const told: (string | null)[] = []
    const over = Promise.withResolvers<void>()
    const port = await service(t, socket => {
      socket.write('half of it')
      socket.resume()
      socket.on('error', (error: NodeJS.ErrnoException) => told.push(error.code ?? null))
      socket.on('end', () => told.push('end'))
      socket.on('close', () => over.resolve())
    })
    const gate = await startTunnelGate(t)
    const connector = await attach(gate, { upload: port })
    await gate.events.next('client.connected')
    const client = gate.parts.registry.find(KEY_NAME, 'rmm')
    if (client === undefined) return t.fail()
    const stream = await open(client, 'upload')
    await once(stream, 'data')
    stream.on('end', () => told.push('end at the gate'))
    const closed = once(stream, 'close')
    if (ends === 'gate') client.detach('over')
    else connector.session.end('over')
    await Promise.all([over.promise, closed.catch(() => undefined)])
    t.deepEqual(told, ['ECONNRESET'], ends)
    t.not(stream.errored ?? stream.readableAborted, false, ends)
  }
})

test('megabytes go both ways at once, whole', async t => {
  const port = await service(t, socket => socket.pipe(socket))
  const client = await clientWith(t, { echo: port })
  const stream = await open(client, 'echo')
  const block = Buffer.alloc(65_536)
  const sent = createHash('sha256')
  const received = createHash('sha256')
  let bytes = 0
  stream.on('data', (chunk: Buffer) => {
    received.update(chunk)
    bytes += chunk.length
  })
  for (let index = 0; index < 400; index++) {
    block.writeUInt32BE(index, (index * 4) % 65_532)
    const copy = Buffer.from(block)
    sent.update(copy)
    if (!stream.write(copy)) await once(stream, 'drain')
  }
  stream.end()
  await once(stream, 'end')
  t.is(bytes, 400 * 65_536)
  t.is(received.digest('hex'), sent.digest('hex'))
})

test('whoever does not read holds the sender back', async t => {
  let written = 0
  const full = Promise.withResolvers<void>()
  const port = await service(t, socket => {
    const block = Buffer.alloc(65_536)
    const push = (): void => {
      while (written < 200 << 20 && socket.write(block)) written += block.length
      if (written < 200 << 20) socket.once('drain', push)
      else full.resolve()
    }
    push()
  })
  const echo = await service(t, socket => socket.pipe(socket))
  const client = await clientWith(t, { flood: port, echo })
  const other = await open(client, 'echo')
  const stream = await open(client, 'flood')
  stream.pause()
  // Until nothing moves any more while another stream of the same tunnel goes to and fro: that one is not held back.
  for (let before = -1; before !== written;) {
    before = written
    for (let turn = 0; turn < 50; turn++) {
      other.write('x')
      await once(other, 'data')
    }
  }
  t.true(written < 40 << 20, `${written} bytes are under way`)
  let got = 0
  stream.on('data', (chunk: Buffer) => (got += chunk.length))
  stream.resume()
  await full.promise
  t.true(got > 100 << 20)
  stream.destroy()
  other.destroy()
})

test('a service that is not offered, and one that does not answer, are told apart; the tunnel stays', async t => {
  const port = await service(t, socket => socket.pipe(socket))
  const client = await clientWith(t, { echo: port, dead: 9 })
  const unknown = await t.throwsAsync(() => open(client, 'other'), { instanceOf: PortcullisError })
  t.is(unknown.code, 'service-unknown')
  const dead = await t.throwsAsync(() => open(client, 'dead'), { instanceOf: PortcullisError })
  t.is(dead.code, 'service-unreachable')
  t.regex(dead.message, /ECONNREFUSED/)
  const stream = await open(client, 'echo')
  stream.write('alive')
  t.is(String(((await once(stream, 'data')) as [Buffer])[0]), 'alive')
  const late = new AbortController()
  const waiting = client.open('echo', late.signal)
  late.abort(new Error('enough'))
  await t.throwsAsync(waiting, { message: 'enough' })
})
