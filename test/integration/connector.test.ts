// The connector program before a whole gate: HTTP to a server that has no other way in, and what happens when either is gone.
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { addKey, removeKey } from '../../src/access/edit.ts'
import { startPracticeRmm } from '../../src/practice/rmm.ts'
import { testCertificate } from '../support/certificates.ts'
import { pinOf } from '../tunnel/harness.ts'
import { connectorDirectory, startConnectorProcess, type ConnectorProcess } from '../tunnel/process.ts'
import {
  AGENT_NAME,
  ask,
  startWholeGate,
  until,
  type PolicyParts,
  type WholeGate,
} from '../support/whole-gate.ts'

// One after the other: a gate that waits for the processor looks dead to its connectors.
const test = anyTest.serial

const KEY = 'correct horse battery'
const OTHER = 'another key altogether'

/** A gate whose only server is behind connector `rmm`; two keys are known. */
async function gateBehindConnector(
  t: ExecutionContext,
  upstream: PolicyParts = { primary: 'connector://rmm/https' },
): Promise<WholeGate> {
  const gate = await startWholeGate({
    upstream,
    policy: {
      gateway: { connectors: { rmm: { key: 'head-office' } } },
      // Loading rules would hold this process, and with it the gate, for longer than a tunnel may be silent.
      rules: { packs: [] },
    },
  })
  t.teardown(() => gate[Symbol.asyncDispose]())
  const file = join(gate.directory, 'state/access.json')
  await addKey(file, KEY, { name: 'head-office', maxClients: null }, Date.now())
  await addKey(file, OTHER, { name: 'branch', maxClients: null }, Date.now())
  await gate.admin('POST', '/v1/access/reload')
  return gate
}

function connector(
  t: ExecutionContext,
  gate: WholeGate,
  services: PolicyParts,
  key = KEY,
  more: PolicyParts = {},
): ConnectorProcess {
  const settings = {
    gates: [{ url: `https://${AGENT_NAME}:${gate.directPort}`, address: '127.0.0.1', ca: 'ca.pem' }],
    services,
    ...more,
  }
  const running = startConnectorProcess(connectorDirectory(settings, key, { 'ca.pem': gate.ca }))
  t.teardown(() => running[Symbol.asyncDispose]())
  return running
}

const isServed = async (gate: WholeGate): Promise<boolean> =>
  ['up', 'returning'].includes((await gate.status()).upstreams[0]?.state ?? '')

test('an RMM server without any way in is served through its connector', async t => {
  const rmm = await startPracticeRmm()
  t.teardown(() => rmm.stop())
  const gate = await gateBehindConnector(t)
  // Nothing serves the name: agents are reset, and a connector gets in all the same.
  await t.throwsAsync(ask(gate, { path: '/LabTech/Agent.aspx' }))
  const port = Number(new URL(rmm.url).port)
  const running = connector(t, gate, { https: { tcp: `127.0.0.1:${port}` } })
  await running.next('gate.attached')
  t.is((await gate.lines.next('client.connected')).client, 'rmm')
  await until(() => isServed(gate))
  const answer = await ask(gate, { path: '/LabTech/Agent.aspx' })
  t.is(answer.status, 200)
  const big = await ask(gate, { path: '/LabTech/Transfer/x?bytes=20000000' })
  t.is(big.status, 200)
  t.is(big.body.length, 20_000_000)
  t.is((await gate.status()).upstreams[0]?.origin, 'connector://rmm/https')
  t.is(await running.stop(), 0)
  await gate.lines.next('client.disconnected')
  await until(async () => !(await isServed(gate)))
})

test("a connector's own TLS and TLS of the gate through it reach a server whose certificate is verified", async t => {
  const inner = await testCertificate(['inner.example.test'])
  const rmm = await startPracticeRmm({ tls: inner })
  t.teardown(() => rmm.stop())
  const address = `127.0.0.1:${new URL(rmm.url).port}`
  const gate = await gateBehindConnector(t)
  const wrong = connector(t, gate, {
    https: { tls: address, ca: 'ca.pem', serverName: 'other.example.test' },
  })
  t.regex((await wrong.next('service.unreachable')).message, /ERR_TLS_CERT_ALTNAME_INVALID|altname/i)
  await wrong.stop()
  const own = connector(t, gate, { https: { tls: address, ca: 'ca.pem', serverName: 'inner.example.test' } })
  await own.next('gate.attached')
  await until(() => isServed(gate))
  t.is((await ask(gate, { path: '/LabTech/Agent.aspx' })).status, 200)

  const pinned = await gateBehindConnector(t, {
    primary: 'connector+tls://rmm/https',
    tls: { pins: `sha256/${pinOf(inner.cert)}` },
  })
  const blind = connector(t, pinned, { https: { tcp: address } })
  await blind.next('gate.attached')
  await until(() => isServed(pinned))
  t.is((await ask(pinned, { path: '/LabTech/Agent.aspx' })).status, 200)
})

test('the holder of another key cannot take the place of a connector that upstreams go through', async t => {
  const rmm = await startPracticeRmm()
  t.teardown(() => rmm.stop())
  const gate = await gateBehindConnector(t)
  const port = Number(new URL(rmm.url).port)
  const thief = connector(t, gate, { https: { tcp: `127.0.0.1:${port}` } }, OTHER)
  await thief.next('gate.attached')
  await gate.lines.next('client.connected')
  t.false(await isServed(gate))
  await t.throwsAsync(ask(gate, { path: '/LabTech/Agent.aspx' }))
  const owner = connector(t, gate, { https: { tcp: `127.0.0.1:${port}` } })
  await owner.next('gate.attached')
  await until(() => isServed(gate))
  t.is((await ask(gate, { path: '/LabTech/Agent.aspx' })).status, 200)
  // Its own key goes: the other one stays, and so do its requests.
  removeKey(join(gate.directory, 'state/access.json'), 'branch', Date.now())
  await gate.admin('POST', '/v1/access/reload')
  await until(() => thief.lines.some(line => /the gateway key was removed/.test(line.message)))
  t.is((await ask(gate, { path: '/LabTech/Agent.aspx' })).status, 200)
  t.is(owner.lines.filter(line => line.event === 'gate.lost').length, 0)
})

test('a wrong key, a wrong authority and a wrong pin are told apart and attach nothing', async t => {
  const gate = await gateBehindConnector(t)
  const services = { https: { tcp: '127.0.0.1:9' } }
  const url = `https://${AGENT_NAME}:${gate.directPort}`
  const wrongKey = connector(t, gate, services, 'not the key at all')
  t.regex((await wrongKey.next('gate.unreachable')).message, /The gateway key is not among those/)
  const refused = await gate.lines.next('client.key-refused')
  t.is(refused.client, 'rmm')
  t.is(refused.realAddress, '127.0.0.1')
  t.is(refused.publicAddress, '127.0.0.1')
  const wrongPin = connector(t, gate, services, KEY, {
    gates: [{ url, address: '127.0.0.1', pin: `sha256/${'A'.repeat(43)}=` }],
  })
  t.regex((await wrongPin.next('gate.unreachable')).message, /public key is sha256\/\S+, which is not pinned/)
  const wrongAuthority = connector(t, gate, services, KEY, { gates: [{ url, address: '127.0.0.1' }] })
  t.regex((await wrongAuthority.next('gate.unreachable')).message, /is not trusted: /)
  t.is(gate.lines.of('client.connected').length, 0)
})
