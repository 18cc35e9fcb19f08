// Attaching as an attacher would do it wrong on purpose: blank and unknown keys, old TLS, silence, floods, other paths, other ports.
import { once } from 'node:events'
import {
  connect as connectH2,
  performServerHandshake,
  type Http2Session,
  type ServerHttp2Session,
} from 'node:http2'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import * as fc from 'fast-check'
import test, { type ExecutionContext } from 'ava'
import { DialError, dialGate } from '../../src/tunnel/connector/dial.ts'
import { createConduct } from '../../src/tunnel/conduct.ts'
import { CONTROL_FRAMES } from '../../src/tunnel/h2/limits.ts'
import { identityHeaders, readIdentity, readKey } from '../../src/tunnel/identity.ts'
import {
  attach,
  FakeAccess,
  HOST,
  identity,
  KEY,
  KEY_NAME,
  startTunnelGate,
  type TunnelGate,
} from './harness.ts'

async function raw(
  t: ExecutionContext,
  gate: TunnelGate,
  lines: readonly string[],
  tls13 = true,
): Promise<string> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: gate.port,
    servername: HOST,
    ca: gate.address.caPem ?? '',
    ...(tls13 ? {} : { maxVersion: 'TLSv1.2' as const }),
  })
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  socket.write([...lines, `Host: ${HOST}`, 'Connection: close', '', ''].join('\r\n'))
  let text = ''
  socket.on('data', chunk => (text += String(chunk)))
  await once(socket, 'close')
  return text
}

/** A joined socket on which the test speaks as it likes. */
async function joined(t: ExecutionContext, gate: TunnelGate, protocol = 'portcullis-h2'): Promise<TLSSocket> {
  const headers = identityHeaders(identity(), KEY)
  const { socket } = await dialGate(gate.address, null, protocol, () => headers, AbortSignal.timeout(20_000))
  t.teardown(() => socket.destroy())
  return socket
}

const closeOf = (session: Http2Session): Promise<void> =>
  new Promise(resolve => void session.once('close', () => resolve()))

const refusalOf = async (attaching: Promise<unknown>): Promise<DialError['failure']> => {
  try {
    await attaching
  } catch (error) {
    if (error instanceof DialError) return error.failure
    throw error
  }
  throw new Error('it attached')
}

test('N13: while no gateway key exists nothing attaches, and a blank key is refused whatever keys there are', async t => {
  const empty = await startTunnelGate(t, { access: new FakeAccess({}) })
  t.is((await refusalOf(attach(empty, {}))).code, 'key-refused')
  t.is((await refusalOf(attach(empty, {}, { key: '' }))).code, 'key-refused')
  const gate = await startTunnelGate(t)
  const blank = await refusalOf(attach(gate, {}, { key: '' }))
  t.is(blank.code, 'key-refused')
  t.regex(blank.message, /Reference OWN-/)
  t.is(gate.access.checks, 0)
  t.is((await refusalOf(attach(gate, {}, { key: `${KEY} ` }))).code, 'key-refused')
  t.deepEqual(
    gate.events
      .of('client.key-refused')
      .map(({ client, realAddress, publicAddress }) => [client, realAddress, publicAddress]),
    [
      ['rmm', '10.1.2.3', '127.0.0.1'],
      ['rmm', '10.1.2.3', '127.0.0.1'],
    ],
  )
  t.is(gate.parts.registry.list().length + empty.parts.registry.list().length, 0)
})

test('the key is nowhere in events, and paths of the gate never reach an upstream in any spelling', async t => {
  const gate = await startTunnelGate(t)
  const connector = await attach(gate, {})
  await gate.events.next('client.connected')
  for (const path of [
    '/.well-known/portcullis/connector',
    '/.well-known/portcullis',
    '/.well-known/portcullis/../portcullis/x',
    '/.WELL-KNOWN/Portcullis/connector',
    '/%2ewell-known/portcullis/operator/login',
    '/x/..;/.well-known/portcullis/connector',
  ]) {
    t.regex(await raw(t, gate, [`GET ${path} HTTP/1.1`]), /^HTTP\/1\.1 4(?:00|03|04|26) /, path)
  }
  connector.session.end('over')
  await gate.events.next('client.disconnected')
  t.is(gate.forwarder.exchanges.length, 0)
  t.false(JSON.stringify(gate.events.all).includes(KEY))
  t.false(JSON.stringify(gate.events.all).includes(Buffer.from(KEY).toString('base64url')))
})

test('TLS 1.2 is refused with 426 and the reason', async t => {
  const gate = await startTunnelGate(t)
  const answer = await raw(t, gate, ['GET /.well-known/portcullis/connector HTTP/1.1'], false)
  t.regex(answer, /^HTTP\/1\.1 426 /)
  t.regex(answer, /tls-version-own/)
})

test('N20: a key with a limit takes so many clients; one that returns is not one more', async t => {
  const gate = await startTunnelGate(t, { access: new FakeAccess({ [KEY]: KEY_NAME }, 1) })
  await attach(gate, {})
  await gate.events.next('client.connected')
  const second = await refusalOf(
    attach(gate, {}, { identity: { name: 'second', instance: 'second-0123456789ab' } }),
  )
  t.is(second.code, 'capacity-exceeded')
  t.deepEqual(gate.events.of('client.capacity-exceeded'), [
    { client: 'second', realAddress: '10.1.2.3', publicAddress: '127.0.0.1', max: 1 },
  ])
  const again = await attach(gate, {}, { identity: { instance: 'another-process-0001' } })
  await again.ready
  await gate.events.next('client.connected', 2)
  t.is(gate.parts.registry.list().length, 1)
})

test('trap 32: a returning connector takes over at once and the zombie is told why', async t => {
  const gate = await startTunnelGate(t)
  const zombie = await attach(gate, {})
  await gate.events.next('client.connected')
  const first = gate.parts.registry.find(KEY_NAME, 'rmm')
  const heir = await attach(gate, {}, { identity: { instance: 'another-process-0001' } })
  const { why, said } = await zombie.closed
  t.is(why, 'another connector with the same name and key has attached')
  t.true(said)
  const now = gate.parts.registry.find(KEY_NAME, 'rmm')
  t.not(now?.id, first?.id)
  t.is(gate.parts.registry.list().length, 1)
  // The same process with a second connection is the same client: nobody is told anything.
  const twin = await attach(gate, {}, { identity: { instance: 'another-process-0001' } })
  await twin.ready
  t.is((await heir.closed).why, 'a newer connection has taken over')
  t.is(gate.parts.registry.find(KEY_NAME, 'rmm')?.id, now?.id)
  t.is(gate.events.of('client.connected').length, 2)
  t.is(gate.events.of('client.disconnected').length, 1)
})

test('removing a key detaches its clients and nobody else', async t => {
  const gate = await startTunnelGate(t, {
    access: new FakeAccess({ [KEY]: KEY_NAME, 'second key': 'branch' }),
  })
  const mine = await attach(gate, {})
  const other = await attach(gate, {}, { key: 'second key', identity: { name: 'branch-pc' } })
  await Promise.all([mine.ready, other.ready])
  await gate.events.next('client.connected', 2)
  gate.access.remove('second key')
  t.is((await other.closed).why, 'the gateway key was removed')
  t.deepEqual(
    gate.parts.registry.list().map(client => client.name),
    ['rmm'],
  )
})

test('an attacher that says nothing after the 101 holds no place and goes within seconds', async t => {
  const gate = await startTunnelGate(t)
  const socket = await joined(t, gate)
  t.is(gate.parts.registry.connections('127.0.0.1'), 1)
  t.is(gate.parts.registry.list().length, 0)
  socket.resume()
  await once(socket, 'close')
  t.is(gate.parts.registry.connections(), 0)
  t.is(gate.events.of('client.connected').length, 0)
})

test('bytes that are no HTTP/2 end the connection, not the gate', async t => {
  const gate = await startTunnelGate(t)
  for (const bytes of [Buffer.alloc(100_000, 0xff), Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(9)]) {
    const socket = await joined(t, gate)
    socket.resume()
    socket.write(bytes)
    await once(socket, 'close')
  }
  const good = await attach(gate, {})
  await good.ready
  await gate.events.next('client.connected')
  t.is(gate.events.of('gate.internal-error').length, 0)
})

test('a connector that floods with pings, or opens streams itself, is thrown out', async t => {
  const gate = await startTunnelGate(t)
  const flood = async (attack: (session: ServerHttp2Session) => void): Promise<void> => {
    const socket = await joined(t, gate)
    const session = performServerHandshake(socket, { maxOutstandingPings: 1_000 })
    session.on('error', () => undefined)
    await once(session, 'remoteSettings')
    attack(session)
    await closeOf(session)
  }
  await flood(session => {
    for (let index = 0; index < CONTROL_FRAMES + 10; index++) session.ping(() => undefined)
  })
  // Two clients on one connection: the attacker speaks as a client, too, and asks the gate for something.
  const socket = await joined(t, gate)
  const backwards = connectH2('http://gate', { createConnection: () => socket })
  backwards.on('error', () => undefined)
  backwards.request({ ':path': '/' }).on('error', () => undefined)
  await closeOf(backwards)
  t.is(gate.parts.registry.connections(), 0)
})

test('whoever breaks the protocol again and again waits, with his key and from his address alone, and what is attached stays', async t => {
  const gate = await startTunnelGate(t, {
    access: new FakeAccess({ [KEY]: KEY_NAME, 'second key': 'branch' }),
  })
  const mine = await attach(gate, {}, { identity: { name: 'neighbour' } })
  await gate.events.next('client.connected')
  const garbage = async (): Promise<void> => {
    const socket = await joined(t, gate)
    socket.resume()
    socket.write(Buffer.alloc(100, 0xff))
    await once(socket, 'close')
  }
  for (let count = 1; count <= 8; count++) {
    await garbage()
    await gate.events.next('client.protocol-broken', count)
  }
  const held = await refusalOf(attach(gate, {}))
  t.is(held.code, 'conduct-held')
  t.true(held.retryAfterMs !== null && held.retryAfterMs > 0 && held.retryAfterMs <= 60_000)
  const other = await attach(gate, {}, { key: 'second key' })
  await other.ready
  t.is(gate.parts.registry.find(KEY_NAME, 'neighbour')?.name, 'neighbour')
  mine.session.end('over')
  // The memory by itself, with a clock by hand.
  const conduct = createConduct()
  for (let nowMs = 0; nowMs < 80_000; nowMs += 10_000) conduct.broke('k', 'a', nowMs)
  t.is(conduct.heldMs('k', 'a', 80_000), 0)
  for (let nowMs = 80_000; nowMs < 80_008; nowMs++) conduct.broke('k', 'a', nowMs)
  t.is(conduct.heldMs('k', 'a', 80_010), 59_990)
  t.is(conduct.heldMs('k', 'b', 80_010), 0)
  t.is(conduct.heldMs('k', 'a', 140_000), 0)
})

test('keys are checked for so many at once and no more, and those who wait are told when to come again', async t => {
  const access = new FakeAccess({ [KEY]: KEY_NAME })
  const release = Promise.withResolvers<void>()
  access.hold = release.promise
  const gate = await startTunnelGate(t, { access })
  const attempts = Array.from({ length: 12 }, (_, index) =>
    attach(gate, {}, { key: 'not the key', identity: { instance: `instance-${1_000_000_000 + index}` } }),
  )
  const busy: DialError['failure'][] = []
  const enough = Promise.withResolvers<void>()
  const all = attempts.map(async attempt => {
    busy.push(await refusalOf(attempt))
    if (busy.length === 4) enough.resolve()
  })
  await enough.promise
  for (const { code, retryAfterMs } of busy) t.deepEqual([code, retryAfterMs], ['key-check-busy', 2_000])
  release.resolve()
  await Promise.all(all)
  t.is(access.checks, 8)
})

test('what headers say is read back as it was written, and nothing else passes', t => {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)
  const service = fc.record({
    kind: fc.constantFrom('tcp' as const, 'udp' as const),
    name: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/),
  })
  const viewOf = (flat: readonly string[]) => ({
    get: (header: string) =>
      flat[flat.findIndex((text, at) => at % 2 === 0 && text.toLowerCase() === header) + 1],
  })
  fc.assert(
    fc.property(
      name,
      fc.uniqueArray(service, { selector: entry => entry.name }),
      fc.string({ minLength: 1, unit: 'grapheme' }),
      (client, services, key) => {
        const whole = identity({ name: client, services })
        const headers = viewOf(identityHeaders(whole, key))
        t.deepEqual(readIdentity(headers), whole)
        t.is(readKey(headers), Buffer.from(key).toString())
      },
    ),
  )
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (client, instance, services) => {
      const read = readIdentity({
        get: header =>
          ({ 'portcullis-client': client, 'portcullis-instance': instance, 'portcullis-services': services })[
            header
          ],
      })
      t.is(typeof read, 'string')
    }),
  )
})
