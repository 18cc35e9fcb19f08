// The simulated fleet against practice servers, a real openssl server, and servers that misbehave on purpose.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createAgent, type AgentOptions, type SimulatedAgent } from '../../src/practice/agent.ts'
import { createFleet, type FleetOptions } from '../../src/practice/fleet.ts'
import { startPracticeRmm, type PracticeRmm, type PracticeRmmOptions } from '../../src/practice/rmm.ts'
import { testAuthority, testCertificate } from '../support/certificates.ts'

const NAME = 'rmm.example.test'
const TLS_10 = { min: 'TLSv1', max: 'TLSv1' } as const

async function start(t: ExecutionContext, options: PracticeRmmOptions = {}): Promise<PracticeRmm> {
  const rmm = await startPracticeRmm(options)
  t.teardown(() => rmm.stop())
  return rmm
}

async function startSecure(
  t: ExecutionContext,
  tls: Partial<PracticeRmmOptions['tls']> = {},
): Promise<PracticeRmm> {
  return start(t, { tls: { ...(await testCertificate([NAME], { type: 'rsa' })), ...tls } })
}

/** A TCP server that does one thing to everybody who connects. */
async function misbehaving(t: ExecutionContext, act: (socket: Socket) => void): Promise<string> {
  const server = createServer(socket => {
    socket.on('error', () => undefined)
    act(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `https://${NAME}:${(server.address() as AddressInfo).port}`
}

async function agentOf(
  t: ExecutionContext,
  addresses: string,
  options: Partial<AgentOptions> = {},
): Promise<SimulatedAgent> {
  const agent = createAgent({
    id: 'pc-1',
    addresses,
    ca: await testAuthority(),
    resolve: ({ host, port }) => ({ host: host === NAME ? '127.0.0.1' : host, port }),
    timeoutMs: 10_000,
    ...options,
  })
  t.teardown(() => agent.close())
  return agent
}

const named = (rmm: PracticeRmm): string => `https://${NAME}:${rmm.httpPort}`

async function outcome(agent: SimulatedAgent): Promise<readonly string[]> {
  const { attempts } = await agent.checkIn()
  return attempts.map(({ place, failure }) => `${place} ${failure ?? 'ok'}`)
}

test('an agent checks in over TLS from its own source address', async t => {
  const rmm = await startSecure(t)
  const agent = await agentOf(t, named(rmm), { sourceAddress: '127.44.5.6' })
  const { ok, attempts } = await agent.checkIn()
  t.true(ok)
  t.is(attempts[0]?.tls, 'TLSv1.3')
  t.is(rmm.agents()[0]?.source, '127.44.5.6')
})

test('an agent trusts only the authority it was given, and checks the name', async t => {
  const rmm = await startSecure(t)
  const stranger = createAgent({ id: 'x', addresses: `https://127.0.0.1:${rmm.httpPort}`, timeoutMs: 10_000 })
  t.deepEqual(await outcome(stranger), ['primary certificate'])
  const wrongName = await agentOf(t, `https://other.example.test:${rmm.httpPort}`, {
    resolve: ({ port }) => ({ host: '127.0.0.1', port }),
  })
  t.deepEqual(await outcome(wrongName), ['primary certificate'])
})

test('trap 44: an agent that speaks only TLS 1.0 gets in where 1.0 is allowed, and sees the alert where not', async t => {
  const old = await startSecure(t, { minVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' })
  const modern = await startSecure(t)
  const { ok, attempts } = await (await agentOf(t, named(old), { tls: TLS_10 })).checkIn()
  t.true(ok)
  t.is(attempts[0]?.tls, 'TLSv1')
  t.deepEqual(await outcome(await agentOf(t, named(modern), { tls: TLS_10 })), [
    'primary alert:protocol_version',
  ])
})

test('trap 44: openssl s_server agrees about the TLS versions of an agent', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'portcullis-fleet-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const { cert, key } = await testCertificate([NAME], { type: 'rsa' })
  await writeFile(join(directory, 'cert.pem'), cert)
  await writeFile(join(directory, 'key.pem'), key)
  const args = ['s_server', '-accept', '127.0.0.1:0', '-cert', 'cert.pem', '-key', 'key.pem', '-tls1', '-www']
  const server = spawn('openssl', [...args, '-cipher', 'ALL:@SECLEVEL=0'], { cwd: directory })
  t.teardown(() => server.kill())
  let output = ''
  const port = await new Promise<string>(resolve => {
    server.stdout.on('data', (bytes: Buffer) => {
      output += bytes.toString()
      const found = /^ACCEPT 127\.0\.0\.1:(\d+)/m.exec(output)?.[1]
      if (found !== undefined) resolve(found)
    })
  })
  const address = `https://${NAME}:${port}`
  // The server speaks nothing but TLS 1.0, and its page answers every GET: an answer proves the version.
  const old = await agentOf(t, address, { tls: TLS_10 })
  await t.throwsAsync(old.openWebSocket(), { message: 'http:200' })
  t.deepEqual(await outcome(await agentOf(t, address)), ['primary alert:protocol_version'])
})

test('a failing primary sends the agent to the secondary, and the next check-in begins at the primary again', async t => {
  const [first, second] = [await startSecure(t), await startSecure(t)]
  const agent = await agentOf(t, `${named(first)}|${named(second)}`)
  t.deepEqual(await outcome(agent), ['primary ok'])
  await first.fail('refuse')
  const [failed, served] = await outcome(agent)
  // Another test may have got the freed port in the meantime, and resets what it does not understand.
  t.regex(failed ?? '', /^primary (?:refused|reset)$/)
  t.is(served, 'secondary ok')
  await first.fail('none')
  t.deepEqual(await outcome(agent), ['primary ok'])
})

for (const [what, act, failure] of [
  [
    'resets after the ClientHello',
    (socket: Socket) => void socket.once('data', () => socket.resetAndDestroy()),
    'reset',
  ],
  ['ends after the ClientHello', (socket: Socket) => void socket.once('data', () => socket.end()), 'reset'],
  [
    'answers with the alert access_denied',
    (socket: Socket) => void socket.once('data', () => socket.end(Buffer.from('15030300020231', 'hex'))),
    'alert:access_denied',
  ],
  [
    'answers with the alert unrecognized_name',
    (socket: Socket) => void socket.once('data', () => socket.end(Buffer.from('15030300020270', 'hex'))),
    'alert:unrecognized_name',
  ],
  ['speaks no TLS', (socket: Socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), 'tls'],
] as const) {
  test(`an agent leaves a primary that ${what}`, async t => {
    const second = await startSecure(t)
    const agent = await agentOf(t, `${await misbehaving(t, act)}|${named(second)}`)
    t.deepEqual(await outcome(agent), [`primary ${failure}`, 'secondary ok'])
  })
}

test('an agent leaves a primary that accepts and stays silent once its time is over', async t => {
  const second = await startSecure(t)
  const silent = await misbehaving(t, () => undefined)
  const impatient = await agentOf(t, silent, { timeoutMs: 50 })
  t.deepEqual(await outcome(impatient), ['primary timeout'])
  const agent = await agentOf(t, `${silent}|${named(second)}`, { timeoutMs: 1_000 })
  t.deepEqual(await outcome(agent), ['primary timeout', 'secondary ok'])
})

test('an HTTP answer is an answer: the agent stays with its primary', async t => {
  const [first, second] = [await startSecure(t), await startSecure(t)]
  const agent = await agentOf(t, `${named(first)}|${named(second)}`)
  await first.fail('error')
  t.deepEqual(await outcome(agent), ['primary http:500'])
  await first.fail('reset')
  t.deepEqual(await outcome(agent), ['primary reset', 'secondary ok'])
  t.is(second.stats().checkIns, 1)
})

test('a malformed address string is refused when the agent is made', t => {
  t.throws(() => createAgent({ id: 'x', addresses: 'https://a/' }), { message: /no path, no trailing slash/ })
})

test('a PROXY header comes before everything else', async t => {
  const rmm = await startSecure(t)
  const lines: string[] = []
  const balancer = await misbehaving(t, socket => {
    socket.once('data', (bytes: Buffer) => {
      const end = bytes.indexOf('\r\n') + 2
      lines.push(bytes.subarray(0, end).toString())
      const behind = connect(rmm.httpPort, '127.0.0.1')
      behind.on('error', () => socket.destroy())
      behind.write(bytes.subarray(end))
      socket.pipe(behind).pipe(socket)
    })
  })
  t.deepEqual(await outcome(await agentOf(t, balancer, { proxySource: '203.0.113.9' })), ['primary ok'])
  t.regex(lines[0] ?? '', /^PROXY TCP4 203\.0\.113\.9 127\.0\.0\.1 \d+ \d+\r\n$/)
  t.deepEqual(await outcome(await agentOf(t, balancer, { proxySource: '2001:db8::9' })), ['primary ok'])
  t.regex(lines[1] ?? '', /^PROXY TCP6 2001:db8::9 ::1 \d+ \d+\r\n$/)
})

test('heartbeats keep their source port and bring the order to check in', async t => {
  const rmm = await start(t)
  const agent = await agentOf(t, rmm.url, { heartbeat: { host: '127.0.0.1', port: rmm.udpPort } })
  await agent.checkIn()
  t.like(await agent.heartbeat(5_000), { replied: true, checkInNow: false })
  rmm.requestCheckIn('pc-1')
  t.like(await agent.heartbeat(5_000), { replied: true, checkInNow: true })
  rmm.answerHeartbeats(false)
  t.like(await agent.heartbeat(30), { replied: false, checkInNow: false })
  t.is(rmm.agents()[0]?.heartbeats, 3)
})

test('the WebSocket of an agent sends, receives and closes; a refusal is named', async t => {
  const rmm = await startSecure(t)
  const agent = await agentOf(t, named(rmm), { sourceAddress: '127.44.5.7' })
  const socket = await agent.openWebSocket('/agent.ashx')
  socket.send('hello')
  t.is(await socket.next(), 'hello')
  rmm.push('work')
  t.is(await socket.next(), 'work')
  t.is(await socket.close(), 1000)
  t.false(socket.isOpen())
  await t.throwsAsync(socket.next(), { message: 'closed with 1000' })
  await rmm.fail('error')
  await t.throwsAsync(agent.openWebSocket(), { message: 'http:500' })
  await rmm.fail('refuse')
  // Another test may have got the freed port in the meantime, and resets what it does not understand.
  await t.throwsAsync(agent.openWebSocket(), { message: /^(?:refused|reset)$/ })
})

test('an open WebSocket ends with 1006 when the server dies', async t => {
  const rmm = await start(t)
  const agent = await agentOf(t, rmm.url)
  const socket = await agent.openWebSocket()
  const waiting = socket.next()
  await rmm.fail('refuse')
  await t.throwsAsync(waiting, { message: 'closed with 1006' })
  t.is(await socket.closed, 1006)
})

async function fleetOptions(rmm: PracticeRmm): Promise<FleetOptions> {
  return {
    agents: 60,
    seed: 7,
    addresses: `${named(rmm)}|https://${NAME}:1`,
    ca: await testAuthority(),
    resolve: ({ port }) => ({ host: '127.0.0.1', port }),
    timeoutMs: 10_000,
    heartbeat: { host: '127.0.0.1', port: rmm.udpPort },
    groups: [
      { name: 'office', share: 0.9 },
      { name: 'old', share: 0.1, tls: TLS_10, source: index => `127.99.0.${index + 1}` },
    ],
  }
}

test('a mixed fleet checks in, and its figures say who did not and why', async t => {
  const rmm = await startSecure(t)
  const fleet = createFleet(await fleetOptions(rmm))
  t.teardown(() => fleet.stop())
  await fleet.checkInAll()
  await fleet.heartbeatAll(5_000)
  const stats = fleet.stats()
  t.like(stats, { agents: 60, checkIns: 60, ok: 54, failed: 6, heartbeats: 60, heartbeatReplies: 60 })
  t.deepEqual(stats.okAt, { primary: 54, secondary: 0 })
  t.deepEqual(
    [...stats.failures],
    [
      ['alert:protocol_version', 6],
      ['refused', 6],
    ],
  )
  t.deepEqual([...stats.tls], [['TLSv1.3', 54]])
  t.is(new Set(rmm.agents().map(agent => agent.source)).size, 54)
})

test('the same seed makes the same fleet', async t => {
  const rmm = await startSecure(t)
  const options = await fleetOptions(rmm)
  const key = (seed: number): string[] =>
    createFleet({ ...options, seed }).agents.map(agent => `${agent.id} ${agent.group} ${agent.sourceAddress}`)
  t.deepEqual(key(7), key(7))
  t.notDeepEqual(key(7), key(8))
})

test('a running fleet checks in by itself until it is stopped', async t => {
  const rmm = await startSecure(t)
  let seen = 0
  const enough = Promise.withResolvers<void>()
  const fleet = createFleet({
    ...(await fleetOptions(rmm)),
    agents: 5,
    groups: [{ name: 'all', share: 1 }],
    checkInMs: 20,
    heartbeatMs: 20,
    checkedIn: () => {
      if (++seen === 20) enough.resolve()
    },
  })
  fleet.start()
  await enough.promise
  fleet.stop()
  const { checkIns } = fleet.stats()
  t.true(checkIns >= 20)
  t.is(rmm.stats().agents, 5)
})

test('all of it works over IPv6 as well', async t => {
  const rmm = await start(t, { host: '::1', trustedPeers: [] })
  const agent = await agentOf(t, `http://v6.example.test:${rmm.httpPort}`, {
    resolve: ({ port }) => ({ host: '::1', port }),
    sourceAddress: '::1',
    heartbeat: { host: '::1', port: rmm.udpPort },
  })
  t.deepEqual(await outcome(agent), ['primary ok'])
  t.like(await agent.heartbeat(5_000), { replied: true })
  t.is(rmm.agents()[0]?.source, '::1')
})
