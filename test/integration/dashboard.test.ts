// The dashboard of a whole gate: only where the policy asks for it, moved by reload, no reason for agents to wait, by its own certificate.
import { request } from 'node:https'
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import test from 'ava'
import { startRunningBench, type RunningBench } from '../cli/support.ts'
import { testAuthority, testCertificate } from '../support/certificates.ts'

type Asked = { readonly status: number; readonly body: string; readonly sha256: string }

function ask(port: number, host: string, ca: string): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const servername = /^[\d.]+$/.test(host) ? '' : host
    request(
      { host: '127.0.0.1', port, ca, servername, agent: false, path: '/login', headers: { host } },
      response => {
        let body = ''
        response.on('data', part => (body += String(part)))
        response.on('end', () => {
          const { fingerprint256 } = (response.socket as TLSSocket).getPeerCertificate()
          resolve({ status: response.statusCode ?? 0, body, sha256: fingerprint256 })
        })
      },
    )
      .on('error', reject)
      .end()
  })
}

const devAuthority = (bench: RunningBench): string =>
  readFileSync(join(bench.root, 'certs/development/authority.crt'), 'utf8')

test('there is no dashboard until the policy asks for one; it moves and goes with the policy', async t => {
  const bench = await startRunningBench(t)
  t.is(bench.portcullis.dashboardEndpoint(), null)
  bench.mergePolicy('dashboard: { address: "127.0.0.1:0" }')
  const loaded = await bench.portcullis.reload('command')
  t.true(loaded.ok && loaded.changes.some(change => change.startsWith('dashboard: none -> 127.0.0.1:0')))
  const { port } = bench.portcullis.dashboardEndpoint() ?? { port: 0 }
  const { status, body } = await ask(port, 'localhost', devAuthority(bench))
  t.is(status, 200)
  t.regex(body, /Nobody can log in yet/)
  t.regex(body, /operators add NAME --role admin/)
  t.is((await ask(port, '127.0.0.1', devAuthority(bench))).status, 200)

  const { cert, key } = await testCertificate(['gate.example.test'])
  writeFileSync(join(bench.root, 'certs/own.crt'), cert)
  writeFileSync(join(bench.root, 'certs/own.key'), key)
  bench.mergePolicy('dashboard: { names: [gate.example.test], certificate: { cert: own.crt, key: own.key } }')
  t.true((await bench.portcullis.reload('command')).ok)
  t.is(bench.portcullis.dashboardEndpoint()?.port, port, 'it stays where it is')
  t.is((await ask(port, 'gate.example.test', await testAuthority())).status, 200)

  bench.writePolicy(bench.policyText().replace(/^dashboard:\n(?: .*\n)+/m, ''))
  t.true((await bench.portcullis.reload('command')).ok)
  t.is(bench.portcullis.dashboardEndpoint(), null)
  await t.throwsAsync(ask(port, '127.0.0.1', await testAuthority()))
})

test('a port that is taken is an event; the gate serves agents all the same', async t => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const bench = await startRunningBench(t, `dashboard: { address: '127.0.0.1:${port}' }`)
  t.is(bench.portcullis.dashboardEndpoint(), null)
  t.like(await bench.ask('8.8.8.8'), { status: 200 })
  const { value } = await bench.json(['events', '--name', 'listener.failed'])
  t.like((value as unknown as readonly { readonly fields: object }[])[0]?.fields, {
    listener: 'dashboard',
    port,
  })
})
