// Reload under live traffic: nobody is disturbed by a new policy, a wrong policy never replaces a right one.
import { once } from 'node:events'
import test from 'ava'
import { WebSocket } from 'ws'
import { createFleet } from '../../src/practice/fleet.ts'
import { digestOf, seededDigest } from '../../src/practice/seeded-bytes.ts'
import {
  AGENT_NAME,
  ask,
  client,
  GB,
  openTls,
  SE,
  SHIPPED_RULES,
  startWholeGate,
  until,
  US,
  writeCertificate,
  type PolicyParts,
  type WholeGate,
} from '../support/whole-gate.ts'

const RELOADS = 20
const DOWNLOAD_BYTES = 40_000_000

/** The policy of one round: home, a site, limits and rules change, and US stays what it was. */
function changed(policy: PolicyParts, round: number): PolicyParts {
  return {
    ...policy,
    home: round % 2 === 0 ? ['US'] : ['US', 'GB'],
    sites: { [`site-${round}`]: { addresses: [`198.51.100.${round}`], trusted: round % 3 === 0 } },
    limits: { drain: '1s', connectionsPerSource: 1_000 + round, keepAlive: `${60 + round}s` },
    rules: { modes: { generic: round % 2 === 0 ? 'detect' : 'enforce' } },
    classes: { transfer: { limits: { concurrentPerSource: 100 + round } } },
  }
}

async function openWebSocket(gate: WholeGate): Promise<WebSocket> {
  const socket = await openTls(gate)
  const webSocket = new WebSocket(`ws://${AGENT_NAME}/LabTech/agent/ws`, { createConnection: () => socket })
  await once(webSocket, 'open')
  return webSocket
}

async function echo(webSocket: WebSocket, text: string): Promise<string> {
  webSocket.send(text)
  const [data] = (await once(webSocket, 'message')) as [Buffer]
  return data.toString()
}

test('twenty changes under live traffic disturb no WebSocket, download, long poll, kept connection or agent', async t => {
  await using gate = await startWholeGate({ watch: true, policy: { rules: SHIPPED_RULES } })
  const webSocket = await openWebSocket(gate)
  let closed = false
  webSocket.on('close', () => (closed = true))

  using downloading = client(gate)
  const download = await downloading.begin({
    path: `/LabTech/transfer/x?bytes=${DOWNLOAD_BYTES}&seed=reload`,
  })
  using polling = client(gate)
  const poll = polling.ask({ path: '/LabTech/transfer/practice/poll?ms=60000' })
  poll.catch(() => undefined)
  using kept = client(gate)
  const fleet = createFleet({
    agents: 10,
    seed: 7,
    addresses: `https://${AGENT_NAME}:${gate.port}`,
    resolve: () => ({ host: '127.0.0.1', port: gate.port }),
    ca: gate.ca,
    groups: [{ name: 'us', share: 1, proxySource: index => `216.160.83.${index}` }],
  })

  const rounds = async (): Promise<void> => {
    for (let round = 1; round <= RELOADS; round++) {
      gate.write(changed(gate.policy, round))
      await gate.lines.next('policy.loaded', entry => entry.changes.join().includes(`site-${round}`))
      t.is((await kept.ask({})).status, 200)
      t.is(await echo(webSocket, `round ${round}`), `round ${round}`)
      if (round === RELOADS) break
      if (round % 5 === 0) await fleet.checkInAll(5)
    }
  }
  await rounds()
  t.is(gate.lines.of('policy.loaded').length, RELOADS + 1)
  t.is(gate.lines.of('policy.rejected').length, 0)
  t.false(closed)
  t.is(kept.connections(), 1)

  const { sha256 } = await digestOf(download as AsyncIterable<Buffer>)
  t.is(sha256, seededDigest('reload', DOWNLOAD_BYTES))
  await fleet.checkInAll(5)
  t.is((await poll).status, 200)
  const { ok, failed } = fleet.stats()
  t.is(failed, 0)
  t.is(ok, 40)
  t.is(await gate.count('request.refused'), 0)
  t.is(await gate.count('connection.refused'), 0)
  fleet.stop()
  webSocket.terminate()
  for (const each of [downloading, polling, kept]) each[Symbol.dispose]()
  await gate.idle()
})

test('a broken file keeps the old policy, says so loudly and in the status, and a right one clears that', async t => {
  await using gate = await startWholeGate({ watch: true })
  const { id } = gate.portcullis.snapshot()
  const broken: readonly (readonly [string, RegExp])[] = [
    ['version: 1\nhome: [US\n', /portcullis\.yaml:\d+/],
    ['', /empty|version|nothing/],
    ['version: 1\nhome: [XX]\nmodel: all-traffic\n', /XX/],
  ]
  for (const [index, [text, names]] of broken.entries()) {
    gate.write(text)
    await until(() => gate.lines.of('policy.rejected').length === index + 1)
    const rejected = gate.lines.of('policy.rejected').at(-1)
    t.is(rejected?.keptId, id)
    t.regex(rejected?.problems.join('\n') ?? '', names)
    t.is((await ask(gate)).status, 200)
    await t.throwsAsync(ask(gate, {}, { from: GB }))
  }
  const status = await gate.status()
  t.is(status.policy.id, id)
  t.regex(status.policy.rejected?.problems.join() ?? '', /XX/)
  t.is(await gate.metric('portcullis_policy_rejections_total'), broken.length)

  gate.write({ ...gate.policy, home: ['US', 'GB'] })
  await gate.lines.next('policy.loaded', entry => entry.id !== id)
  t.is((await gate.status()).policy.rejected, null)
  t.is((await ask(gate, {}, { from: GB })).status, 200)
})

test('a policy that becomes stricter refuses the next request of a kept connection, and leaves a WebSocket alone', async t => {
  await using gate = await startWholeGate()
  gate.write({ ...gate.policy, home: ['US', 'GB'] })
  await gate.portcullis.reload('command')
  using british = client(gate, { from: GB })
  t.is((await british.ask({})).status, 200)
  const socket = await openTls(gate, { from: GB })
  const webSocket = new WebSocket(`ws://${AGENT_NAME}/LabTech/agent/ws`, { createConnection: () => socket })
  await once(webSocket, 'open')

  gate.write(gate.policy)
  await gate.portcullis.reload('command')
  const refused = await british.ask({})
  t.is(refused.status, 403)
  t.is(refused.headers.connection, 'close')
  t.regex(refused.text, /no part of the server is open to the country/)
  t.is(await echo(webSocket, 'still here'), 'still here')
  webSocket.terminate()
})

test('closeRefused closes exactly the connections that the new policy refuses', async t => {
  await using gate = await startWholeGate()
  gate.write({ ...gate.policy, home: ['US', 'GB', 'SE'] })
  await gate.portcullis.reload('command')
  const sources = [US, GB, SE, US, GB]
  const sockets = await Promise.all(sources.map(from => openTls(gate, { from })))
  const gone: string[] = []
  for (const [index, socket] of sockets.entries()) socket.on('close', () => gone.push(sources[index] ?? ''))

  gate.write({ ...gate.policy, home: ['US', 'SE'] })
  const result = await gate.admin('POST', '/v1/reload', { closeRefused: true })
  t.like(result, { ok: true, closed: 2 })
  await until(() => gone.length === 2)
  t.deepEqual(gone, [GB, GB])
  t.is(gate.portcullis.gate.counts().open, 3)
  t.deepEqual((await gate.status()).connections.map(entry => entry.address).sort(), [US, US, SE].sort())
  for (const socket of sockets) socket.destroy()
})

test('a new listener opens and a removed one closes, and connections of both live on', async t => {
  await using gate = await startWholeGate()
  const listeners = gate.policy['listeners'] as Record<string, unknown>
  using old = client(gate, { from: 'direct:127.0.0.9' })
  t.is((await old.ask({})).status, 200)
  using usual = client(gate)
  t.is((await usual.ask({})).status, 200)

  gate.write({
    ...gate.policy,
    listeners: { https: listeners['https'], extra: { address: '127.0.0.1:0', tls: 'strict' } },
  })
  const result = await gate.portcullis.reload('command')
  t.true(result.ok)
  const opened = await gate.lines.next('listener.opened', entry => entry.listener === 'extra')
  const closed = await gate.lines.next('listener.closed', entry => entry.listener === 'direct')
  t.is(closed.connectionsKept, 2)
  t.is(gate.lines.of('listener.opened').filter(entry => entry.listener === 'https').length, 1)
  const fresh = { from: 'direct:127.0.0.9', port: opened.port }
  t.is((await ask(gate, {}, fresh)).status, 200)
  await t.throwsAsync(ask(gate, {}, { ...fresh, tls: { maxVersion: 'TLSv1.2' } }))
  await t.throwsAsync(ask(gate, {}, { from: 'direct:127.0.0.9' }), { code: 'ECONNREFUSED' })
  t.is((await old.ask({})).status, 200)
  t.is((await usual.ask({})).status, 200)
  t.is(old.connections(), 1)
  t.is(usual.connections(), 1)
})

test('replaced certificate files serve new connections at once, and old connections live on', async t => {
  await using gate = await startWholeGate()
  using kept = client(gate)
  t.is((await kept.ask({})).status, 200)
  const fingerprint = async (): Promise<string> => {
    const socket = await openTls(gate)
    const found = socket.getPeerCertificate().fingerprint256
    socket.destroy()
    return found
  }
  const before = await fingerprint()
  await writeCertificate(gate.directory, AGENT_NAME)
  await until(async () => (await fingerprint()) !== before)
  t.true(gate.lines.of('certificate.loaded').filter(entry => entry.name === AGENT_NAME).length >= 2)
  t.is((await kept.ask({})).status, 200)
  t.is(kept.connections(), 1)
})

test('reloads that come at once are done one after the other', async t => {
  await using gate = await startWholeGate()
  const results = await Promise.all(
    Array.from({ length: 10 }, async (_, index) => {
      gate.write({ ...gate.policy, home: index % 2 === 0 ? ['US', 'SE'] : ['US'] })
      return gate.portcullis.reload('command')
    }),
  )
  t.true(results.every(result => result.ok))
  t.deepEqual([...gate.portcullis.snapshot().home.value], ['US'])
  await t.throwsAsync(ask(gate, {}, { from: SE }))
  t.is(gate.lines.of('gate.internal-error').length, 0)
})

test('a reload by command that moves the admin address is answered, and the new address serves', async t => {
  await using gate = await startWholeGate()
  const before = gate.portcullis.adminEndpoint()
  gate.write({ ...gate.policy, admin: { address: '127.0.0.2:0' } })
  t.like(await gate.admin('POST', '/v1/reload', {}), { ok: true })
  t.is(gate.portcullis.adminEndpoint()?.host, '127.0.0.2')
  t.is((await gate.status()).policy.id, gate.portcullis.snapshot().id)
  await t.throwsAsync(fetch(`http://127.0.0.1:${before?.port ?? 0}/healthz`))
})
