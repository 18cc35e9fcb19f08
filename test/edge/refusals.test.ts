// Refusals on the wire: real alerts that real clients log, resets, plain answers, and limits on how long refused clients stay.
import { once } from 'node:events'
import test from 'ava'
import type { BanEntry, Overlay } from '../../src/policy/snapshot.ts'
import { CidrTrie } from '../../src/net/cidr.ts'
import { tlsAlertRecord } from '../../src/edge/tls-alert.ts'
import type { RuleSet } from '../../src/ips/rule-set.ts'
import { at, cidr, emptyOverlay, listener, name, noRules, snapshot } from '../support/snapshot.ts'
import {
  captureHello,
  closings,
  connectTcp,
  connectTls,
  readAll,
  run,
  startGate,
  until,
  untilIdle,
} from './gate-harness.ts'

function banned(range: string): Overlay {
  const ban = new CidrTrie<BanEntry>()
  const entry: BanEntry = {
    range: cidr(range),
    classes: null,
    reason: 'test',
    owner: 'test',
    expiresMs: null,
    at: at(70),
  }
  ban.insert(entry.range, entry)
  return { ...emptyOverlay(), ban }
}

const openssl = (port: number, ...args: readonly string[]): Promise<{ code: number; output: string }> =>
  run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args])

test('trap 8: alerts of hand-made refusals show in the log of a real client', async t => {
  const harness = await startGate(t, {}, { overlay: banned('127.66.0.0/16') })
  const unknown = await openssl(harness.port, '-servername', 'other.example.test')
  t.regex(unknown.output, /unrecognized name/)
  t.like(await harness.events.next('connection.refused'), {
    reason: 'name-unknown',
    phase: 'hello',
    stage: 'name',
    saw: 'other.example.test',
    serverName: 'other.example.test',
    line: 'policies/portcullis.yaml:20:1',
    reference: 'REF-1',
  })
  const missing = await openssl(harness.port, '-noservername')
  t.regex(missing.output, /unrecognized name/)
  t.is((await harness.events.next('connection.refused', 2)).reason, 'name-missing')
  const low = await openssl(
    harness.port,
    '-tls1_1',
    '-cipher',
    'DEFAULT:@SECLEVEL=0',
    '-servername',
    'rmm.example.test',
  )
  t.regex(low.output, /alert protocol version/)
  t.like(await harness.events.next('connection.refused', 3), {
    reason: 'tls-version-too-low',
    offered: ['TLSv1.1'],
    saw: 'offered TLSv1.1',
  })
  const ban = await openssl(harness.port, '-bind', '127.66.1.1:0', '-servername', 'rmm.example.test')
  t.regex(ban.output, /access denied/)
  const refused = await harness.events.next('connection.refused', 4)
  t.like(refused, {
    reason: 'banned',
    phase: 'accept',
    address: '127.66.1.1',
    serverName: 'rmm.example.test',
  })
  t.regex(refused.ja4 ?? '', /^t13d/)
  await untilIdle(harness)
  t.is(closings(harness).length, 4)
})

test('a rule on the ClientHello refuses by an alert, or records; both name the rule', async t => {
  const rule = (mode: 'enforce' | 'detect'): RuleSet => ({
    ...noRules,
    matchHello: ({ alpn }) =>
      alpn.includes('scan')
        ? [
            {
              ruleId: 'hello-1',
              title: 'A scanner',
              severity: 'high',
              mode,
              field: 'hello.alpn',
              value: 'scan',
              steps: [],
              score: 0,
              exception: null,
              at: at(80),
            },
          ]
        : [],
  })
  const harness = await startGate(t, { rules: rule('enforce') })
  const scan = ['-servername', 'rmm.example.test', '-alpn', 'scan']
  t.regex((await openssl(harness.port, ...scan)).output, /access denied/)
  const refused = await harness.events.next('connection.refused')
  t.like(refused, { reason: 'rule', stage: 'rules', phase: 'hello', saw: 'hello-1 in hello.alpn' })
  t.is(refused.hits?.[0]?.ruleId, 'hello-1')
  t.is(refused.line, 'policies/portcullis.yaml:80:1')
  const usual = await connectTls(harness.port)
  usual.destroy()
  harness.policy.snapshot = { ...harness.policy.snapshot, rules: rule('detect') }
  await openssl(harness.port, ...scan)
  t.like(await harness.events.next('rule.detected'), {
    class: null,
    host: 'rmm.example.test',
    method: '',
    hit: { ruleId: 'hello-1' },
  })
  await untilIdle(harness)
  t.is(harness.events.of('connection.refused').length, 1)
})

test('time limits do not count while the gate was held up: a ClientHello that came in time is read', async t => {
  const harness = await startGate(t, { limits: { ...snapshot().limits, helloMs: 100 } })
  const hello = await captureHello({ servername: 'rmm.example.test' })
  const client = await connectTcp(harness.port)
  await until(() => harness.gate.counts().connections === 1)
  client.write(hello)
  // Nothing of this process runs meanwhile: the bytes lie in the kernel when the timer is due.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150)
  const [answer] = (await once(client, 'data')) as [Buffer]
  t.is(answer[0], 22, 'a handshake record, no alert and no reset')
  client.destroy()
  await untilIdle(harness)
  t.is(harness.events.of('connection.refused').length, 0)
})

test('time limits do not count while the gate was held up: a client that was about to speak gets its time again', async t => {
  const harness = await startGate(t, { limits: { ...snapshot().limits, helloMs: 400 } })
  const hello = await captureHello({ servername: 'rmm.example.test' })
  const client = await connectTcp(harness.port)
  await until(() => harness.gate.counts().connections === 1)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700)
  // The timer is due now, and the client speaks after it.
  await new Promise(resolve => setTimeout(resolve, 1))
  await new Promise(resolve => setImmediate(resolve))
  await new Promise(resolve => setImmediate(resolve))
  client.write(hello)
  const [answer] = (await once(client, 'data')) as [Buffer]
  t.is(answer[0], 22)
  client.destroy()
  await untilIdle(harness)
})

test('trap 8: an alert arrives although the client goes on sending', async t => {
  const harness = await startGate(t)
  const hello = await captureHello({ servername: 'other.example.test' })
  const client = await connectTcp(harness.port)
  client.write(hello)
  const feed = setInterval(() => client.write(Buffer.alloc(2_000)), 5)
  client.once('data', () => {
    clearInterval(feed)
    client.end()
  })
  const { bytes, errorCode } = await readAll(client)
  t.deepEqual([...bytes], [21, 3, 3, 0, 2, 2, 112])
  t.is(errorCode, null)
  await untilIdle(harness)
})

test('alerts carry the record version of the client, within what TLS knows', t => {
  t.deepEqual([...tlsAlertRecord('protocol_version', 0x0301)], [21, 3, 1, 0, 2, 2, 70])
  t.deepEqual([...tlsAlertRecord('access_denied', 0x0304)], [21, 3, 3, 0, 2, 2, 49])
  t.deepEqual([...tlsAlertRecord('internal_error', 0x0002)], [21, 3, 0, 0, 2, 2, 80])
})

test('trap 12: limits per source are refused with an event, by the address of the client', async t => {
  const harness = await startGate(t, { limits: { ...snapshot().limits, connectionsPerSource: 2 } })
  const clients = [await connectTls(harness.port), await connectTls(harness.port)]
  const third = await openssl(harness.port, '-servername', 'rmm.example.test')
  t.regex(third.output, /access denied/)
  t.like(await harness.events.next('connection.refused'), {
    reason: 'connection-limit-source',
    saw: '2 of 2 open',
    stage: 'limits',
  })
  const other = await connectTls(harness.port, { localAddress: '127.0.0.9' })
  t.is(harness.gate.counts().sources, 2)
  for (const client of [...clients, other]) client.destroy()
  await untilIdle(harness)
  const again = await connectTls(harness.port)
  again.destroy()
  await untilIdle(harness)
})

test('trap 20: a name whose servers are down and which says reset is reset after its ClientHello', async t => {
  const harness = await startGate(
    t,
    { names: [name({ whenDown: 'reset' }), name({ host: 'console.example.test' })] },
    { isUpstreamUp: () => false },
  )
  const client = await connectTcp(harness.port)
  client.write(await captureHello({ servername: 'rmm.example.test' }))
  const { bytes, errorCode } = await readAll(client)
  t.is(bytes.length, 0)
  t.is(errorCode, 'ECONNRESET')
  t.is((await harness.events.next('connection.refused')).reason, 'upstream-down')
  const console_ = await connectTls(harness.port, { servername: 'console.example.test' })
  console_.destroy()
  await untilIdle(harness)
})

test('plain HTTP on the TLS port is told to use https; other protocols are named and closed', async t => {
  const harness = await startGate(t)
  const curl = await run('curl', ['-si', `http://127.0.0.1:${harness.port}/LabTech/Agent.aspx`])
  t.regex(curl.output, /^HTTP\/1\.1 400 Bad Request\r\n/)
  t.regex(curl.output, /use https:\/\/ instead of http:\/\/\. Reference: REF-1/)
  t.like(await harness.events.next('connection.refused'), { reason: 'plaintext-on-tls', saw: 'plain HTTP' })
  const ssh = await connectTcp(harness.port)
  ssh.write('SSH-2.0-OpenSSH_9.2p1\r\n')
  t.is((await readAll(ssh)).bytes.length, 0)
  t.like(await harness.events.next('connection.refused', 2), { reason: 'plaintext-on-tls', saw: 'SSH' })
  await untilIdle(harness)
})

test('bytes that are no ClientHello get decode_error', async t => {
  const harness = await startGate(t)
  for (const [bytes, reason] of [
    [Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]), 'hello-invalid'],
    [Buffer.from([22, 3, 1, 0x40, 0, 1, 9, 0, 0]), 'hello-too-large'],
  ] as const) {
    const client = await connectTcp(harness.port)
    client.write(bytes)
    t.deepEqual([...(await readAll(client)).bytes], [21, 3, 3, 0, 2, 2, 50])
    t.true(harness.events.of('connection.refused').some(event => event.reason === reason))
  }
  await untilIdle(harness)
})

test('a flood of refused sources cannot hold places: beyond the cap they are closed at once', async t => {
  const harness = await startGate(t, {}, { overlay: banned('127.66.0.0/16'), maxLingering: 3 })
  const held = await Promise.all([1, 2, 3].map(index => connectTcp(harness.port, `127.66.0.${index}`)))
  await until(() => harness.gate.counts().lingering === 3)
  const late = await connectTcp(harness.port, '127.66.0.4')
  await readAll(late)
  t.like(await harness.events.next('connection.refused'), { address: '127.66.0.4', reason: 'banned' })
  t.is(harness.gate.counts().lingering, 3)
  const welcome = await connectTls(harness.port)
  welcome.destroy()
  for (const client of held) client.end()
  await untilIdle(harness)
  t.is(harness.events.of('connection.refused').length, 4)
})

test('a refused client that says nothing is still reported as refused', async t => {
  const harness = await startGate(
    t,
    { limits: { ...snapshot().limits, helloMs: 100 } },
    { overlay: banned('127.66.0.1/32') },
  )
  const client = await connectTcp(harness.port, '127.66.0.1')
  await readAll(client)
  t.like(await harness.events.next('connection.refused'), { reason: 'banned', serverName: null, ja4: null })
  await untilIdle(harness)
})

test('the PROXY header names the client, from load balancers only, and only with it', async t => {
  const balanced = listener({ loadBalancers: [cidr('127.0.0.0/24')] })
  const harness = await startGate(t, { listeners: [balanced] })
  const resolve = [
    '-sk',
    '--resolve',
    `rmm.example.test:${harness.port}:127.0.0.1`,
    `https://rmm.example.test:${harness.port}/`,
  ]
  const served = await run('curl', ['--haproxy-protocol', ...resolve])
  t.is(served.output, 'ok')
  const closed = await harness.events.next('connection.closed')
  t.is(closed.address, '127.0.0.1')

  const hello = await captureHello({ servername: 'rmm.example.test' })
  const through = async (header: string | Buffer): Promise<Buffer> => {
    const client = await connectTcp(harness.port, '127.0.0.7')
    client.write(header)
    client.write(hello)
    const { bytes } = await readAll(client)
    return bytes
  }
  const refused = await through('PROXY TCP4 203.0.113.9 192.0.2.1 54321 443\r\n')
  t.deepEqual([...refused], [21, 3, 3, 0, 2, 2, 49])
  t.like(await harness.events.next('connection.refused'), {
    reason: 'country-refused',
    address: '203.0.113.9',
    port: 54321,
    country: 'CN',
    serverName: 'rmm.example.test',
  })
  t.is((await through('')).length, 0)
  t.like(await harness.events.next('connection.refused', 2), {
    reason: 'proxy-header-missing',
    address: '127.0.0.7',
  })
  await through('PROXY TCP4 nonsense\r\n')
  t.is((await harness.events.next('connection.refused', 3)).reason, 'proxy-header-invalid')
  // A peer that is no load balancer cannot choose its address.
  const liar = await connectTcp(harness.port, '127.0.5.5')
  liar.write('PROXY TCP4 198.51.100.1 192.0.2.1 54321 443\r\n')
  await readAll(liar)
  t.like(await harness.events.next('connection.refused', 4), {
    reason: 'plaintext-on-tls',
    address: '127.0.5.5',
  })
  await untilIdle(harness)
})

test('trap 11: one load balancer, many clients: facts and counts stay with the clients', async t => {
  const harness = await startGate(t, {
    listeners: [listener({ loadBalancers: [cidr('127.0.0.1/32')] })],
    limits: { ...snapshot().limits, connectionsPerSource: 1 },
  })
  const { connect } = await import('node:tls')
  const sockets = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const raw = await connectTcp(harness.port)
      // Cut into pieces, so that header and ClientHello share a segment with neither end aligned.
      raw.write(`PROXY TCP4 198.51.100.${index} 192.0.2.1 `)
      raw.write(`${1_000 + index} 443\r\n`)
      const tls = connect({ socket: raw, servername: 'rmm.example.test', rejectUnauthorized: false })
      tls.on('error', () => undefined)
      await once(tls, 'secureConnect')
      return tls
    }),
  )
  await until(() => harness.secured.length === 20)
  t.deepEqual(
    harness.secured
      .map(({ standing, clientPort }) => `${standing.source.address.text} ${clientPort}`)
      .toSorted(),
    Array.from({ length: 20 }, (_, index) => `198.51.100.${index} ${1_000 + index}`).toSorted(),
  )
  t.is(harness.gate.counts().sources, 20)
  for (const socket of sockets) socket.destroy()
  await untilIdle(harness)
})

test('health checks of a load balancer are silent, whatever the policy says of its address', async t => {
  const harness = await startGate(
    t,
    { listeners: [listener({ loadBalancers: [cidr('127.66.0.1/32')] })] },
    { overlay: banned('127.66.0.1/32') },
  )
  const bare = await connectTcp(harness.port, '127.66.0.1')
  bare.end()
  t.is((await harness.events.next('connection.silent')).address, '127.66.0.1')
  const local = await connectTcp(harness.port, '127.66.0.1')
  local.end(Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex'))
  await harness.events.next('connection.silent', 2)
  await untilIdle(harness)
  t.deepEqual(closings(harness), ['connection.silent', 'connection.silent'])
})
