// TLS profiles: minimum versions, session resumption and its limits, legacy clients, certificates by key type.
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import test from 'ava'
import { TICKET_EPOCH_MS, ticketKeys } from '../../src/edge/tls-profiles.ts'
import type { Site, Snapshot, TlsProfile } from '../../src/policy/snapshot.ts'
import { at, listener, name, site, siteTrie, snapshot } from '../support/snapshot.ts'
import {
  captureHello,
  connectTcp,
  connectTls,
  run,
  startGate,
  startRelay,
  untilIdle,
  type Harness,
} from './gate-harness.ts'

const LEGACY = ['-cipher', 'DEFAULT:@SECLEVEL=0', '-servername', 'rmm.example.test']

async function client(port: number, ...args: readonly string[]): Promise<string> {
  const { output } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args])
  return output
}

function threeListeners(): Partial<Snapshot> {
  return {
    listeners: (['modern', 'strict', 'legacy'] as const).map(profile =>
      listener({ id: profile, tlsProfile: profile, withoutName: 'rmm.example.test' }),
    ),
  }
}

const listenerPort = (harness: Harness, id: string): number => harness.ports.get(id) ?? 0

/** Connects with a session and returns the new one and whether it was resumed. */
async function resume(
  port: number,
  session: Buffer | undefined,
  maxVersion: 'TLSv1.2' | 'TLSv1.3',
  localAddress = '127.0.0.1',
): Promise<{ session: Buffer; resumed: boolean }> {
  const raw = await connectTcp(port, localAddress)
  const socket: TLSSocket = connect({
    socket: raw,
    servername: 'rmm.example.test',
    rejectUnauthorized: false,
    maxVersion,
    session,
  })
  socket.on('error', () => undefined)
  const ticket = once(socket, 'session') as Promise<[Buffer]>
  await once(socket, 'secureConnect')
  const resumed = socket.isSessionReused()
  socket.write('GET / HTTP/1.1\r\n\r\n')
  socket.resume()
  const next = resumed ? (session ?? Buffer.alloc(0)) : (await ticket)[0]
  socket.destroy()
  return { session: next, resumed }
}

test('trap 1: the minimum version of a profile holds for the whole handshake, whatever name is asked for', async t => {
  const harness = await startGate(t, threeListeners())
  const strict = listenerPort(harness, 'strict')
  t.regex(await client(strict, '-tls1_2', '-servername', 'rmm.example.test'), /alert protocol version/)
  t.regex(await client(strict, '-tls1_2', '-noservername'), /alert protocol version/)
  t.regex(
    await client(strict, '-tls1_3', '-servername', 'rmm.example.test'),
    /Protocol *: TLSv1\.3|TLSv1\.3, Cipher/,
  )
  t.true(harness.secured.every(({ tls }) => tls.version === 'TLSv1.3'))
  t.regex(await client(listenerPort(harness, 'modern'), ...LEGACY, '-tls1'), /alert protocol version/)
  await untilIdle(harness)
})

test('trap 1: a client that offers 1.3 in its hello but would finish with 1.2 cannot get below the profile', async t => {
  const harness = await startGate(t, threeListeners())
  // The peeked hello offers 1.3 and 1.2; the TLS library alone answers, with the minimum of the profile.
  const hello = await captureHello({ servername: 'rmm.example.test', minVersion: 'TLSv1.2' })
  const versions = hello.indexOf(Buffer.from([0x00, 0x2b, 0x00, 0x05, 0x04, 0x03, 0x04, 0x03, 0x03]))
  t.true(versions > 0)
  const raw = await connectTcp(listenerPort(harness, 'strict'))
  raw.write(hello)
  const [answer] = (await once(raw, 'data')) as [Buffer]
  t.is(answer[0], 22)
  t.true(answer.includes(Buffer.from([0x00, 0x2b, 0x00, 0x02, 0x03, 0x04])))
  raw.destroy()
  await untilIdle(harness)
})

for (const [flag, version] of [
  ['-tls1', 'TLSv1'],
  ['-tls1_1', 'TLSv1.1'],
  ['-tls1_2', 'TLSv1.2'],
  ['-tls1_3', 'TLSv1.3'],
] as const) {
  test(`trap 7: the legacy profile serves ${version}`, async t => {
    const harness = await startGate(t, threeListeners())
    await client(listenerPort(harness, 'legacy'), flag, ...LEGACY)
    const closed = await harness.events.next('connection.closed')
    t.like(closed, { negotiated: version, offered: [version], tlsProfile: 'legacy' })
    await untilIdle(harness)
  })
}

test('trap 44: curl with TLS 1.0 is served by the legacy profile, and told why elsewhere', async t => {
  const harness = await startGate(t, threeListeners())
  const curl = (port: number): Promise<{ output: string }> =>
    run('curl', [
      '-skv',
      '--tlsv1.0',
      '--tls-max',
      '1.0',
      '--ciphers',
      'ALL:@SECLEVEL=0',
      '--resolve',
      `rmm.example.test:${port}:127.0.0.1`,
      `https://rmm.example.test:${port}/`,
    ])
  t.regex((await curl(listenerPort(harness, 'legacy'))).output, /\bok/)
  t.regex((await curl(listenerPort(harness, 'modern'))).output, /alert protocol version/)
  await untilIdle(harness)
})

test('trap 7: RSA-only clients get the RSA certificate, others ECDSA', async t => {
  const harness = await startGate(t)
  const rsa = await client(
    harness.port,
    '-tls1_2',
    '-cipher',
    'ECDHE-RSA-AES128-GCM-SHA256',
    '-servername',
    'rmm.example.test',
  )
  t.regex(rsa, /Peer signature type: RSA/)
  t.regex(
    await client(harness.port, '-tls1_3', '-servername', 'rmm.example.test'),
    /Peer signature type: ECDSA/,
  )
  await untilIdle(harness)
})

test('a legacy exception of a site is used by clients that need it, and only by that site', async t => {
  const exception = {
    minimum: 'TLSv1',
    reason: 'old scanners',
    owner: 'test',
    expiresMs: Number.MAX_SAFE_INTEGER,
    at: at(51),
  } as const
  const sites: Site[] = [site('old', ['127.77.0.0/16'], { tlsException: exception })]
  const harness = await startGate(t, { sites, siteByAddress: siteTrie(sites) })
  await client(harness.port, '-bind', '127.77.0.1:0', '-tls1', ...LEGACY)
  t.like(await harness.events.next('connection.closed'), {
    negotiated: 'TLSv1',
    tlsProfile: 'legacy',
    site: 'old',
  })
  await client(harness.port, '-bind', '127.77.0.1:0', '-servername', 'rmm.example.test')
  t.like(await harness.events.next('connection.closed', 2), { negotiated: 'TLSv1.3', tlsProfile: 'modern' })
  t.regex(await client(harness.port, '-tls1', ...LEGACY), /alert protocol version/)
  await untilIdle(harness)
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`trap 5: a ${version} session resumes in its own profile and in no other`, async t => {
    const names = [name(), name({ host: 'other.example.test' })]
    const harness = await startGate(t, {
      names,
      listeners: (['modern', 'legacy'] as const).map(profile =>
        listener({ id: profile, tlsProfile: profile }),
      ),
    })
    const modern = listenerPort(harness, 'modern')
    const legacy = listenerPort(harness, 'legacy')
    const first = await resume(legacy, undefined, version)
    t.false(first.resumed)
    const second = await resume(legacy, first.session, version)
    t.true(second.resumed)
    const crossed = await resume(modern, second.session, version)
    t.false(crossed.resumed)
    t.true((await resume(modern, crossed.session, version)).resumed)
    await harness.events.next('connection.closed', 4)
    t.deepEqual(
      harness.events.of('connection.closed').map(({ resumed }) => resumed),
      [false, true, false, true],
    )
    await untilIdle(harness)
  })

  test(`trap 5: a ${version} session does not survive a change of the policy of its profile`, async t => {
    const harness = await startGate(t)
    const first = await resume(harness.port, undefined, version)
    t.true((await resume(harness.port, first.session, version)).resumed)
    const tlsProfiles = new Map(snapshot().tlsProfiles)
    tlsProfiles.set('modern', { name: 'modern', minimum: 'TLSv1.2', ciphers: '', policyHash: 'changed' })
    harness.policy.snapshot = { ...harness.policy.snapshot, tlsProfiles }
    await harness.gate.apply(harness.policy.snapshot)
    t.false((await resume(harness.port, first.session, version)).resumed)
    await untilIdle(harness)
  })

  test(`trap 6: ${version} ticket keys rotate with the epoch, and old tickets fall back to a full handshake`, async t => {
    let nowMs = TICKET_EPOCH_MS * 100
    const harness = await startGate(t, {}, { clock: () => nowMs })
    const first = await resume(harness.port, undefined, version)
    t.true((await resume(harness.port, first.session, version)).resumed)
    nowMs += TICKET_EPOCH_MS
    const after = await resume(harness.port, first.session, version)
    t.false(after.resumed)
    t.true((await resume(harness.port, after.session, version)).resumed)
    await untilIdle(harness)
  })
}

test('ticket keys differ by secret, epoch, profile and policy', t => {
  const profile: TlsProfile = { name: 'modern', minimum: 'TLSv1.2', ciphers: '', policyHash: 'a' }
  const secret = randomBytes(32)
  const keys = [
    ticketKeys(secret, 1, profile),
    ticketKeys(randomBytes(32), 1, profile),
    ticketKeys(secret, 2, profile),
    ticketKeys(secret, 1, { ...profile, name: 'strict' }),
    ticketKeys(secret, 1, { ...profile, policyHash: 'b' }),
  ]
  t.is(keys[0]?.length, 48)
  t.is(new Set(keys.map(key => key.toString('hex'))).size, keys.length)
  t.deepEqual(ticketKeys(secret, 1, profile), keys[0])
})

test('trap 9: a ClientHello over several TLS records is served', async t => {
  const harness = await startGate(t)
  const relay = await startRelay(t, harness.port, async (gate, hello) => {
    for (let from = 5; from < hello.length; from += 90) {
      const piece = hello.subarray(from, from + 90)
      gate.write(Buffer.concat([Buffer.from([22, 3, 1, 0, piece.length]), piece]))
    }
  })
  const socket = await connectTls(relay)
  t.true(socket.authorized)
  socket.destroy()
  await untilIdle(harness)
})

test('renegotiation is refused', async t => {
  const harness = await startGate(t)
  const socket = await connectTls(harness.port, { maxVersion: 'TLSv1.2' })
  const error = await new Promise(resolve => {
    socket.on('error', resolve)
    if (!socket.renegotiate({ rejectUnauthorized: false }, resolve)) resolve(new Error('not sent'))
  })
  t.true(error instanceof Error)
  socket.destroy()
  await untilIdle(harness)
})
