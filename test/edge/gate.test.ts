// The way of a connection with real clients: handshake, facts, counts, endings.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { connect } from 'node:tls'
import test from 'ava'
import { testAuthority } from '../support/certificates.ts'
import { listener, name, snapshot } from '../support/snapshot.ts'
import {
  captureHello,
  closings,
  connectTcp,
  connectTls,
  portOf,
  readAll,
  run,
  startGate,
  startRelay,
  until,
  untilIdle,
} from './gate-harness.ts'

test('a client is served, its facts are known, and one closing event says what passed', async t => {
  const harness = await startGate(t)
  const client = await connectTls(harness.port, { localAddress: '127.9.8.7', ALPNProtocols: ['http/1.1'] })
  t.true(client.authorized)
  t.is(client.alpnProtocol, 'http/1.1')
  const clientPort = client.localPort
  client.write('GET / HTTP/1.1\r\n\r\n')
  const { bytes } = await readAll(client)
  t.true(bytes.toString().endsWith('ok'))
  const closed = await harness.events.next('connection.closed')
  t.like(closed, {
    address: '127.9.8.7',
    port: clientPort,
    listener: 'https',
    country: 'loopback',
    serverName: 'rmm.example.test',
    offered: ['TLSv1.3', 'TLSv1.2'],
    negotiated: 'TLSv1.3',
    resumed: false,
    tlsProfile: 'modern',
    requests: 1,
    bytesIn: 18,
    ending: 'complete',
  })
  t.regex(closed.ja4 ?? '', /^t13d[0-9]{4}h1_[0-9a-f]{12}_[0-9a-f]{12}$/)
  t.like(harness.secured[0], { clientPort, name: { host: 'rmm.example.test' }, tlsProfile: 'modern' })
  await untilIdle(harness)
  t.deepEqual(closings(harness), ['connection.closed'])
})

test('trap 3: the handshake works however the ClientHello is cut into segments', async t => {
  // Single bytes take their time on a busy machine; the limit on them is the subject of trap 6.
  const harness = await startGate(t, { limits: { ...snapshot().limits, helloMs: 60_000 } })
  for (const size of [1, 7, 100, 300]) {
    const relay = await startRelay(t, harness.port, async (gate, hello) => {
      for (let from = 0; from < hello.length; from += size) {
        gate.write(hello.subarray(from, from + size))
        await new Promise(resolve => setImmediate(resolve))
      }
    })
    const client = await connectTls(relay)
    client.write('GET / HTTP/1.1\r\n\r\n')
    const { bytes } = await readAll(client)
    t.true(bytes.toString().endsWith('ok'), `segments of ${size} bytes`)
  }
  await untilIdle(harness)
})

test('trap 11: facts stay with their connection when many handshakes run at once', async t => {
  const harness = await startGate(t)
  const clients = await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const localAddress = `127.4.${index % 5}.${1 + (index % 50)}`
      const client = await connectTls(harness.port, {
        localAddress,
        ALPNProtocols: ['http/1.1', `x${index}`],
      })
      return { client, key: `${localAddress}:${client.localPort ?? 0}`, alpn: `x${index}` }
    }),
  )
  await until(() => harness.secured.length === 60)
  for (const { key, alpn } of clients) {
    const found = harness.secured.find(
      ({ standing, clientPort }) => `${standing.source.address.text}:${clientPort}` === key,
    )
    t.is(found?.hello.alpn[1], alpn)
  }
  t.is(harness.gate.counts().open, 60)
  t.is(harness.gate.connections().length, 60)
  t.like(harness.gate.connections()[0], { phase: 'open', state: 'idle', name: 'rmm.example.test' })
  for (const { client } of clients) client.destroy()
  await untilIdle(harness)
  t.is(closings(harness).length, 60)
})

test('a client that offers h2 only gets no_application_protocol; one that also offers http/1.1 is served', async t => {
  const harness = await startGate(t)
  const failed = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${harness.port}`,
    '-servername',
    'rmm.example.test',
    '-alpn',
    'h2',
  ])
  t.regex(failed.output, /no application protocol/)
  const event = await harness.events.next('handshake.failed')
  t.is(event.code, 'ERR_SSL_NO_APPLICATION_PROTOCOL')
  const curl = await run('curl', [
    '-sk',
    '--http2',
    '--resolve',
    `rmm.example.test:${harness.port}:127.0.0.1`,
    `https://rmm.example.test:${harness.port}/`,
  ])
  t.is(curl.output, 'ok')
  await untilIdle(harness)
})

test('trap 4: a handshake that fails or is cut at any byte ends in one event and no crash', async t => {
  const harness = await startGate(t)
  const hello = await captureHello({ servername: 'rmm.example.test' })
  // A whole ClientHello, then garbage instead of the client's second flight.
  const garbage = await connectTcp(harness.port)
  garbage.write(Buffer.concat([hello, Buffer.alloc(64, 0x41)]))
  await readAll(garbage)
  t.is((await harness.events.next('handshake.failed')).serverName, 'rmm.example.test')
  // A whole ClientHello, then FIN; then RST.
  const finished = await connectTcp(harness.port)
  finished.end(hello)
  await harness.events.next('handshake.failed', 2)
  const reset = await connectTcp(harness.port)
  reset.write(hello)
  await once(reset, 'data')
  reset.resetAndDestroy()
  await harness.events.next('handshake.failed', 3)
  await untilIdle(harness)
  t.deepEqual(closings(harness), ['handshake.failed', 'handshake.failed', 'handshake.failed'])
})

test('trap 6: ClientHello and handshake have their own absolute timers, also against a client that trickles', async t => {
  // Two gates, so that on a busy machine the one timer cannot fire in place of the other.
  const harness = await startGate(t, { limits: { ...snapshot().limits, helloMs: 1_000 } })
  const second = await startGate(t, { limits: { ...snapshot().limits, helloMs: 60_000, handshakeMs: 250 } })
  const hello = await captureHello({ servername: 'rmm.example.test' })
  const trickling = await connectTcp(harness.port)
  let at = 0
  const feed = setInterval(() => trickling.write(hello.subarray(at, ++at)), 20)
  await readAll(trickling)
  clearInterval(feed)
  t.like(await harness.events.next('connection.refused'), { reason: 'hello-timeout', phase: 'hello' })

  const stuck = await connectTcp(second.port)
  stuck.write(hello)
  // One byte of a TLS record header at a time keeps an idle timer from ever firing.
  const record = Buffer.from([0x14, 3, 3, 0, 1, 1, 0x17, 3, 3, 0x40, 0])
  let next = 0
  const tickle = setInterval(
    () => stuck.write(record.subarray(next, ++next < record.length ? next : record.length)),
    30,
  )
  await readAll(stuck)
  clearInterval(tickle)
  t.is((await second.events.next('handshake.failed')).code, 'handshake-timeout')
  await untilIdle(harness)
  await untilIdle(second)
})

test('trap 28: connected and sent nothing is reported as silent, whether it closes, resets or waits', async t => {
  const harness = await startGate(t, { limits: { ...snapshot().limits, helloMs: 200 } })
  const closing = await connectTcp(harness.port)
  closing.end()
  t.is((await harness.events.next('connection.silent')).address, '127.0.0.1')
  const resetting = await connectTcp(harness.port)
  resetting.resetAndDestroy()
  await harness.events.next('connection.silent', 2)
  const waiting = await connectTcp(harness.port)
  await readAll(waiting)
  await harness.events.next('connection.silent', 3)
  await untilIdle(harness)
  t.deepEqual(closings(harness), ['connection.silent', 'connection.silent', 'connection.silent'])
})

test('apply opens and closes endpoints, keeps live connections, and one bad port does not stop the others', async t => {
  const harness = await startGate(t)
  const client = await connectTls(harness.port)
  const holder = createServer().listen(0, '127.0.0.1')
  t.teardown(() => holder.close())
  await once(holder, 'listening')
  const port = portOf(holder)
  harness.policy.snapshot = snapshot({
    listeners: [
      listener({ id: 'taken', endpoints: [{ host: '127.0.0.1', port }] }),
      listener({ id: 'second', endpoints: [{ host: '127.0.0.1', port: 0 }] }),
    ],
  })
  t.deepEqual(await harness.gate.apply(harness.policy.snapshot), { opened: 1, closed: 1, failed: 1 })
  const failed = await harness.events.next('listener.failed')
  t.is(failed.listener, 'taken')
  t.regex(failed.problem, new RegExp(`held by .*process ${process.pid}`))
  t.like(await harness.events.next('listener.closed'), { listener: 'https', connectionsKept: 1 })
  t.is(harness.gate.addresses()[0]?.listener, 'second')
  client.write('GET / HTTP/1.1\r\n\r\n')
  t.true((await readAll(client)).bytes.toString().endsWith('ok'))
  const again = await connectTls(harness.gate.addresses()[0]?.port ?? 0)
  again.destroy()
  await untilIdle(harness)
})

test('drain lets connections finish, takes no new ones, and cuts what is left', async t => {
  const harness = await startGate(
    t,
    {},
    {
      handler: connection => ({
        requests: () => 0,
        bytesIn: () => 0,
        bytesOut: () => 0,
        ending: () => 'drain',
        state: () => 'idle',
        policyChanged: () => undefined,
        drain: () => {
          if (connection.hello.alpn.length > 0) connection.socket.end()
        },
      }),
    },
  )
  const polite = await connectTls(harness.port, { ALPNProtocols: ['http/1.1'] })
  const stubborn = await connectTls(harness.port)
  polite.resume()
  stubborn.resume()
  t.is(await harness.gate.drain(300), 1)
  await t.throwsAsync(once((await import('node:net')).connect(harness.port, '127.0.0.1'), 'connect'))
  t.deepEqual(
    harness.events.of('connection.closed').map(({ ending }) => ending),
    ['drain', 'drain'],
  )
  await untilIdle(harness)
})

test('a handler that throws closes its connection only, and the event says so', async t => {
  const harness = await startGate(
    t,
    {},
    {
      handler: () => {
        throw new Error('boom')
      },
    },
  )
  const client = await connectTls(harness.port)
  await readAll(client)
  t.is((await harness.events.next('gate.internal-error')).problem, 'boom')
  t.is((await harness.events.next('connection.closed')).ending, 'internal-error')
  await untilIdle(harness)
})

test('a name without a certificate is refused with an alert and an event, not with a hang', async t => {
  const harness = await startGate(t, {}, { certificates: { forHost: () => undefined } })
  const { output } = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${harness.port}`,
    '-servername',
    'rmm.example.test',
  ])
  t.regex(output, /internal error/)
  t.is((await harness.events.next('handshake.failed')).code, 'certificate-missing')
  await untilIdle(harness)
})

test('several names have their own certificates; wildcard names too', async t => {
  const harness = await startGate(t, {
    names: [name(), name({ host: 'other.example.test' }), name({ host: '*.agents.example.test' })],
  })
  for (const servername of ['rmm.example.test', 'other.example.test', 'a1.agents.example.test']) {
    const client = await connectTls(harness.port, { servername, ca: await testAuthority() })
    t.true(client.authorized, servername)
    client.destroy()
  }
  await untilIdle(harness)
})

test('a client that resets an open connection ends in one closing event and no crash', async t => {
  const harness = await startGate(t)
  for (let turn = 0; turn < 20; turn++) {
    const raw = await connectTcp(harness.port)
    const client = connect({ socket: raw, servername: 'rmm.example.test', rejectUnauthorized: false })
    client.on('error', () => undefined)
    await once(client, 'secureConnect')
    if (turn % 2 === 0) client.write('GET / HTTP/1.1\r\n\r\n')
    raw.resetAndDestroy()
  }
  await until(() => closings(harness).length === 20)
  await untilIdle(harness)
  t.is(closings(harness).length, 20)
})

test('a client that is still in its hello when the gate drains is told, and not served', async t => {
  const harness = await startGate(t)
  const hello = await captureHello({ servername: 'rmm.example.test' })
  const client = await connectTcp(harness.port)
  client.write(hello.subarray(0, 10))
  await until(() => harness.gate.counts().open === 1)
  const draining = harness.gate.drain(1_000)
  client.write(hello.subarray(10))
  t.deepEqual([...(await readAll(client)).bytes], [21, 3, 3, 0, 2, 2, 80])
  t.is((await harness.events.next('connection.refused')).reason, 'draining')
  t.is(await draining, 0)
})
