// Known traps of HTTP, WebSockets and rules that show, or show differently, when every part works together.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import { AGENT_NAME, ask, client, GB, openTls, startWholeGate, US } from '../support/whole-gate.ts'

type Echo = { readonly headers: readonly string[]; readonly source: string; readonly target: string }

test('trap 2: half-sent requests are ended by the policy’s times, however slowly they trickle', async t => {
  await using gate = await startWholeGate({ policy: { limits: { head: '1s', drain: '1s' } } })
  const sockets = await Promise.all(Array.from({ length: 20 }, () => openTls(gate)))
  const drips = setInterval(() => {
    for (const socket of sockets) if (!socket.destroyed) socket.write('x')
  }, 50)
  t.teardown(() => clearInterval(drips))
  for (const socket of sockets) {
    socket.resume()
    socket.write(`GET /LabTech/Agent.aspx HTTP/1.1\r\nHost: ${AGENT_NAME}\r\nX: `)
  }
  await Promise.all(sockets.map(socket => new Promise(resolve => socket.once('close', resolve))))
  t.is(gate.lines.of('request.refused').filter(entry => entry.reason === 'request-timeout').length, 20)
  await gate.idle()
})

test('traps 13 and 40: the server learns the address of the client from the gate only', async t => {
  await using gate = await startWholeGate()
  const lies = {
    'x-forwarded-for': '6.6.6.6',
    'X-Real-IP': '6.6.6.6',
    'CF-Connecting-IP': '6.6.6.6',
    'True-Client-IP': '6.6.6.6',
    forwarded: 'for=6.6.6.6',
    'X-Client-IP': '6.6.6.6',
    'X-Forwarded-Host': 'evil.example',
  }
  const answer = await ask(gate, { path: '/automate/practice/echo', headers: lies })
  const echo = JSON.parse(answer.text) as Echo
  t.is(echo.source, US)
  t.notRegex(JSON.stringify(echo.headers), /6\.6\.6\.6|evil/)
})

test('trap 14: a WebSocket client that resets at any moment of the switch harms nobody', async t => {
  await using gate = await startWholeGate()
  const key = randomBytes(16).toString('base64')
  const upgrade =
    `GET /LabTech/agent/ws HTTP/1.1\r\nHost: ${AGENT_NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`
  for (let round = 0; round < 20; round++) {
    const socket = await openTls(gate)
    socket.write(upgrade)
    if (round % 2 === 0) await once(socket, 'data')
    socket.destroy()
  }
  await gate.idle()
  t.is(await gate.count('connection.closed'), 20)
  t.is(gate.lines.of('gate.internal-error').length, 0)
  t.is((await ask(gate)).status, 200)
})

test('traps 15 and 16: the console below the agent prefix stays closed, however its path is written', async t => {
  await using gate = await startWholeGate({ policy: { model: 'agent-only' } })
  const paths = [
    '/LabTech/ControlCenter.asmx',
    '/labtech/controlcenter.ASMX/x',
    '/LabTech/Agent.aspx/../ControlCenter.asmx',
    '/LabTech/Agent.aspx/..%2fControlCenter.asmx',
    '/LabTech/%43ontrolCenter.asmx',
    '/LabTech/%2543ontrolCenter.asmx',
    '/LabTech\\ControlCenter.asmx',
    '//LabTech//ControlCenter.asmx',
    '/LabTech/;x/ControlCenter.asmx',
    '/automate?/LabTech/Agent.aspx',
  ]
  using kept = client(gate)
  for (const path of paths) {
    const { status } = await kept.ask({ path })
    t.true(status === 403 || status === 400, `${path} got ${status}`)
  }
  t.is((await kept.ask({})).status, 200)
})

test('trap 17: an agent may upload more than is ever inspected, and wait long for its answer', async t => {
  await using gate = await startWholeGate()
  const body = randomBytes(3_000_000)
  const answer = await ask(gate, { method: 'POST', path: '/LabTech/Transfer/x', body })
  t.is((JSON.parse(answer.text) as { bytes: number }).bytes, body.length)
  const { classes } = gate.portcullis.snapshot()
  t.true((classes.get('console')?.limits.responseMs ?? 0) >= 36_000_000)
  t.true((classes.get('agent')?.limits.webSocketIdleMs ?? 0) > 330_000)
})

test('trap 18: requests of many clients in sequence share few connections to the server', async t => {
  await using gate = await startWholeGate()
  for (let index = 0; index < 30; index++) {
    t.is((await ask(gate, {}, { from: `216.160.83.${index}` })).status, 200)
  }
  // One kept connection, and at most one of the health probe.
  t.true(gate.rmm.stats().connectionsOpen <= 2, `${gate.rmm.stats().connectionsOpen} connections`)
})

test('trap 19: a redirect to the inner host and its cookies leave with the public name', async t => {
  await using gate = await startWholeGate()
  const answer = await ask(gate, { path: '/automate/practice/redirect' })
  t.is(answer.status, 302)
  t.is(answer.headers.location, `https://${AGENT_NAME}/automate?from=redirect`)
  const { host, httpPort } = gate.rmm
  t.false(JSON.stringify(answer.headers).includes(`${host}:${httpPort}`))
})

test('trap 26: detect lets pass and records, enforce refuses, by pack, by rule and by site', async t => {
  const attack = { path: '/automate?file=../../windows/win.ini' }
  const exception = {
    rule: 'value-traversal',
    sites: ['lab'],
    reason: 'a test tool',
    owner: 'jane',
    expires: '2099-01-01',
  }
  await using gate = await startWholeGate({
    policy: {
      home: ['US', 'GB'],
      sites: { lab: { addresses: [GB] } },
      rules: { packs: ['generic'], modes: { generic: 'detect' }, exceptions: [exception] },
    },
  })
  t.is((await ask(gate, attack)).status, 200)
  const detected = await gate.lines.next('rule.detected', entry => entry.address === US)
  t.is(detected.hit.ruleId, 'value-traversal')
  t.is(detected.class, 'console')

  const rules = { packs: ['generic'], exceptions: [exception] }
  gate.write({
    ...gate.policy,
    rules: { ...rules, modes: { generic: 'detect', 'value-traversal': 'enforce' } },
  })
  t.true((await gate.portcullis.reload('command')).ok)
  t.is((await ask(gate, attack)).status, 403)
  t.is((await ask(gate, attack, { from: GB })).status, 200, 'the site has an exception')
  await gate.lines.next('rule.detected', entry => entry.address === GB)

  gate.write({ ...gate.policy, rules: { ...rules, modes: { generic: 'off' } } })
  t.true((await gate.portcullis.reload('command')).ok)
  const before = gate.lines.of('rule.detected').length
  t.is((await ask(gate, attack)).status, 200)
  t.is(gate.lines.of('rule.detected').length, before)
})

test('trap 39: secrets of requests reach neither log nor store', async t => {
  await using gate = await startWholeGate()
  const secret = 'S3cret-that-nobody-may-read'
  await ask(gate, {
    path: `/automate?file=../../windows/win.ini&InstallerToken=${secret}&password=${secret}`,
    headers: {
      authorization: `Bearer ${secret}`,
      cookie: `session=${secret}`,
      referer: `https://x/?token=${secret}`,
      'user-agent': 'x',
    },
  })
  await ask(gate, { path: `/LabTech/Deployment.aspx?InstallerToken=${secret}` })
  await gate.lines.next('request.refused')
  await gate.admin('POST', '/v1/flush')
  t.false(JSON.stringify(gate.lines.all).includes(secret))
  const state = join(gate.directory, 'state')
  for (const entry of readdirSync(state, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const name = relative(state, join(entry.parentPath, entry.name))
    const bytes = readFileSync(join(state, name))
    t.false(bytes.includes(secret), `${name} holds the secret`)
  }
})

test('trap 42: a WebSocket of an agent passes its bytes as they are, pings and large frames too', async t => {
  await using gate = await startWholeGate()
  const socket = await openTls(gate)
  const webSocket = new WebSocket(`ws://${AGENT_NAME}/LabTech/agent/ws`, { createConnection: () => socket })
  await once(webSocket, 'open')
  webSocket.ping('still there?')
  const [pong] = (await once(webSocket, 'pong')) as [Buffer]
  t.is(pong.toString(), 'still there?')
  const large = randomBytes(500_000)
  webSocket.send(large)
  const [echoed] = (await once(webSocket, 'message')) as [Buffer]
  t.true(large.equals(echoed))
  webSocket.close(1000)
  const [code] = (await once(webSocket, 'close')) as [number]
  t.is(code, 1000)
  await gate.idle()
  t.is(gate.lines.of('request.closed').filter(entry => entry.webSocket).length, 1)
})
