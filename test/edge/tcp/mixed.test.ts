// Mixed and TLS listeners on loopback: what the first bytes lead to, TLS that ends or passes through, silence, and who speaks what.
import { once } from 'node:events'
import { connect } from 'node:net'
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import type { StreamListener, StreamService } from '../../../src/policy/streams.ts'
import { listener, snapshot } from '../../support/snapshot.ts'
import { testAuthority, testCertificate } from '../../support/certificates.ts'
import { connectTcp, connectTls, readAll, run } from '../gate-harness.ts'
import {
  attempt,
  endOf,
  member,
  service,
  startServer,
  startStreams,
  STREAM_HOST,
  stream,
  take,
} from './harness.ts'

const edge: StreamService = service([], { start: 'tls', action: { kind: 'edge', listener: 'https' } })
const redirect: StreamService = service([], { start: 'http', action: { kind: 'redirect' } })

async function mixed(
  t: ExecutionContext,
  more: readonly StreamService['start'][] = [],
  over: Partial<StreamListener> = {},
) {
  const server = await startServer(t, socket => socket.pipe(socket))
  const services = more.map((start, index) =>
    service([member(server.port, `raw/${index + 2}/primary`)], {
      start,
      ...(start === 'bytes' ? { signatures: [Buffer.from('SSH-2.0-')] } : {}),
    }),
  )
  const harness = await startStreams(t, [stream([edge, redirect, ...services], { kind: 'mixed', ...over })])
  return { ...harness, server }
}

const NETSUPPORT =
  'POST http://203.0.113.10/fakeurl.htm HTTP/1.1\r\nUser-Agent: NetSupport Manager/1.3\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 4\r\nConnection: Keep-Alive\r\n\r\nPOLL'

test('one port: TLS goes to the HTTPS edge, plain HTTP is redirected, a product and silence to their servers', async t => {
  const { port, events, secured } = await mixed(t, ['netsupport', 'bytes', 'binary', 'silence'])
  const secure = await connectTls(port)
  secure.write('GET / HTTP/1.1\r\n\r\n')
  t.regex((await readAll(secure)).bytes.toString(), /^HTTP\/1\.1 200 OK/)
  t.is(secured.length, 1)
  t.like(await events.next('connection.closed'), { listener: 'https', requests: 1 })

  const plain = await run('curl', [
    '-s',
    '-i',
    '-H',
    'Host: rmm.example.test',
    `http://127.0.0.1:${port}/LabTech/x?y=1`,
  ])
  t.regex(plain.output, /^HTTP\/1\.1 301 /)
  t.regex(plain.output, new RegExp(`Location: https://rmm\\.example\\.test:${port}/LabTech/x\\?y=1\\r`))

  const polls = await connectTcp(port)
  for (const round of [1, 2]) {
    polls.write(NETSUPPORT)
    t.is(await take(polls, NETSUPPORT.length), NETSUPPORT, `poll ${round} on the same connection`)
  }
  polls.resetAndDestroy()
  t.like(await events.next('stream.opened'), { start: 'netsupport', class: 'relay' })

  const ssh = await connectTcp(port)
  ssh.write('SSH-')
  ssh.write('2.0-x\r\n')
  t.is(await take(ssh, 11), 'SSH-2.0-x\r\n')
  t.is((await events.next('stream.opened', 2)).start, 'bytes')
  ssh.resetAndDestroy()
  const binary = await connectTcp(port)
  binary.write(Buffer.from([4, 0, 200, 7]))
  t.is((await events.next('stream.opened', 3)).start, 'binary')
  await take(binary, 4)
  binary.resetAndDestroy()

  const silent = await connectTcp(port)
  t.is((await events.next('stream.opened', 4)).start, 'silence')
  silent.write('late')
  t.is(await take(silent, 4), 'late')
  silent.resetAndDestroy()
})

test('trap 28 P18: connected and sent nothing is a port test that succeeded, whether the client leaves or stays', async t => {
  const { port, events } = await mixed(t)
  const leaving = await connectTcp(port)
  leaving.end()
  t.like(await events.next('connection.silent'), { listener: 'raw', address: '127.0.0.1' })
  t.is(await attempt(port), 'end')
  await events.next('connection.silent', 2)
  t.deepEqual(events.of('stream.refused'), [])
})

test('what no service takes is refused by name: other protocols, NetSupport where nobody uses it, HTTP that posts', async t => {
  const { port, events } = await mixed(t)
  const binary = connect({ host: '127.0.0.1', port })
  binary.write(Buffer.from([0x30, 0x0c, 2, 1]))
  t.is(await endOf(binary), 'ECONNRESET')
  t.like(await events.next('stream.refused'), { reason: 'service-unknown', saw: 'neither TLS nor HTTP' })

  const foreign = connect({ host: '127.0.0.1', port })
  foreign.write(NETSUPPORT)
  t.regex((await readAll(foreign)).bytes.toString(), /^HTTP\/1\.1 403 Forbidden[^]*Reference: S-2/)
  t.is((await events.next('stream.refused', 2)).reason, 'netsupport-elsewhere')

  const posting = connect({ host: '127.0.0.1', port })
  posting.write(
    'POST /LabTech/Agent.aspx HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 6\r\n\r\nsecret',
  )
  t.regex((await readAll(posting)).bytes.toString(), /^HTTP\/1\.1 400 [^]*use https/)
  t.like(await events.next('stream.refused', 3), { reason: 'plaintext-on-tls', saw: 'POST in plain HTTP' })

  const open = await run('curl', ['-s', '-i', '-H', 'Host: evil.example.com', `http://127.0.0.1:${port}/`])
  t.notRegex(open.output, /Location/i, 'no redirect to names that are not served')
})

test('a refused source that speaks TLS on a mixed port is told by an alert, everybody else by a reset', async t => {
  const { port, events } = await mixed(t)
  const harness = await startStreams(t, [stream([edge, redirect], { kind: 'mixed' })], {
    geo: { ...snapshot().geo, loopback: { value: 'refuse', at: snapshot().geo.loopback.at } },
  })
  const { output } = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${harness.port}`,
    '-servername',
    'rmm.example.test',
  ])
  t.regex(output, /alert access denied/)
  t.like(await harness.events.next('connection.refused'), { reason: 'network-refused', listener: 'https' })
  const plain = connect({ host: '127.0.0.1', port: harness.port })
  plain.write('GET / HTTP/1.1\r\n\r\n')
  t.is(await endOf(plain), 'ECONNRESET')
  t.is((await harness.events.next('stream.refused')).reason, 'network-refused')
  t.deepEqual([port > 0, events.of('stream.refused').length], [true, 0])
})

/** A TLS server that answers each line with its own. */
async function tlsServer(t: ExecutionContext, names: readonly string[]): Promise<number> {
  const server = createTlsServer(await testCertificate(names), socket => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

test('TLS passed through: the name decides, the server’s own certificate is seen, and the ClientHello is judged', async t => {
  const mesh = await tlsServer(t, ['mesh.example.test'])
  const other = await tlsServer(t, ['other.example.test'])
  const services = [
    service([member(mesh)], { start: 'tls', names: ['mesh.example.test'] }),
    service([member(other, 'raw/2/primary')], { start: 'tls', names: ['*.example.test'] }),
  ]
  const { port, events } = await startStreams(t, [stream(services, { kind: 'mixed' })])
  for (const servername of ['mesh.example.test', 'other.example.test']) {
    const client = tlsConnect({ host: '127.0.0.1', port, servername, ca: await testAuthority() })
    await once(client, 'secureConnect')
    client.end('hello')
    t.is((await readAll(client)).bytes.toString(), 'hello')
    t.regex(client.getPeerX509Certificate()?.subject ?? servername, new RegExp(servername))
  }
  t.deepEqual(
    events.of('stream.opened').map(({ serverName, member: name }) => [serverName, name]),
    [
      ['mesh.example.test', 'raw/primary'],
      ['other.example.test', 'raw/2/primary'],
    ],
  )
  const { output } = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${port}`,
    '-servername',
    'x.elsewhere.test',
  ])
  t.regex(output, /unrecognized name/)
  t.like(await events.next('stream.refused'), { reason: 'name-unknown', serverName: 'x.elsewhere.test' })
})

test('TLS that ends here: the certificate of its name, half-close through it, and versions below its profile', async t => {
  const server = await startServer(t, socket => {
    let question = ''
    socket.setEncoding('latin1')
    socket.on('data', chunk => (question += String(chunk)))
    socket.on('end', () => socket.end(Buffer.from(`answer to ${question}`, 'latin1')))
  })
  const ending = service([member(server.port)], {
    action: {
      kind: 'forward',
      members: [member(server.port)],
      terminate: { host: STREAM_HOST, tlsProfile: 'modern' },
      proxyProtocol: true,
      returnAfterMs: 1_000,
    },
  })
  const { port, events } = await startStreams(t, [stream([ending], { kind: 'tls' })])
  const client = tlsConnect({
    host: '127.0.0.1',
    port,
    servername: STREAM_HOST,
    ca: await testAuthority(),
  })
  client.allowHalfOpen = true
  await once(client, 'secureConnect')
  client.end('a question')
  const { bytes } = await readAll(client)
  // PROXY protocol version 2 comes first: signature, version and command, TCP over IPv4, 12 bytes.
  const text = bytes.toString('latin1')
  const header = '\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01'
  t.true(text.startsWith(`answer to ${header}`), JSON.stringify(text))
  t.true(text.endsWith('a question') && text.length === 10 + header.length + 4 + 10)
  t.like(await events.next('stream.opened'), { negotiated: 'TLSv1.3', class: 'relay' })
  t.is((await events.next('stream.closed')).ending, 'complete')

  const old = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${port}`,
    '-tls1_1',
    '-cipher',
    'ALL:@SECLEVEL=0',
  ])
  t.regex(old.output, /protocol version/)
  t.is((await events.next('stream.refused')).reason, 'tls-version-too-low')
  const plain = await run('curl', ['-s', '-i', `http://127.0.0.1:${port}/`])
  t.regex(plain.output, /^HTTP\/1\.1 400 /)
  t.is((await events.next('stream.refused', 2)).reason, 'plaintext-on-tls')
})

test('B8: TLS on a plain port is named: refused with an alert where nothing speaks it, else by what the server answers', async t => {
  const plain = await startServer(t, socket => {
    socket.on('data', () => socket.write('ERROR what is that\r\n'))
    socket.on('end', () => socket.end())
  })
  const strict = await startStreams(t, [stream([service([member(plain.port)])], { speaks: 'plain' })])
  const { output } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${strict.port}`])
  t.regex(output, /alert access denied/)
  t.like(await strict.events.next('stream.refused'), { reason: 'tls-on-plain', localPort: strict.port })
  t.is((await strict.events.next('stream.closed')).ending, 'refused')
  t.is((await plain.nth(0)).bytesRead, 0, 'the server saw nothing of it')

  const open = await startStreams(t, [stream([service([member(plain.port)])])])
  await run('openssl', ['s_client', '-connect', `127.0.0.1:${open.port}`])
  t.like(await open.events.next('stream.mismatch'), {
    what: 'tls-to-plain',
    upstream: `127.0.0.1:${plain.port}`,
  })

  // What servers that expect TLS answer to plain text: an alert (protocol_version), and the end.
  const alerting = await startServer(t, socket => {
    socket.on('data', () => socket.end(Buffer.from([0x15, 3, 3, 0, 2, 2, 70])))
  })
  const secure = await startStreams(t, [stream([service([member(alerting.port)])])])
  const client = await connectTcp(secure.port)
  client.write('a protocol of its own, in plain text\r\n')
  await readAll(client)
  t.is((await secure.events.next('stream.mismatch')).what, 'plain-to-tls')

  const fitting = await startStreams(t, [stream([service([member(await tlsServer(t, ['x.test']))])])])
  const matching = tlsConnect({
    host: '127.0.0.1',
    port: fitting.port,
    servername: 'x.test',
    ca: await testAuthority(),
  })
  await once(matching, 'secureConnect')
  matching.end('fits')
  await readAll(matching)
  await fitting.events.next('stream.closed')
  t.is(fitting.events.of('stream.mismatch').length, 0)
})

test('upstream TLS is verified: by authority and name, or not at all', async t => {
  const port = await tlsServer(t, ['inner.example.test'])
  const check = { serverName: 'inner.example.test', caPem: await testAuthority(), pinsSha256: [] }
  const good = await startStreams(t, [stream([service([member(port, 'raw/primary', { tls: check })])])])
  const client = await connectTcp(good.port)
  client.write('over TLS')
  t.is(await take(client, 8), 'over TLS')
  client.resetAndDestroy()
  const wrong = { ...check, serverName: 'another.example.test' }
  const bad = await startStreams(t, [stream([service([member(port, 'raw/primary', { tls: wrong })])])])
  t.is(await attempt(bad.port), 'ECONNRESET')
  t.regex((await bad.events.next('stream.refused')).saw, /another\.example\.test/)
})

test('PROXY protocol from a load balancer: required of it, and the client that it names is the one that is judged', async t => {
  const server = await startServer(t, socket => socket.end('ok'))
  const balancers = {
    loadBalancers: [{ ...(await import('../../support/snapshot.ts')).cidr('127.0.0.8/32') }],
  }
  const { port, events } = await startStreams(t, [stream([service([member(server.port)])], balancers)])
  const named = await connectTcp(port, '127.0.0.8')
  named.write('PROXY TCP4 198.51.100.7 10.0.0.1 4711 16888\r\n')
  t.is((await readAll(named)).bytes.toString(), 'ok')
  t.like(await events.next('stream.opened'), { address: '198.51.100.7', port: 4711, country: 'US' })
  const foreign = await connectTcp(port, '127.0.0.8')
  foreign.write('PROXY TCP4 203.0.113.7 10.0.0.1 4711 16888\r\n')
  t.is(await endOf(foreign), 'ECONNRESET')
  t.is((await events.next('stream.refused')).reason, 'country-refused')
  const without = await connectTcp(port, '127.0.0.8')
  without.write('hello there\r\n')
  t.is(await endOf(without), 'ECONNRESET')
  t.is((await events.next('stream.refused', 2)).reason, 'proxy-header-missing')
})

test('the HTTPS listener that a mixed port hands to may have no address of its own', async t => {
  const { port } = await startStreams(t, [stream([edge], { kind: 'mixed' })], {
    listeners: [listener({ endpoints: [] })],
  })
  const secure = await connectTls(port)
  secure.write('GET / HTTP/1.1\r\n\r\n')
  t.regex((await readAll(secure)).bytes.toString(), /200 OK/)
})
