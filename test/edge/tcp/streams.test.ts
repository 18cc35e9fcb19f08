// Raw TCP through the gate on loopback: sockets that keep to one server, ends both ways, failover, limits, refusals, reload, drain.
import { once } from 'node:events'
import { connect } from 'node:net'
import { randomBytes } from 'node:crypto'
import test from 'ava'
import { CidrTrie } from '../../../src/net/cidr.ts'
import type { BanEntry } from '../../../src/policy/snapshot.ts'
import { until } from '../../support/whole-gate.ts'
import { at, cidr, classPolicy, emptyOverlay, snapshot, stated, testLimits } from '../../support/snapshot.ts'
import { connectTcp, readAll } from '../gate-harness.ts'
import { attempt, endOf, member, service, startServer, startStreams, stream, take } from './harness.ts'

test('S1 S2 S3: the second socket stays silent, reaches the same server from the same address, and gets what the server pushes', async t => {
  const first = await startServer(t)
  const second = await startServer(t)
  const { port, events } = await startStreams(t, [
    stream([service([member(first.port), member(second.port, 'raw/secondary')])]),
  ])
  const session = await connectTcp(port)
  session.write('session 7\n')
  const atServer = await first.nth(0)
  t.is(await take(atServer, 10), 'session 7\n')
  const push = await connectTcp(port)
  const pushAtServer = await first.nth(1)
  t.is(pushAtServer.remoteAddress, atServer.remoteAddress)
  t.is(second.sockets.length, 0)
  pushAtServer.write('news')
  t.is(await take(push, 4), 'news')
  push.resetAndDestroy()
  session.end()
  t.is(await endOf(atServer), 'end')
  atServer.end()
  t.like(await events.next('stream.closed', 2), { listener: 'raw', class: 'relay', bytesIn: 10 })
  t.deepEqual(
    events.of('stream.opened').map(({ upstream, member: name }) => [upstream, name]),
    [
      [`127.0.0.1:${first.port}`, 'raw/primary'],
      [`127.0.0.1:${first.port}`, 'raw/primary'],
    ],
  )
})

test('S2: a client with a live socket keeps to its server when another takes new clients, and moves when it is gone', async t => {
  const primary = await startServer(t)
  const secondary = await startServer(t)
  const members = [member(primary.port), member(secondary.port, 'raw/secondary')]
  const { port, events } = await startStreams(t, [stream([service(members)])])
  await primary.stop()
  const one = await connectTcp(port, '127.0.0.21')
  await secondary.nth(0)
  // The first attempt made the primary suspect; the second finds it down.
  const other = await connectTcp(port, '127.0.0.22')
  await secondary.nth(1)
  t.like(await events.next('upstream.down'), { group: 'stream/raw', member: 'raw/primary' })
  t.like(await events.next('upstream.switched'), { from: 'raw/primary', to: 'raw/secondary' })
  const back = await startServer(t, undefined, primary.port)
  await events.next('upstream.up')
  const again = await connectTcp(port, '127.0.0.21')
  await secondary.nth(2)
  t.is(back.sockets.filter(socket => !socket.destroyed && socket.bytesRead > 0).length, 0)
  for (const socket of [one, other, again]) socket.resetAndDestroy()
})

test('trap 47: half-close survives both ways, and a dump arrives whole', async t => {
  const dump = randomBytes(3 << 20)
  const server = await startServer(t, socket => {
    const question: Buffer[] = []
    socket.on('data', chunk => question.push(chunk))
    // It answers only once the client has ended: what dumps and ssh commands do.
    socket.on('end', () => {
      socket.write(Buffer.concat(question))
      socket.end(dump)
    })
  })
  const { port, events } = await startStreams(t, [stream([service([member(server.port)])])])
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  client.end('dump everything\n')
  const { bytes, errorCode } = await readAll(client)
  t.is(errorCode, null)
  t.is(bytes.subarray(0, 16).toString(), 'dump everything\n')
  t.true(bytes.subarray(16).equals(dump))
  t.like(await events.next('stream.closed'), {
    ending: 'complete',
    bytesIn: 16,
    bytesOut: dump.length + 16,
  })

  const upload = randomBytes(1 << 20)
  let received = 0
  const sink = await startServer(t, socket => {
    socket.end('go on')
    socket.on('data', chunk => (received += chunk.length))
  })
  const other = await startStreams(t, [stream([service([member(sink.port)])])])
  const sender = connect({ port: other.port, host: '127.0.0.1', allowHalfOpen: true })
  t.is(await take(sender, 5), 'go on')
  t.is(await endOf(sender), 'end')
  sender.end(upload)
  await until(() => received === upload.length)
  t.is((await other.events.next('stream.closed')).ending, 'complete')
})

test('a reset of the server reaches the client as one, and a reset of the client the server', async t => {
  const server = await startServer(t)
  const { port, events } = await startStreams(t, [stream([service([member(server.port)])])])
  const client = await connectTcp(port)
  const atServer = await server.nth(0)
  client.write('x')
  await take(atServer, 1)
  atServer.resetAndDestroy()
  t.is(await endOf(client), 'ECONNRESET')
  t.is((await events.next('stream.closed')).ending, 'upstream-abort')

  const leaving = await connectTcp(port)
  const left = await server.nth(1)
  leaving.write('x')
  await take(left, 1)
  leaving.resetAndDestroy()
  t.is(await endOf(left), 'ECONNRESET')
  t.is((await events.next('stream.closed', 2)).ending, 'client-abort')
})

test('trap 20: with no server up, clients are reset at once, and it comes back by itself', async t => {
  const gone = await startServer(t)
  await gone.stop()
  const { port, events, relay } = await startStreams(t, [stream([service([member(gone.port)])])])
  for (const round of [1, 2, 3]) {
    t.is(await attempt(port), 'ECONNRESET', `round ${round}`)
    t.like(await events.next('stream.refused', round), { reason: 'upstream-down', class: 'relay' })
  }
  t.is(relay.states()[0]?.members[0]?.state, 'down')
  const server = await startServer(t, socket => socket.end('back'), gone.port)
  await until(() => relay.states()[0]?.members[0]?.state !== 'down')
  const client = await connectTcp(port)
  t.is(await take(client, 4), 'back')
  t.true(server.sockets.length >= 1)
  client.resetAndDestroy()
})

test('B5 B6: several public ports lead to one port, or each to its own', async t => {
  const server = await startServer(t, socket => socket.end(`port ${socket.localPort}`))
  const endpoints = [
    { host: '127.0.0.1', port: 0 },
    { host: '127.0.0.1', port: 0 },
  ]
  const { relay } = await startStreams(t, [stream([service([member(server.port)])], { endpoints })])
  const ports = relay.addresses().map(({ port }) => port)
  t.is(new Set(ports).size, 2)
  for (const port of ports) {
    const client = await connectTcp(port)
    t.is((await readAll(client)).bytes.toString(), `port ${server.port}`)
  }
  const same = service([
    { id: 'raw/primary', target: { kind: 'tcp', host: '127.0.0.2', port: null }, tls: null, at: at(1) },
  ])
  const other = await startStreams(t, [stream([same])])
  t.is(await attempt(other.port), 'ECONNRESET')
  t.regex((await other.events.next('stream.refused')).saw, new RegExp(`127\\.0\\.0\\.2:${other.port}`))
})

const ban: BanEntry = {
  range: cidr('127.0.0.66/32'),
  classes: null,
  reason: 'scanned',
  owner: 'jo',
  expiresMs: null,
  at: at(9),
}

test('who is refused is reset, with an event, and nothing reaches the server', async t => {
  const server = await startServer(t)
  const trie = new CidrTrie<BanEntry>()
  trie.insert(ban.range, ban)
  const { port, events, relay } = await startStreams(
    t,
    [
      stream([service([member(server.port)])], {
        connectionsPerSource: 2,
        connections: 3,
      }),
    ],
    {},
    { overlay: { ...emptyOverlay(), ban: trie } },
  )
  t.is(await attempt(port, '127.0.0.66'), 'ECONNRESET')
  t.like(await events.next('stream.refused'), { reason: 'banned', address: '127.0.0.66', localPort: port })
  const open = [await connectTcp(port, '127.0.0.5'), await connectTcp(port, '127.0.0.5')]
  await server.nth(1)
  t.is(await attempt(port, '127.0.0.5'), 'ECONNRESET')
  t.like(await events.next('stream.refused', 2), { reason: 'stream-limit-source', saw: '2 of 2 open' })
  open.push(await connectTcp(port, '127.0.0.6'))
  await server.nth(2)
  t.is(await attempt(port, '127.0.0.7'), 'ECONNRESET')
  t.like(await events.next('stream.refused', 3), { reason: 'stream-limit-total', saw: '3 of 3 open' })
  t.like(relay.states()[0], { open: 3, refused: 3 })
  t.is(server.sockets.length, 3)
  for (const socket of open) socket.resetAndDestroy()
  await events.next('stream.closed', 3)
  const again = await connectTcp(port, '127.0.0.5')
  await server.nth(3)
  again.resetAndDestroy()
})

test('classes: a closed one, one for trusted addresses, and the limit of streams at once', async t => {
  const server = await startServer(t)
  const classes = snapshot().classes
  const open = await startStreams(t, [stream([service([member(server.port)])])], {
    classes: new Map(classes).set(
      'relay',
      classPolicy({ limits: { ...testLimits, concurrentPerSource: 1 } }),
    ),
  })
  const one = await connectTcp(open.port)
  await server.nth(0)
  t.is(await attempt(open.port), 'ECONNRESET')
  t.like(await open.events.next('stream.refused'), { reason: 'stream-limit-class', saw: '1 of 1 relay open' })
  one.resetAndDestroy()
  await open.events.next('stream.closed')

  const closed = new Map(classes).set('relay', classPolicy({ access: stated('closed', 33) }))
  await open.apply(snapshot({ ...open.policy.snapshot, classes: closed }))
  t.is(await attempt(open.port), 'ECONNRESET')
  t.like(await open.events.next('stream.refused', 2), {
    reason: 'class-closed',
    line: 'policies/portcullis.yaml:33:1',
  })
})

test('ports that must not be on the internet are for trusted addresses only', async t => {
  const server = await startServer(t, socket => socket.end('sql'))
  const trusted = new CidrTrie<{ range: ReturnType<typeof cidr>; at: ReturnType<typeof at> }>()
  const range = cidr('127.0.0.9/32')
  trusted.insert(range, { range, at: at(8) })
  const listener = stream([service([member(server.port)])])
  const { port, events, apply, policy } = await startStreams(t, [listener], { trusted })
  await apply({
    ...policy.snapshot,
    streams: [{ ...listener, internalPorts: new Map([[port, 'databases are not for the internet']]) }],
  })
  t.is(await attempt(port), 'ECONNRESET')
  t.like(await events.next('stream.refused'), {
    reason: 'port-internal',
    saw: `port ${port}: databases are not for the internet`,
  })
  t.is((await readAll(await connectTcp(port, '127.0.0.9'))).bytes.toString(), 'sql')
})

test('a reload touches no open stream; --close-refused ends those that would not get in any more', async t => {
  const server = await startServer(t, socket => socket.pipe(socket))
  const listener = stream([service([member(server.port)])])
  const { port, events, apply, policy, relay } = await startStreams(t, [listener])
  const client = await connectTcp(port)
  client.write('one')
  t.is(await take(client, 3), 'one')
  const closed = new Map(policy.snapshot.classes).set('relay', classPolicy({ access: stated('closed') }))
  await apply({ ...policy.snapshot, classes: closed })
  client.write('two')
  t.is(await take(client, 3), 'two')
  // A listener that is gone keeps its streams, too.
  await apply({ ...policy.snapshot, streams: [] })
  await t.throwsAsync(async () => {
    const late = connect({ host: '127.0.0.1', port })
    await once(late, 'connect')
  })
  client.write('six')
  t.is(await take(client, 3), 'six')
  t.is(relay.cutRefused(), 0)
  await apply({ ...policy.snapshot, streams: [listener] })
  t.is(relay.cutRefused(), 1)
  t.is(await endOf(client), 'ECONNRESET')
  t.is((await events.next('stream.closed')).ending, 'refused')
})

test('draining lets streams go on for a while and then resets them on both sides', async t => {
  const server = await startServer(t)
  const { port, relay, events } = await startStreams(t, [stream([service([member(server.port)])])])
  const client = await connectTcp(port)
  const atServer = await server.nth(0)
  client.write('x')
  await take(atServer, 1)
  const ends = Promise.all([endOf(client), endOf(atServer)])
  t.is(await relay.drain(50), 1)
  t.deepEqual(await ends, ['ECONNRESET', 'ECONNRESET'])
  t.is((await events.next('stream.closed')).ending, 'drain')
})

test('streams that last are counted every hour, and their end tells only what is new', async t => {
  const server = await startServer(t, socket => socket.pipe(socket))
  const { port, events, advance } = await startStreams(t, [stream([service([member(server.port)])])])
  const client = await connectTcp(port)
  client.write('four')
  await take(client, 4)
  advance(3_600_000)
  t.like(await events.next('stream.counted'), { bytesIn: 4, bytesOut: 4 })
  client.write('more')
  await take(client, 4)
  client.end()
  t.like(await events.next('stream.closed'), { bytesIn: 8, freshIn: 4, freshOut: 4 })
})

test('back-pressure: a client or a server that does not read holds the other back', async t => {
  const server = await startServer(t)
  const { port, events } = await startStreams(t, [stream([service([member(server.port)])])])
  for (const [index, way] of ['down', 'up'].entries()) {
    const client = await connectTcp(port)
    await events.next('stream.opened', index + 1)
    const accepted = await server.nth(index)
    const [from, to] = way === 'down' ? [accepted, client] : [client, accepted]
    to.pause()
    let written = 0
    const push = (): void => {
      while (from.writable && written < 64 << 20) {
        written += 1 << 16
        if (!from.write(Buffer.alloc(1 << 16))) return
      }
    }
    from.on('drain', push)
    push()
    let before = -1
    await until(() => {
      const same = written === before
      before = written
      return same && written > 0
    })
    t.true(written < 48 << 20, `${way}: ${written} bytes went on without being read`)
    client.resetAndDestroy()
  }
})

test('flood: a thousand silent clients of one source are held to its limit, and others are served', async t => {
  const server = await startServer(t, socket => socket.pipe(socket))
  const { port, events, relay } = await startStreams(t, [
    stream([service([member(server.port)])], { connectionsPerSource: 50 }),
  ])
  const flood = Array.from({ length: 300 }, () => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.77' })
    socket.on('error', () => undefined)
    return socket
  })
  await events.next('stream.refused', 250)
  const client = await connectTcp(port, '127.0.0.78')
  client.write('alive')
  t.is(await take(client, 5), 'alive')
  t.is(relay.states()[0]?.open, 51)
  for (const socket of [...flood, client]) socket.resetAndDestroy()
  await events.next('stream.closed', 51)
  t.is(relay.connections().length, 0)
})

test('a closed class on trial: the stream is carried and noted, and the end enforces', async t => {
  const server = await startServer(t, socket => socket.end('in'))
  const classes = new Map(snapshot().classes).set('relay', classPolicy({ access: stated('closed', 33) }))
  const trial = { stages: new Set(['access'] as const), sites: null, listeners: new Set(['raw']), at: at(30) }
  const { port, events, advance } = await startStreams(t, [stream([service([member(server.port)])])], {
    classes,
    trials: [{ ...trial, expiresMs: Date.now() + 3_600_000 }],
  })
  for (const _ of [1, 2]) t.is((await readAll(await connectTcp(port))).bytes.toString(), 'in')
  t.like(events.of('trial.admitted'), [
    {
      address: '127.0.0.1',
      listener: 'raw',
      class: 'relay',
      wouldBe: 'class-closed',
      saw: 'relay',
      count: 1,
    },
  ])
  advance(3_600_000)
  t.is(await attempt(port), 'ECONNRESET')
  t.like(await events.next('stream.refused'), { reason: 'class-closed' })
})
