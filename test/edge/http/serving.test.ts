// Requests through the HTTP edge over real sockets with a forwarder that the test drives by hand.
import test from 'ava'
import { PortcullisError } from '../../../src/policy/error.ts'
import { get, RawClient, startGate, withLimits } from './harness.ts'

test('a request is forwarded as parsed and answered, the connection stays', async t => {
  const gate = await startGate()
  gate.forwarder.serve = exchange =>
    exchange.answer(200, ['Content-Type', 'text/plain', 'Server', 'IIS'], 'hello')
  const client = await RawClient.open(gate.port)
  client.send(get('/automate/a%20b?x=1', 'X-Forwarded-For: 1.2.3.4', 'Cookie: a=b'))
  const first = await client.until(text => text.endsWith('hello'))
  t.is(first, 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello')
  const [exchange] = gate.forwarder.exchanges
  t.is(exchange?.request.target, '/automate/a%20b?x=1')
  t.false(exchange?.request.headers.includes('1.2.3.4'))
  t.true(exchange?.request.headers.includes('198.51.100.7'))
  client.send(get())
  await client.until(text => text.endsWith('hellohello') || text.split('hello').length === 3)
  t.like(await gate.event('request.closed', 1), {
    method: 'GET',
    path: '/automate/x',
    class: 'console',
    status: 200,
    upstream: 'rmm/primary',
    ending: 'complete',
  })
  t.is(gate.activities[0]?.requests(), 2)
  client.socket.destroy()
  await gate.quiet()
  t.is(gate.clock.timers, 0)
  await gate.close()
})

test('pipelined requests are answered in order, one at a time', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get('/automate/1') + get('/automate/2') + get('/automate/3'))
  for (const index of [0, 1, 2]) {
    const exchange = await gate.forwarder.at(index)
    t.is(gate.forwarder.exchanges.length, index + 1)
    t.is(exchange.request.target, `/automate/${index + 1}`)
    exchange.answer(200, [], `answer ${index + 1}`)
  }
  const text = await client.until(received => received.includes('answer 3'))
  t.true(text.indexOf('answer 1') < text.indexOf('answer 2'))
  await gate.close()
})

test('trap 13: chunked DELETE and OPTIONS go on as chunked with their whole body', async t => {
  for (const method of ['DELETE', 'OPTIONS', 'GET']) {
    const gate = await startGate()
    const client = await RawClient.open(gate.port)
    client.send(
      `${method} /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\n...\r\n0\r\nX-T: v\r\n\r\n`,
    )
    const exchange = await gate.forwarder.at(0)
    await gate.forwarder.when(() => exchange.ended)
    t.deepEqual(exchange.request.framing, { kind: 'chunked' })
    t.is(exchange.body.toString(), 'hello...')
    exchange.answer(204)
    await client.until(text => text.startsWith('HTTP/1.1 204 OK\r\n\r\n'))
    await gate.close()
  }
})

test('HTTP/1.0 gets no keep-alive and no chunks', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send('GET /automate/x HTTP/1.0\r\nHost: rmm.example.test\r\nConnection: keep-alive\r\n\r\n')
  const exchange = await gate.forwarder.at(0)
  exchange.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: null })
  exchange.handler.onData(Buffer.from('until close'))
  exchange.handler.onEnd()
  t.is(await client.all(), 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil close')
  await gate.close()
})

test('a body of unknown length is sent in chunks, HEAD and 304 carry none', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get())
  const chunked = await gate.forwarder.at(0)
  chunked.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: null })
  chunked.handler.onData(Buffer.from('abc'))
  chunked.handler.onData(Buffer.alloc(20_000, 'x'))
  chunked.handler.onEnd()
  const text = await client.until(received => received.endsWith('0\r\n\r\n'))
  t.is(
    text,
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4e20\r\n${'x'.repeat(20_000)}\r\n0\r\n\r\n`,
  )
  client.received = ''
  client.send(get().replace('GET', 'HEAD'))
  const head = await gate.forwarder.at(1)
  head.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: 99 })
  head.handler.onEnd()
  await client.until(received => received === 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n')
  client.received = ''
  client.send(get())
  const notModified = await gate.forwarder.at(2)
  notModified.handler.onHead({
    status: 304,
    statusText: 'Not Modified',
    headers: ['ETag', '"x"'],
    contentLength: null,
  })
  notModified.handler.onEnd()
  await client.until(received => received === 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n')
  t.is(gate.count('request.closed'), 3)
  await gate.close()
})

test('100 Continue is sent after the verdict, 103 is passed on, the body follows', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(
    'POST /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n',
  )
  await client.until(text => text === 'HTTP/1.1 100 Continue\r\n\r\n')
  const exchange = await gate.forwarder.at(0)
  t.false(exchange.request.headers.some(entry => entry.toLowerCase() === 'expect'))
  client.send('body')
  await gate.forwarder.when(() => exchange.ended)
  exchange.handler.onInterim(103, ['Link', '</a>; rel=preload'])
  exchange.answer(200, [], 'ok')
  const text = await client.until(received => received.endsWith('ok'))
  t.true(text.includes('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n'))
  await gate.close()
})

test('a refused request with Expect never gets 100 Continue', async t => {
  const gate = await startGate({ snapshot: withLimits({ maxBodyBytes: 3 }) })
  const client = await RawClient.open(gate.port)
  client.send(
    'POST /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n',
  )
  const text = await client.all()
  t.true(text.startsWith('HTTP/1.1 413 Content Too Large\r\n'))
  t.true(text.includes('Connection: close\r\n'))
  t.true(text.includes('Portcullis-Reference: REF-1\r\n'))
  t.like(await gate.event('request.refused'), {
    reason: 'body-too-large',
    reference: 'REF-1',
    class: 'console',
  })
  t.is(gate.forwarder.exchanges.length, 0)
  await gate.close()
})

test('a chunked body that grows over the limit is refused in flight', async t => {
  const gate = await startGate({ snapshot: withLimits({ maxBodyBytes: 8 }) })
  const client = await RawClient.open(gate.port)
  client.send(
    'POST /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  )
  const exchange = await gate.forwarder.at(0)
  client.send('4\r\nmore\r\n0\r\n\r\n')
  t.true((await client.all()).startsWith('HTTP/1.1 413 '))
  t.true(exchange.aborted)
  t.is(gate.count('request.refused'), 1)
  t.is(gate.count('request.closed'), 0)
  await gate.close()
})

test('an answer that comes before the body is complete ends the connection after it', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send('POST /automate/x HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 1000\r\n\r\nstart')
  const exchange = await gate.forwarder.at(0)
  exchange.answer(401, [], 'who?')
  const text = await client.all()
  t.true(text.startsWith('HTTP/1.1 401 '))
  t.true(text.includes('Connection: close\r\n'))
  t.true(exchange.aborted)
  t.is(gate.count('request.closed'), 1)
  await gate.close()
})

test('another member is tried only when nothing was sent, with the body so far', async t => {
  const gate = await startGate({ members: 2 })
  const client = await RawClient.open(gate.port)
  client.send('POST /agent HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 4\r\n\r\nbody')
  const first = await gate.forwarder.at(0)
  first.handler.onError(upstreamError(true))
  const second = await gate.forwarder.at(1)
  t.is(second.member.id, 'rmm/secondary')
  t.is(second.body.toString(), 'body')
  t.true(second.ended)
  second.handler.onError(upstreamError(false))
  const text = await client.until(received => received.includes('\r\n\r\n'))
  t.true(text.startsWith('HTTP/1.1 502 Bad Gateway\r\n'))
  t.regex(text, /Retry-After: \d+\r\n/)
  t.is(gate.forwarder.exchanges.length, 2)
  t.deepEqual(gate.selection.failures, ['rmm/primary'])
  t.like(await gate.event('request.closed'), { status: 502, ending: 'upstream-abort', reference: 'REF-1' })
  await gate.close()
})

test('a body whose first member took nothing more goes on flowing to the second', async t => {
  const gate = await startGate({ members: 2 })
  const client = await RawClient.open(gate.port)
  client.send('POST /agent HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 8\r\n\r\n')
  const first = await gate.forwarder.at(0)
  first.takes = false
  client.send('body')
  await gate.forwarder.when(() => first.writes === 1)
  first.handler.onError(upstreamError(true))
  const second = await gate.forwarder.at(1)
  client.send('more')
  await gate.forwarder.when(() => second.ended)
  t.is(second.body.toString(), 'bodymore')
  await gate.close()
})

test('a body too long to be sent again is not tried elsewhere', async t => {
  const gate = await startGate({ members: 2 })
  const client = await RawClient.open(gate.port)
  client.send(`POST /agent HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 200000\r\n\r\n`)
  client.send(Buffer.alloc(200_000))
  const first = await gate.forwarder.at(0)
  await gate.forwarder.when(() => first.ended)
  first.handler.onError(upstreamError(true))
  t.true((await client.until(text => text.includes('\r\n\r\n'))).startsWith('HTTP/1.1 502 '))
  t.is(gate.forwarder.exchanges.length, 1)
  await gate.close()
})

test('a client that gives up is noticed although its body came faster than the upstream takes it', async t => {
  const gate = await startGate()
  gate.forwarder.changes.listen(() => {
    for (const exchange of gate.forwarder.exchanges) exchange.takes = false
  })
  const client = await RawClient.open(gate.port)
  client.send(
    'POST /agent HTTP/1.1\r\nHost: rmm.example.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n',
  )
  const exchange = await gate.forwarder.at(0)
  await gate.forwarder.when(() => exchange.ended)
  client.socket.end()
  t.like(await gate.event('request.closed'), { ending: 'client-abort' })
  await gate.close()
})

test('trap 20: when every member is down a console name answers 503 and an agent name resets', async t => {
  const gate = await startGate()
  gate.selection.down.add('rmm/primary')
  const client = await RawClient.open(gate.port)
  client.send(get())
  const text = await client.until(received => received.includes('</html>'))
  t.true(text.startsWith('HTTP/1.1 503 '))
  t.regex(text, /Retry-After: \d+\r\n/)
  t.like(await gate.event('request.refused'), { reason: 'upstream-down', status: 503 })
  const policy = withLimits({})
  gate.setPolicy({
    snapshot: { ...policy, names: policy.names.map(entry => ({ ...entry, whenDown: 'reset' })) },
  })
  client.send(get())
  await client.gone()
  t.is(client.error?.code, 'ECONNRESET')
  t.is(gate.count('request.refused'), 2)
  await gate.close()
})

test('an upstream that dies in its answer breaks the answer visibly', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get())
  const exchange = await gate.forwarder.at(0)
  exchange.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: null })
  exchange.handler.onData(Buffer.from('half'))
  await client.until(text => text.includes('half'))
  exchange.handler.onError(upstreamError(false))
  t.false((await client.all()).includes('0\r\n\r\n'))
  t.like(await gate.event('request.closed'), { ending: 'upstream-abort', status: 200 })
  await gate.quiet()
  t.is(gate.count('request.closed'), 1)
  await gate.close()
})

test('an answer shorter or longer than announced is not passed as whole', async t => {
  for (const bytes of [3, 9]) {
    const gate = await startGate()
    const client = await RawClient.open(gate.port)
    client.send(get())
    const exchange = await gate.forwarder.at(0)
    exchange.handler.onHead({ status: 200, statusText: 'OK', headers: [], contentLength: 5 })
    exchange.handler.onData(Buffer.alloc(bytes, 'x'))
    exchange.handler.onEnd()
    t.false((await client.all()).includes('xxxxx'))
    t.not((await gate.event('request.closed')).ending, 'complete')
    await gate.close()
  }
})

test('client abort ends the exchange at once with one closing event', async t => {
  for (const how of ['reset', 'end'] as const) {
    const gate = await startGate()
    const client = await RawClient.open(gate.port)
    client.send(get())
    const exchange = await gate.forwarder.at(0)
    if (how === 'reset') client.socket.resetAndDestroy()
    else client.socket.end()
    t.like(await gate.event('request.closed'), { ending: 'client-abort' })
    t.true(exchange.aborted)
    await gate.quiet()
    t.is(gate.count('request.closed'), 1)
    t.is(gate.clock.timers, 0)
    await gate.close()
  }
})

test('concurrentPerSource refuses the request above the limit and counts down again', async t => {
  const gate = await startGate({ snapshot: withLimits({ concurrentPerSource: 1 }) })
  const one = await RawClient.open(gate.port)
  one.send(get())
  const exchange = await gate.forwarder.at(0)
  const two = await RawClient.open(gate.port)
  two.send(get())
  t.true((await two.until(text => text.includes('</html>'))).startsWith('HTTP/1.1 429 '))
  exchange.answer(200, [], 'ok')
  await one.until(text => text.endsWith('ok'))
  two.send(get())
  const third = await gate.forwarder.at(1)
  third.answer(200, [], 'now')
  await two.until(text => text.endsWith('now'))
  t.is(gate.count('request.refused'), 1)
  await gate.close()
})

test('drain finishes the running answer and then closes', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get())
  const exchange = await gate.forwarder.at(0)
  t.is(gate.activities[0]?.state(), 'console')
  gate.activities[0]?.drain()
  exchange.answer(200, [], 'last')
  const text = await client.all()
  t.true(text.includes('Connection: close\r\n\r\nlast'))
  const idle = await RawClient.open(gate.port)
  await gate.forwarder.at(0)
  idle.send(get())
  const second = await gate.forwarder.at(1)
  second.answer(200, [], 'ok')
  await idle.until(received => received.endsWith('ok'))
  gate.activities[1]?.drain()
  await idle.all()
  t.pass()
  await gate.close()
})

test('an unusual method passes only where the class names it', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(get().replace('GET', 'PROPFIND'))
  const text = await client.until(received => received.includes('</html>'))
  t.true(text.startsWith('HTTP/1.1 405 '))
  t.regex(text, /Allow: GET, HEAD/)
  gate.setPolicy({ snapshot: withLimits({ methods: new Set(['PROPFIND']) }) })
  client.send(get().replace('GET', 'PROPFIND'))
  t.is((await gate.forwarder.at(0)).request.method, 'PROPFIND')
  await gate.close()
})

function upstreamError(retry: boolean): PortcullisError {
  return new PortcullisError('connection refused', {
    code: retry ? 'upstream-unreachable' : 'upstream-reset',
    side: 'upstream',
    retry,
    status: 502,
    remedy: 'look',
  })
}
