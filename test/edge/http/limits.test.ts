// Time limits, back-pressure, reloads and rules on bodies: what happens to requests that stall, grow or meet a new policy.
import test from 'ava'
import type { RuleHit, RuleSet } from '../../../src/ips/rule-set.ts'
import { CidrTrie } from '../../../src/net/cidr.ts'
import type { BanEntry } from '../../../src/policy/snapshot.ts'
import { at, cidr, emptyOverlay, noRules, snapshot } from '../../support/snapshot.ts'
import { get, RawClient, startGate, until, withLimits } from './harness.ts'

test('trap 2: a half-sent head is answered with 408 and closed', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send('GET /automate/x HTTP/1.1\r\nHost: rmm')
  await until(() => (gate.activities[0]?.bytesIn() ?? 0) > 0 || null, immediately)
  gate.clock.pass(1_000)
  // Slow progress does not buy more time.
  client.send('.example')
  await until(() => (gate.activities[0]?.bytesIn() ?? 0) > 40 || null, immediately)
  gate.clock.pass(1_500)
  t.true((await client.all()).startsWith('HTTP/1.1 408 Request Timeout\r\n'))
  t.like(await gate.event('request.refused'), { reason: 'request-timeout', class: null })
  client.socket.end()
  await gate.quiet()
  t.is(gate.clock.timers, 0)
  await gate.close()
})

test('idle connections are closed after keepAliveMs without an answer', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  await until(() => gate.activities.length > 0 || null, immediately)
  gate.clock.pass(10_000)
  t.is(await client.all(), '')
  t.is(gate.events.length, 0)
  await gate.close()
})

test('a client that never reads the end of a lingering connection is cut', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send('BAD\r\n\r\n')
  await client.all()
  gate.clock.pass(2_000)
  await gate.quiet()
  t.is(gate.clock.timers, 0)
  await gate.close()
})

test('a client that goes on sending after the last answer is listened to for so many bytes only', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send('BAD\r\n\r\n')
  t.true((await client.all()).startsWith('HTTP/1.1 400 '))
  // No time passes here: it is the bytes that end it.
  const more = Buffer.alloc(1 << 20)
  const send = (error?: Error | null): void => {
    if (error === undefined || error === null) client.socket.write(more, send)
  }
  send()
  await gate.quiet()
  t.pass()
  client.socket.destroy()
  await gate.close()
})

test('a body that stalls is answered with 408', async t => {
  const gate = await startGate({ snapshot: withLimits({ bodyIdleMs: 1_000 }) })
  const client = await RawClient.open(gate.port)
  client.send('POST /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 10\r\n\r\n12')
  const exchange = await gate.forwarder.at(0)
  gate.clock.pass(500)
  client.send('34')
  await gate.forwarder.when(() => exchange.body.length === 4)
  gate.clock.pass(500)
  t.is(gate.events.length, 0)
  gate.clock.pass(1_000)
  t.true((await client.all()).startsWith('HTTP/1.1 408 '))
  t.true(exchange.aborted)
  t.like(await gate.event('request.closed'), { ending: 'client-timeout', status: 408, bytesIn: 77 })
  await gate.close()
})

test('upload back-pressure: reading stops while the upstream takes nothing, and the stall is limited', async t => {
  const gate = await startGate({ snapshot: withLimits({ bodyIdleMs: 1_000, responseMs: 3_000 }) })
  const client = await RawClient.open(gate.port)
  client.send('POST /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 50000000\r\n\r\n')
  const exchange = await gate.forwarder.at(0)
  exchange.takes = false
  client.send(Buffer.alloc(20_000_000))
  await gate.forwarder.when(() => exchange.writes === 1)
  const [socket] = gate.sockets
  t.true(socket?.isPaused())
  t.true(exchange.body.length <= 65_536)
  exchange.handler.onDrain()
  await gate.forwarder.when(() => exchange.writes === 2)
  t.true(socket?.isPaused())
  gate.clock.pass(1_000)
  t.is(gate.events.length, 0)
  gate.clock.pass(3_000)
  t.true((await client.all()).startsWith('HTTP/1.1 504 '))
  t.like(await gate.event('request.closed'), { ending: 'upstream-timeout' })
  await gate.close()
})

test('download back-pressure: the upstream is told to wait, and a client that never reads is cut', async t => {
  const gate = await startGate({ snapshot: withLimits({ bodyIdleMs: 1_000 }) })
  const client = await RawClient.open(gate.port)
  client.send(get())
  const exchange = await gate.forwarder.at(0)
  exchange.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: null })
  let sent = 0
  const chunk = Buffer.alloc(65_536, 'x')
  const fill = (): void => {
    while (exchange.handler.onData(chunk)) sent += chunk.length
    sent += chunk.length
  }
  fill()
  const [socket] = gate.sockets
  t.true((socket?.writableLength ?? Infinity) < 1_000_000)
  await gate.forwarder.when(() => exchange.resumed === 1)
  client.socket.pause()
  let resumed = exchange.resumed
  // Fill until the kernel takes no more: then no drain follows and the buffer here stays bounded.
  for (let round = 0; round < 2_000; round++) {
    fill()
    await new Promise(resolve => setImmediate(resolve))
    if (exchange.resumed === resumed) break
    resumed = exchange.resumed
  }
  t.true((socket?.writableLength ?? 0) > 0)
  t.true((socket?.writableLength ?? Infinity) < 1_000_000)
  gate.clock.pass(1_000)
  t.like(await gate.event('request.closed'), { ending: 'client-timeout', status: 200 })
  t.true(exchange.aborted)
  await gate.quiet()
  await gate.close()
})

test('a client that sends far ahead is not read without bound', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get('/automate/first'))
  const exchange = await gate.forwarder.at(0)
  client.send(Buffer.concat(Array.from({ length: 100_000 }, () => Buffer.from(get('/automate/n')))))
  const [socket] = gate.sockets
  await until(() => socket?.isPaused() || null, immediately)
  t.true((gate.activities[0]?.bytesIn() ?? Infinity) < 200_000)
  gate.forwarder.serve = next => next.answer(204)
  exchange.answer(200, [], 'one')
  await gate.forwarder.at(1_000)
  t.pass()
  await gate.close()
})

test('many small portions to a client that does not read are held back too', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get())
  const exchange = await gate.forwarder.at(0)
  client.socket.pause()
  exchange.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: null })
  let wanted = true
  for (let round = 0; wanted && round < 20_000; round++) {
    // Small enough to be joined to one text, which leaves when this callback is over.
    wanted = exchange.handler.onData(Buffer.alloc(3_900))
    await new Promise(resolve => setImmediate(resolve))
    // What the kernel still takes is no back-pressure yet.
    if (exchange.resumed > 0) wanted = true
    exchange.resumed = 0
  }
  t.false(wanted)
  const [socket] = gate.sockets
  t.true((socket?.writableLength ?? Infinity) < 200_000)
  client.socket.destroy()
  await gate.event('request.closed')
  await gate.close()
})

test('a client that sends requests and never reads the refusals gets no more of them', async t => {
  const gate = await startGate({ country: 'CN' })
  const client = await RawClient.open(gate.port)
  client.socket.pause()
  client.send(Buffer.concat(Array.from({ length: 300_000 }, () => Buffer.from(get()))))
  const [socket] = await until(() => (gate.sockets.size > 0 ? [...gate.sockets] : null), immediately)
  await until(() => (socket?.writableNeedDrain && socket.isPaused()) || null, immediately)
  t.true((socket?.writableLength ?? Infinity) < 300_000)
  const refused = gate.count('request.refused')
  t.true(refused < 100_000)
  client.socket.resume()
  await gate.event('request.refused', refused + 100)
  client.socket.destroy()
  await gate.quiet()
  await gate.close()
})

test('time limits do not count while the gate itself was held up', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send('GET /automate/x HTTP/1.1\r\nHost: rmm.')
  await until(() => (gate.activities[0]?.bytesIn() ?? 0) > 0 || null, immediately)
  gate.clock.stall(60_000)
  client.send('example.test\r\n\r\n')
  const exchange = await gate.forwarder.at(0)
  exchange.answer(200, [], 'ok')
  await client.until(text => text.endsWith('ok'))
  t.is(gate.count('request.refused'), 0)
  await gate.close()
})

test('a response larger than the limit of its class is not passed on', async t => {
  const gate = await startGate({ snapshot: withLimits({ maxResponseBytes: 10 }) })
  const client = await RawClient.open(gate.port)
  client.send(get())
  const known = await gate.forwarder.at(0)
  known.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: 11 })
  t.true((await client.until(text => text.includes('</html>'))).startsWith('HTTP/1.1 502 '))
  t.true(known.aborted)
  client.send(get())
  const unknown = await gate.forwarder.at(1)
  unknown.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: null })
  unknown.handler.onData(Buffer.from('0123456789'))
  unknown.handler.onData(Buffer.from('x'))
  await client.all()
  t.like(await gate.event('request.closed', 1), { ending: 'limit' })
  await gate.close()
})

test('a ban that comes while the connection is open holds from its next request on', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get())
  const running = await gate.forwarder.at(0)
  const ban = new CidrTrie<BanEntry>()
  const range = cidr('198.51.100.0/24')
  ban.insert(range, { range, classes: null, reason: 'test', owner: 'test', expiresMs: null, at: at(90) })
  gate.setPolicy({ overlay: { ...emptyOverlay(), ban } })
  running.answer(200, [], 'untouched')
  await client.until(text => text.endsWith('untouched'))
  client.received = ''
  client.send(get())
  const text = await client.all()
  t.true(text.startsWith('HTTP/1.1 403 Forbidden\r\n'))
  t.true(text.includes('Connection: close\r\n'))
  t.like(await gate.event('request.refused'), { reason: 'banned', line: 'policies/portcullis.yaml:90:1' })
  await gate.close()
})

test('a reload moves live connections to the new policy: names, TLS minimum', async t => {
  const gate = await startGate()
  gate.forwarder.serve = exchange => exchange.answer(200, [], 'ok')
  const client = await RawClient.open(gate.port)
  client.send(get())
  await client.until(text => text.endsWith('ok'))
  const next = snapshot()
  gate.setPolicy({
    snapshot: { ...next, names: next.names.map(entry => ({ ...entry, upstream: 'nowhere' })) },
  })
  client.received = ''
  client.send(get())
  t.true((await client.until(text => text.includes('</html>'))).startsWith('HTTP/1.1 503 '))
  gate.setPolicy({ snapshot: { ...next, names: [] } })
  client.received = ''
  client.send(get())
  t.true((await client.all()).startsWith('HTTP/1.1 421 '))
  t.like(await gate.event('request.refused', 1), { reason: 'name-unknown' })
  await gate.close()
})

test('a reload that asks for more TLS than a live connection has ends it with a reason', async t => {
  const gate = await startGate({ tlsVersion: 'TLSv1.2' })
  gate.forwarder.serve = exchange => exchange.answer(200, [], 'ok')
  const client = await RawClient.open(gate.port)
  client.send(get())
  await client.until(text => text.endsWith('ok'))
  const next = snapshot()
  gate.setPolicy({
    snapshot: { ...next, listeners: next.listeners.map(entry => ({ ...entry, tlsProfile: 'strict' })) },
  })
  client.received = ''
  client.send(get())
  t.true((await client.all()).startsWith('HTTP/1.1 403 '))
  t.like(await gate.event('request.refused'), { reason: 'tls-version-too-low', stage: 'tls' })
  await gate.close()
})

test('a rule that wants the body sees it before anything goes upstream', async t => {
  const gate = await startGate({ snapshot: snapshot({ rules: bodyRule('enforce') }) })
  const client = await RawClient.open(gate.port)
  client.send(post('this is evil'))
  const text = await client.until(received => received.includes('</html>'))
  t.true(text.startsWith('HTTP/1.1 403 '))
  t.false(text.includes('R-1'))
  t.is(gate.forwarder.exchanges.length, 0)
  const refused = await gate.event('request.refused')
  t.like(refused, { reason: 'rule', stage: 'rules', class: 'console' })
  t.is(refused.hits.length, 1)
  client.received = ''
  client.send(post('this is good'))
  const exchange = await gate.forwarder.at(0)
  t.is(exchange.body.toString(), 'this is good')
  t.true(exchange.ended)
  exchange.answer(200, [], 'fine')
  await client.until(received => received.endsWith('fine'))
  await gate.close()
})

test('trap 26: a rule set to detect records and lets pass, on a body cut off at inspectBytes too', async t => {
  const base = withLimits({ whenUnread: 'record' }, { rules: bodyRule('detect') })
  const gate = await startGate({ snapshot: { ...base, limits: { ...base.limits, inspectBytes: 16 } } })
  const client = await RawClient.open(gate.port)
  const body = `evil ${'x'.repeat(100)} evil`
  client.send(post(body))
  const exchange = await gate.forwarder.at(0)
  await gate.forwarder.when(() => exchange.ended)
  t.is(exchange.body.toString(), body)
  exchange.answer(200, [], 'ok')
  await client.until(text => text.endsWith('ok'))
  t.like(await gate.event('rule.detected'), { hit: { ruleId: 'R-1', value: 'evil xxxxxxxxxxx cut' } })
  t.like(await gate.event('inspection.incomplete'), {
    what: 'body',
    why: 'size',
    saw: '110 bytes, 16 looked at',
    class: 'console',
  })
  t.is(gate.count('request.closed'), 1)
  t.is(gate.count('request.refused'), 0)
  await gate.close()
})

test('agents and those who ask for it get refusals as JSON', async t => {
  const gate = await startGate({ country: 'CN' })
  const client = await RawClient.open(gate.port)
  client.send(get('/automate/x', 'Accept: application/json, text/html;q=0.1'))
  const text = await client.until(received => received.includes('}'))
  const body: unknown = JSON.parse(text.slice(text.indexOf('{')))
  t.like(body as object, { status: 403, code: 'class-country', reference: 'REF-1' })
  client.received = ''
  client.send(get('/agent'))
  t.true((await client.until(received => received.includes('}'))).includes('Content-Type: application/json'))
  client.received = ''
  client.send(get('/automate/x', 'Accept: text/html'))
  const page = await client.until(received => received.includes('</html>'))
  t.true(page.includes('REF-3') && page.includes('support') && !page.includes('<script'))
  await gate.close()
})

test('a defect in the gate ends that connection only and is reported', async t => {
  const broken: RuleSet = {
    ...noRules,
    matchHead: facts => {
      if (facts.path.endsWith('boom')) throw new Error('boom')
      return []
    },
  }
  const gate = await startGate({ snapshot: snapshot({ rules: broken }) })
  gate.forwarder.serve = exchange => exchange.answer(200, [], 'ok')
  const client = await RawClient.open(gate.port)
  client.send(get('/automate/boom'))
  await client.all()
  t.like(await gate.event('gate.internal-error'), { problem: 'boom' })
  const other = await RawClient.open(gate.port)
  other.send(get())
  await other.until(text => text.endsWith('ok'))
  t.is(gate.activities[0]?.ending(), 'internal-error')
  await gate.close()
})

function post(body: string): string {
  return `POST /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

function bodyRule(mode: 'enforce' | 'detect'): RuleSet {
  return {
    ...noRules,
    wantsBody: () => true,
    matchBody: (_facts, _scope, body, complete): readonly RuleHit[] => {
      const text = Buffer.from(body).toString()
      if (!text.includes('evil')) return []
      const value = complete ? text : `${text} cut`
      return [
        {
          ruleId: 'R-1',
          title: 'Evil',
          severity: 'high',
          mode,
          field: 'body',
          value,
          steps: [],
          score: 0,
          exception: null,
          at: at(80),
        },
      ]
    },
  }
}

/** For conditions on plain values: looks again after each turn of the event loop. */
function immediately(listen: () => void): () => void {
  const handle = setImmediate(listen)
  return () => clearImmediate(handle)
}
