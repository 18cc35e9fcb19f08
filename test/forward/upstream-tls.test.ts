// TLS towards the upstream: verified by authority and name, or by pinned keys, for requests, upgrades and probes alike.
import { createHash, X509Certificate } from 'node:crypto'
import { createServer, type TLSSocket } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { probe } from '../../src/forward/probe.ts'
import { createForwarder } from '../../src/forward/wire-forwarder.ts'
import type { UpstreamMember, UpstreamTls } from '../../src/policy/snapshot.ts'
import { testAuthority, testCertificate, type TestCertificate } from '../support/certificates.ts'
import { testProbe } from '../support/snapshot.ts'
import { listen, memberAt, rawUpstream, run } from './support/exchange.ts'

const NAME = 'rmm-inner.example.test'

async function tlsUpstream(
  t: ExecutionContext,
  certificate: TestCertificate,
): Promise<{ port: number; seen: () => number }> {
  let seen = 0
  const server = createServer({ ...certificate, ALPNProtocols: ['h2', 'http/1.1'] }, (socket: TLSSocket) => {
    socket.on('error', () => undefined)
    socket.on('data', () => {
      seen++
      const body = String(socket.alpnProtocol)
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    })
  })
  server.on('tlsClientError', () => undefined)
  return { port: await listen(t, server), seen: () => seen }
}

function pinOf(certificate: TestCertificate): string {
  const spki = new X509Certificate(certificate.cert).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest('base64')
}

async function outcomes(
  t: ExecutionContext,
  member: UpstreamMember,
): Promise<{ code: string | null; body: string; probe: string | null }> {
  const forwarder = createForwarder()
  t.teardown(() => forwarder.close())
  const out = await run(forwarder, member).done
  const result = await probe(member, testProbe, NAME, new AbortController().signal)
  const problem = 'problem' in result ? result.problem : null
  if (out.error !== null) t.true(out.error.retry)
  return { code: out.error?.code ?? null, body: Buffer.concat(out.body).toString(), probe: problem }
}

async function trusting(overrides: Partial<UpstreamTls> = {}): Promise<UpstreamTls> {
  return { serverName: NAME, caPem: await testAuthority(), pinsSha256: [], ...overrides }
}

test('trap 19: a certificate of the private authority for the right name is accepted, over HTTP/1.1 only', async t => {
  const { port } = await tlsUpstream(t, await testCertificate([NAME]))
  t.deepEqual(await outcomes(t, memberAt(port, await trusting())), {
    code: null,
    body: 'http/1.1',
    probe: null,
  })
})

test('an address as server name is verified as an address', async t => {
  const { port } = await tlsUpstream(t, await testCertificate(['127.0.0.1']))
  t.is((await outcomes(t, memberAt(port, await trusting({ serverName: '127.0.0.1' })))).code, null)
  t.is((await outcomes(t, memberAt(port, await trusting({ serverName: '127.0.0.2' })))).code, 'upstream-tls')
})

test('wrong name, expired and unknown authority are refused before a byte of the request', async t => {
  const good = await testCertificate([NAME])
  for (const [certificate, tls, problem] of [
    [await testCertificate(['other.example.test']), await trusting(), /altnames/],
    [await testCertificate([NAME], { days: -1 }), await trusting(), /expired/],
    [good, await trusting({ caPem: null }), /verify|unable to get/],
  ] as const) {
    const { port, seen } = await tlsUpstream(t, certificate)
    const out = await outcomes(t, memberAt(port, tls))
    t.is(out.code, 'upstream-tls')
    t.regex(out.probe ?? '', problem)
    t.is(seen(), 0)
  }
})

test('a pinned key is enough without a chain, and another key is refused in spite of one', async t => {
  const pinned = await testCertificate([NAME], { days: -1 })
  const { port } = await tlsUpstream(t, pinned)
  const pins = ['AAAA', pinOf(pinned)]
  t.is((await outcomes(t, memberAt(port, await trusting({ caPem: null, pinsSha256: pins })))).code, null)
  const other = await tlsUpstream(t, await testCertificate([NAME]))
  const out = await outcomes(t, memberAt(other.port, await trusting({ pinsSha256: pins })))
  t.is(out.code, 'upstream-tls')
  t.regex(out.probe ?? '', /pinned/)
  t.is(other.seen(), 0)
})

test('a server that never finishes the TLS handshake is unreachable in time', async t => {
  const plain = await rawUpstream(t, socket => void socket.write('HTTP/1.1 200 OK\r\n\r\n'))
  const forwarder = createForwarder()
  t.teardown(() => forwarder.close())
  const silent = run(forwarder, memberAt(plain, await trusting()), { connectMs: 150 })
  const { error } = await silent.done
  t.is(error?.code, 'upstream-unreachable')
  t.true(error?.retry)
})
