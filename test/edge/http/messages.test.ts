// WebSocket messages under inspection, between real sockets: attacks in any wrapping stay out, everything else arrives unchanged.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { WebSocket, WebSocketServer } from 'ws'
import { acceptOf } from '../../../src/edge/http/web-socket-handshake.ts'
import { createForwarder } from '../../../src/forward/wire-forwarder.ts'
import type { MessageFacts } from '../../../src/ips/parts/inspected.ts'
import type { RuleHit, RuleMode, RuleSet } from '../../../src/ips/rule-set.ts'
import type { ClassLimits, Snapshot } from '../../../src/policy/snapshot.ts'
import { testAuthority } from '../../support/certificates.ts'
import { at, noRules } from '../../support/snapshot.ts'
import { deflated, fragments, frame } from './client-frames.ts'
import { get, RawClient, startGate, withLimits, type TestGate } from './harness.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const handshake = (...lines: readonly string[]): string =>
  get(
    '/automate/socket',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${KEY}`,
    'User-Agent: agent 1',
    ...lines,
  )
const switched = (...lines: readonly string[]): string =>
  [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptOf(KEY)}`,
    ...lines,
    '',
    '',
  ].join('\r\n')
const DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate'

/** Rules that look at the first `wanted` messages for the word evil, and note what they saw. */
function messageRules(wanted: number, seen: MessageFacts[] = [], mode: RuleMode = 'enforce'): RuleSet {
  return {
    ...noRules,
    messagesWanted: ({ webSocket }) => (webSocket ? wanted : 0),
    matchMessage: (_facts, _scope, message): readonly RuleHit[] => {
      seen.push(message)
      if (!message.text.includes('evil')) return []
      return [
        {
          ruleId: 'M-1',
          title: 'Evil',
          severity: 'critical',
          mode,
          field: 'message',
          value: 'evil',
          steps: [],
          score: 0,
          exception: null,
          at: at(80),
        },
      ]
    },
  }
}

type Opened = { readonly gate: TestGate; readonly client: RawClient; readonly served: RawClient }

const servers = new Set<Server>()
test.after.always(() => {
  for (const server of servers) server.close()
})

/** Opens a WebSocket through the gate to an upstream that the test speaks for. `ahead` is sent with the upgrade request. */
async function open(
  rules: RuleSet,
  parts: {
    readonly limits?: Partial<ClassLimits>
    readonly gateLimits?: Partial<Snapshot['limits']>
    readonly ask?: readonly string[]
    readonly answer?: readonly string[]
    readonly ahead?: Buffer
    readonly tls?: boolean
  } = {},
): Promise<Opened> {
  const server = createServer({ allowHalfOpen: true })
  servers.add(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connected = once(server, 'connection') as Promise<[Socket]>
  const base = withLimits(parts.limits ?? {}, { rules })
  const gate = await startGate({
    snapshot: { ...base, limits: { ...base.limits, ...parts.gateLimits } },
    forwarder: createForwarder(),
    ports: [(server.address() as AddressInfo).port],
    tls: parts.tls ?? false,
  })
  const client = parts.tls === true ? await tlsClient(gate.port) : await RawClient.open(gate.port)
  client.socket.setNoDelay(true)
  client.send(
    Buffer.concat([Buffer.from(handshake(...(parts.ask ?? [])), 'latin1'), parts.ahead ?? Buffer.alloc(0)]),
  )
  const [socket] = await connected
  const served = new RawClient(socket)
  await served.until(text => text.includes('\r\n\r\n'))
  served.send(switched(...(parts.answer ?? [])))
  await client.until(text => text.includes('\r\n\r\n'))
  return { gate, client, served }
}

async function tlsClient(port: number): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', ca: await testAuthority() })
  await once(socket, 'secureConnect')
  return new RawClient(socket)
}

/** What came after the head. */
const behindHead = ({ received }: RawClient): Buffer =>
  Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1')

/** The gate refused: the client was told so, the upstream got a clean close and nothing of the client but `passed`. */
async function refused(
  t: ExecutionContext,
  { gate, client, served }: Opened,
  expected: {
    readonly code: number
    readonly reason: string
    readonly passed?: Buffer
    readonly before?: Buffer
  },
  what = '',
): Promise<void> {
  await Promise.all([client.all(), served.all()])
  const close = behindHead(client).subarray(expected.before?.length ?? 0)
  const event = await gate.event('request.refused')
  t.is(close[0], 0x88, what)
  t.is(close.length, 2 + (close[1] ?? 0), what)
  t.is(close.readUInt16BE(2), expected.code, what)
  t.is(close.toString('latin1', 4), `Refused by the gate. Reference: ${event.reference}`)
  const passed = expected.passed ?? Buffer.alloc(0)
  const upstream = behindHead(served)
  t.true(upstream.subarray(0, passed.length).equals(passed), what)
  const ending = upstream.subarray(passed.length)
  t.is(ending.length, 8, `${what}: a masked Close frame and nothing else`)
  t.is(ending[0], 0x88)
  t.is(((ending[6] ?? 0) ^ (ending[2] ?? 0)) * 256 + ((ending[7] ?? 0) ^ (ending[3] ?? 0)), 1001)
  t.like(event, {
    reason: expected.reason,
    webSocket: true,
    userAgent: 'agent 1',
    status: 101,
    class: 'console',
  })
  served.socket.end()
  client.socket.end()
  t.like(await gate.event('request.closed'), { ending: 'refused', status: 101, reference: event.reference })
  t.is(client.error, null)
  t.is(served.error, null)
  await finished(t, gate)
}

async function finished(t: ExecutionContext, gate: TestGate): Promise<void> {
  await gate.event('request.closed')
  await gate.quiet()
  t.is(gate.clock.timers, 0)
  t.is(gate.count('gate.internal-error'), 0)
  await gate.close()
}

async function bytewise(client: RawClient, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    client.send(Buffer.of(byte))
    await new Promise(resolve => setImmediate(resolve))
  }
}

test('an attack in the first message is refused, whole, byte by byte, in fragments, compressed and sent ahead', async t => {
  const deflate = { ask: [DEFLATE], answer: [DEFLATE] }
  const squeezed = frame(1, deflated('so evil'), { rsv: 4 })
  const cases: readonly (readonly [string, Buffer, Parameters<typeof open>[1]])[] = [
    ['text', frame(1, 'so evil'), {}],
    ['binary', frame(2, 'so evil'), {}],
    ['fragments', fragments(1, ['so e', '', 'vi', 'l']), {}],
    ['64-bit length', frame(1, 'so evil', { wide: 8 }), {}],
    ['compressed', squeezed, deflate],
    [
      'compressed, in fragments',
      Buffer.concat([
        frame(1, deflated('so evil').subarray(0, 3), { rsv: 4, fin: false }),
        frame(0, deflated('so evil').subarray(3)),
      ]),
      deflate,
    ],
    [
      'after a last block',
      frame(1, Buffer.concat([Buffer.from('f348cdc9c907', 'hex'), Buffer.from([0]), deflated('evil')]), {
        rsv: 4,
      }),
      deflate,
    ],
    ['not compressed although it could be', frame(1, 'so evil'), deflate],
  ]
  for (const [what, bytes, parts] of cases) {
    const whole = await open(messageRules(1), parts)
    whole.client.send(Buffer.concat([bytes, frame(1, 'and more')]))
    await refused(t, whole, { code: 1008, reason: 'rule' }, what)
    const split = await open(messageRules(1), parts)
    await bytewise(split.client, bytes)
    await refused(t, split, { code: 1008, reason: 'rule' }, `${what}, byte by byte`)
    const ahead = await open(messageRules(1), { ...parts, ahead: bytes })
    await refused(t, ahead, { code: 1008, reason: 'rule' }, `${what}, sent ahead`)
  }
})

test('the hit is in the event, with the reference that the Close frame carries', async t => {
  const opened = await open(messageRules(1), { tls: true })
  opened.client.send(frame(1, 'evil'))
  t.like(await opened.gate.event('request.refused'), {
    stage: 'rules',
    saw: 'M-1 in message',
    line: 'policies/portcullis.yaml:80:1',
    hits: [{ ruleId: 'M-1' }],
    reference: 'REF-1',
    path: '/automate/socket',
  })
  await refused(t, opened, { code: 1008, reason: 'rule' })
})

test('what rules let pass arrives byte for byte, and after the wanted messages nothing is looked at', async t => {
  const seen: MessageFacts[] = []
  const { gate, client, served } = await open(messageRules(2, seen))
  const stream = Buffer.concat([
    frame(9, 'ping'),
    fragments(1, ['he', 'll', 'o']),
    frame(10, ''),
    frame(2, 'two', { wide: 8 }),
    frame(1, 'evil, but nobody looks any more'),
    frame(1, 'no mask', { masked: false }),
  ])
  await bytewise(client, stream)
  await served.until(() => behindHead(served).length === stream.length)
  t.true(behindHead(served).equals(stream))
  t.deepEqual(seen, [
    { number: 1, kind: 'text', text: 'hello', complete: true, earlier: '' },
    { number: 2, kind: 'binary', text: 'two', complete: true, earlier: 'hello' },
  ])
  client.socket.end()
  served.socket.end()
  t.is(gate.count('request.refused'), 0)
  await finished(t, gate)
})

test('control frames go on at once; a message goes on when it is complete and not before', async t => {
  const { gate, client, served } = await open(messageRules(1))
  client.send(frame(9, 'now'))
  await served.until(() => behindHead(served).length === 9)
  const message = frame(1, 'in two segments')
  client.send(message.subarray(0, 8))
  // The server's side flows meanwhile.
  served.send(frame(1, 'hello', { masked: false }))
  await client.until(text => text.endsWith('hello'))
  t.is(behindHead(served).length, 9)
  client.send(message.subarray(8))
  await served.until(() => behindHead(served).length === 9 + message.length)
  client.socket.end()
  served.socket.end()
  await finished(t, gate)
})

test('later messages are judged too; what came before them has arrived', async t => {
  const seen: MessageFacts[] = []
  const opened = await open(messageRules(3, seen))
  const good = Buffer.concat([frame(1, 'one'), frame(1, 'two')])
  opened.client.send(Buffer.concat([good, frame(1, 'evil')]))
  await refused(t, opened, { code: 1008, reason: 'rule', passed: good })
  t.deepEqual(
    seen.map(message => message.number),
    [1, 2, 3],
  )
})

test('frames that break the protocol are refused, whatever their class passes on', async t => {
  for (const bytes of [
    frame(1, 'evil', { masked: false }),
    frame(1, 'evil', { rsv: 4 }),
    frame(3, 'evil'),
    frame(0, 'evil'),
    Buffer.concat([frame(1, 'ev', { fin: false }), frame(1, 'il')]),
    Buffer.concat([frame(1, 'evil', { fin: false }), frame(8, '')]),
  ]) {
    const opened = await open(messageRules(1), { limits: { whenUnread: 'record' } })
    opened.client.send(bytes)
    await refused(t, opened, { code: 1002, reason: 'message-invalid' })
  }
  const broken = await open(messageRules(1), {
    limits: { whenUnread: 'record' },
    ask: [DEFLATE],
    answer: [DEFLATE],
  })
  broken.client.send(frame(1, '\xff\xff\xff', { rsv: 4 }))
  await refused(t, broken, { code: 1002, reason: 'message-invalid' })
})

test('a reason does not stand within a frame of the server', async t => {
  const opened = await open(messageRules(1))
  const { gate, client, served } = opened
  const answer = frame(1, 'a long answer', { masked: false })
  served.send(answer.subarray(0, 6))
  await client.until(() => behindHead(client).length === 6)
  client.send(frame(1, 'evil'))
  await gate.event('request.refused')
  t.is(behindHead(client).length, 6)
  served.send(Buffer.concat([answer.subarray(6), frame(1, 'and what nobody waits for', { masked: false })]))
  await refused(t, opened, { code: 1008, reason: 'rule', before: answer })
})

test('too long: refused where nothing passes unseen, otherwise judged as far as held and recorded', async t => {
  const gateLimits = { messageBytes: 1_024 }
  const long = frame(1, 'x'.repeat(3_000))
  const strict = await open(messageRules(1), { gateLimits })
  strict.client.send(long)
  await refused(t, strict, { code: 1009, reason: 'message-unread' })
  const seen: MessageFacts[] = []
  const lax = await open(messageRules(2, seen), { gateLimits, limits: { whenUnread: 'record' } })
  const stream = Buffer.concat([long, frame(1, 'next'), frame(1, 'evil, the third')])
  await bytewise(lax.client, stream.subarray(0, 1_100))
  lax.client.send(stream.subarray(1_100))
  await lax.served.until(() => behindHead(lax.served).length === stream.length)
  t.true(behindHead(lax.served).equals(stream))
  t.deepEqual(
    seen.map(({ number, complete, text }) => [number, complete, text.length]),
    [
      [1, false, 1_024],
      [2, true, 4],
    ],
  )
  t.like(await lax.gate.event('inspection.incomplete'), { what: 'message', why: 'size', class: 'console' })
  lax.client.socket.end()
  lax.served.socket.end()
  await finished(t, lax.gate)
  const evil = await open(messageRules(1), { gateLimits, limits: { whenUnread: 'record' } })
  evil.client.send(frame(1, `evil ${'x'.repeat(3_000)}`))
  await refused(t, evil, { code: 1008, reason: 'rule' })
})

test('a compressed bomb is refused, or recorded with what builds on it', async t => {
  const bomb = frame(1, deflated(Buffer.alloc(20_000_000, 'a')), { rsv: 4 })
  const parts = { ask: [DEFLATE], answer: [DEFLATE] }
  const strict = await open(messageRules(1), parts)
  strict.client.send(bomb)
  await refused(t, strict, { code: 1009, reason: 'message-unread' })
  const seen: MessageFacts[] = []
  const lax = await open(messageRules(3, seen), { ...parts, limits: { whenUnread: 'record' } })
  const stream = Buffer.concat([bomb, frame(1, deflated('b'), { rsv: 4 }), frame(1, 'plain')])
  lax.client.send(stream)
  await lax.served.until(() => behindHead(lax.served).length === stream.length)
  t.deepEqual(
    seen.map(({ complete, text }) => [complete, text.slice(0, 5)]),
    [
      [false, 'aaaaa'],
      [false, ''],
      [true, 'plain'],
    ],
  )
  t.true((seen[0]?.text.length ?? Infinity) <= 65_536)
  t.like(await lax.gate.event('inspection.incomplete', 1), { why: 'coding' })
  lax.client.socket.end()
  lax.served.socket.end()
  await finished(t, lax.gate)
})

test('a message that trickles in is refused, a client that is silent between messages is not', async t => {
  const opened = await open(messageRules(2), {
    limits: { webSocketIdleMs: 60_000 },
    gateLimits: { heldBytesPerSecond: 100 },
  })
  const { gate, client, served } = opened
  gate.clock.pass(9_000)
  const first = frame(1, 'quick')
  client.send(first)
  await served.until(() => behindHead(served).length === first.length)
  gate.clock.pass(9_000)
  client.send(frame(1, 'slow').subarray(0, 7))
  const activity = gate.activities[0]
  const before = handshake().length + first.length
  while ((activity?.bytesIn() ?? 0) < before + 7) await new Promise(resolve => setImmediate(resolve))
  gate.clock.pass(9_000)
  t.is(gate.count('request.refused'), 0)
  gate.clock.pass(1_000)
  await refused(t, opened, { code: 1008, reason: 'message-too-slow', passed: first })
})

test('messages count in the memory of everything held; without it, the class decides', async t => {
  const gateLimits = { heldBytes: 2_000 }
  const message = frame(1, 'x'.repeat(5_000))
  const strict = await open(messageRules(1), { gateLimits })
  strict.client.send(message.subarray(0, 4_000))
  await refused(t, strict, { code: 1013, reason: 'inspection-full' })
  const lax = await open(messageRules(1), { gateLimits, limits: { whenUnread: 'record' } })
  lax.client.send(message.subarray(0, 4_000))
  await lax.served.until(() => behindHead(lax.served).length === 4_000)
  t.like(await lax.gate.event('inspection.incomplete'), { what: 'message', why: 'memory' })
  lax.client.send(message.subarray(4_000))
  await lax.served.until(() => behindHead(lax.served).length === message.length)
  t.true(behindHead(lax.served).equals(message))
  lax.client.socket.end()
  lax.served.socket.end()
  await finished(t, lax.gate)
})

test('a rule set to detect records and lets pass; a client that leaves within a message leaves nothing of it', async t => {
  const { gate, client, served } = await open(messageRules(2, [], 'detect'))
  const message = frame(1, 'evil')
  client.send(Buffer.concat([message, frame(1, 'evil again').subarray(0, 9)]))
  await served.until(() => behindHead(served).length === message.length)
  t.like(await gate.event('rule.detected'), {
    hit: { ruleId: 'M-1' },
    path: '/automate/socket',
    method: 'GET',
  })
  client.socket.end()
  await served.all()
  t.is(behindHead(served).length, message.length)
  served.socket.end()
  t.like(await gate.event('request.closed'), { ending: 'complete' })
  await finished(t, gate)
})

test('a reload is heard by open WebSockets: new rules judge the next message', async t => {
  const opened = await open(messageRules(5))
  const { gate, client, served } = opened
  const first = frame(1, 'one')
  client.send(first)
  await served.until(() => behindHead(served).length === first.length)
  const rules: RuleSet = {
    ...messageRules(5),
    matchMessage: (...all) => messageRules(5).matchMessage(all[0], all[1], { ...all[2], text: 'evil' }),
  }
  gate.setPolicy({ snapshot: withLimits({}, { rules }) })
  gate.activities[0]?.policyChanged()
  client.send(frame(1, 'two'))
  await refused(t, opened, { code: 1008, reason: 'rule', passed: first })
})

test('only extensions that the gate can read are offered, and no other may be agreed', async t => {
  const { gate, client, served } = await open(messageRules(1), {
    ask: ['Sec-WebSocket-Extensions: x-secret; a=1, permessage-deflate; client_max_window_bits'],
    answer: [DEFLATE],
  })
  t.true(served.received.includes('Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n'))
  t.false(served.received.includes('x-secret'))
  client.socket.end()
  served.socket.end()
  await finished(t, gate)
  const open2 = open(messageRules(1), { ask: [DEFLATE], answer: ['Sec-WebSocket-Extensions: x-secret'] })
  const wrong = await open2
  t.true(wrong.client.received.startsWith('HTTP/1.1 502 '))
  wrong.client.socket.destroy()
  wrong.served.socket.destroy()
  await wrong.gate.quiet()
  await wrong.gate.close()
  const untouched = await open(noRules, {
    ask: ['Sec-WebSocket-Extensions: x-secret'],
    answer: ['Sec-WebSocket-Extensions: x-secret'],
  })
  t.true(untouched.served.received.includes('x-secret'))
  untouched.client.socket.end()
  untouched.served.socket.end()
  await finished(t, untouched.gate)
})

test('the ws client and server talk under inspection, compressed with context, and read the reason of a refusal', async t => {
  for (const perMessageDeflate of [
    true,
    { clientNoContextTakeover: true },
    { clientMaxWindowBits: 10 },
    false,
  ]) {
    const server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      perMessageDeflate:
        perMessageDeflate === false
          ? false
          : { threshold: 0, ...(perMessageDeflate === true ? {} : perMessageDeflate) },
    })
    await once(server, 'listening')
    server.on('connection', socket => socket.on('message', (data, binary) => socket.send(data, { binary })))
    const seen: MessageFacts[] = []
    const gate = await startGate({
      tls: true,
      snapshot: withLimits({}, { rules: messageRules(10, seen) }),
      forwarder: createForwarder(),
      ports: [(server.address() as AddressInfo).port],
    })
    const client = new WebSocket(`wss://127.0.0.1:${gate.port}/automate/socket`, {
      ca: await testAuthority(),
      headers: { Host: 'rmm.example.test' },
      perMessageDeflate: perMessageDeflate === false ? false : { threshold: 0 },
    })
    await once(client, 'open')
    const said = [
      'hello there',
      'hello there again',
      `hello there ${'and so on '.repeat(3_000)}`,
      'hello there',
    ]
    for (const text of said) {
      client.send(text)
      t.is(String((await once(client, 'message'))[0]), text)
    }
    t.deepEqual(
      seen.map(({ text }) => text),
      said,
    )
    client.send('hello evil there')
    const [code, reason] = (await once(client, 'close')) as [number, Buffer]
    t.is(code, 1008)
    t.is(reason.toString(), 'Refused by the gate. Reference: REF-1')
    await gate.event('request.closed')
    await gate.close()
    server.close()
  }
})
