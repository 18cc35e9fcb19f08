// Rules on WebSocket messages and ClientHellos as an admin writes them, through the whole gate with a real client and server.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'ava'
import { WebSocket, WebSocketServer } from 'ws'
import { deflated, fragments, frame } from '../edge/http/client-frames.ts'
import { AGENT_NAME, openTls, startWholeGate, until, US, type WholeGate } from '../support/whole-gate.ts'

const OWN_RULES = `pack: own
title: Rules of this test
rules:
  - id: first-message-command
    title: A command in the first line of the first message
    severity: critical
    when:
      all:
        - { in: path, has: /nw }
        - { in: message, has: '$(whoami)' }
        - { in: message.number, below: 2 }
    tests:
      fires:
        - { request: GET /nw, webSocket: true, messages: ['a $(whoami)'] }
        - { request: GET /nw, webSocket: true, messages: ['%24%28whoami%29'] }
      quiet:
        - { request: GET /nw, webSocket: true, messages: [hello] }
        - { request: GET /nw, webSocket: true, messages: [hello, '$(whoami)'] }
  - id: no-scanners
    title: A client that speaks a protocol of scanners
    severity: high
    when: { in: hello.alpn, has: scan }
    tests:
      fires: [{ hello: { alpn: [scan] } }]
      quiet: [{ hello: { alpn: [http/1.1] } }]
`

async function start(): Promise<WholeGate & { readonly received: string[] }> {
  const received: string[] = []
  const web = createServer((_request, response) => response.end('ok'))
  const sockets = new WebSocketServer({ server: web, perMessageDeflate: { threshold: 0 } })
  sockets.on('connection', socket => {
    socket.on('error', () => undefined)
    socket.on('message', data => {
      received.push(String(data as Buffer))
      socket.send(`got ${String(data as Buffer)}`)
    })
  })
  web.listen(0, '127.0.0.1')
  await once(web, 'listening')
  const gate = await startWholeGate({
    upstream: { primary: `http://127.0.0.1:${(web.address() as AddressInfo).port}`, health: { path: '/' } },
    rules: { 'own.yaml': OWN_RULES },
    policy: { rules: { packs: ['own'] } },
  })
  return {
    ...gate,
    received,
    [Symbol.asyncDispose]: async () => {
      await gate[Symbol.asyncDispose]()
      for (const socket of sockets.clients) socket.terminate()
      web.close()
    },
  }
}

async function connect(gate: WholeGate, path = '/nw'): Promise<WebSocket> {
  const tls = await openTls(gate)
  const client = new WebSocket(`wss://${AGENT_NAME}${path}`, {
    createConnection: () => tls,
    perMessageDeflate: { threshold: 0 },
  })
  client.on('error', () => undefined)
  await once(client, 'open')
  return client
}

test('an attack in the first message never reaches the server; the client gets a Close with the reference', async t => {
  await using gate = await start()
  const client = await connect(gate)
  client.send('id=$(whoami)')
  const [code, reason] = (await once(client, 'close')) as [number, Buffer]
  t.is(code, 1008)
  const refused = await gate.lines.next('request.refused')
  t.is(reason.toString(), `Refused by the gate. Reference: ${refused.reference}`)
  t.like(refused, { reason: 'rule', webSocket: true, path: '/nw', address: US })
  t.is(refused.hits[0]?.ruleId, 'first-message-command')
  t.like(await gate.lines.next('request.closed'), { ending: 'refused', reference: refused.reference })
  await gate.idle()
  t.deepEqual(gate.received, [])
})

test('the same in single bytes over TLS, in fragments, compressed and with the upgrade request', async t => {
  await using gate = await start()
  const evil = 'id=$(whoami)'
  const cases = [
    { bytes: frame(1, evil), split: true },
    { bytes: fragments(2, ['id=$', '(who', 'ami)']), split: true },
    { bytes: frame(1, deflated(evil), { rsv: 4 }), split: true },
    { bytes: frame(1, '%24(whoami)'), split: false },
  ]
  for (const { bytes, split } of cases) {
    const socket = await openTls(gate)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    const ended = once(socket, 'end')
    const upgrade = Buffer.from(
      [
        'GET /nw HTTP/1.1',
        `Host: ${AGENT_NAME}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Extensions: permessage-deflate',
        '',
        '',
      ].join('\r\n'),
    )
    if (split) {
      socket.write(upgrade)
      for (const byte of bytes) {
        socket.write(Buffer.of(byte))
        await new Promise(resolve => setImmediate(resolve))
      }
    } else socket.write(Buffer.concat([upgrade, bytes]))
    await ended
    t.true(text.startsWith('HTTP/1.1 101 '))
    t.true(text.includes('\x03\xf0Refused by the gate. Reference: '))
    socket.destroy()
  }
  await gate.idle()
  t.is(gate.lines.of('request.refused').length, cases.length)
  t.deepEqual(gate.received, [])
})

test('what is no attack arrives, and what nobody looks at is not touched', async t => {
  await using gate = await start()
  const client = await connect(gate)
  for (const text of ['hello', 'then $(whoami), which is not the first message']) {
    client.send(text)
    t.is(String((await once(client, 'message'))[0]), `got ${text}`)
  }
  const elsewhere = await connect(gate, '/other')
  elsewhere.send('$(whoami)')
  t.is(String((await once(elsewhere, 'message'))[0]), 'got $(whoami)')
  client.close()
  elsewhere.close()
  await gate.idle()
  t.is(gate.lines.of('request.refused').length, 0)
})

test('a rule on the ClientHello refuses by an alert and is found by its reference', async t => {
  await using gate = await start()
  await t.throwsAsync(openTls(gate, { tls: { ALPNProtocols: ['scan'] } }), { message: /access denied/ })
  await until(() => gate.lines.of('connection.refused').length > 0)
  const [refused] = gate.lines.of('connection.refused')
  t.like(refused, { reason: 'rule', phase: 'hello' })
  t.is(refused?.hits?.[0]?.ruleId, 'no-scanners')
  const usual = await openTls(gate)
  usual.destroy()
  await gate.idle()
})
