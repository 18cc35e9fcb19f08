// The wire forwarder: reuse, repetition, time limits, back-pressure, bounds and shutdown.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { createForwarder, type ForwarderOptions } from '../../src/forward/wire-forwarder.ts'
import type { Forwarder } from '../../src/forward/forwarder.ts'
import { listen, memberAt, rawUpstream, run } from './support/exchange.ts'

function forwarder(t: ExecutionContext, options: ForwarderOptions = {}): Forwarder {
  const made = createForwarder(options)
  t.teardown(() => made.close())
  return made
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

test('trap 18: exchanges in sequence share one connection', async t => {
  const connections = new Set<number>()
  const port = await rawUpstream(t, (socket, _head, connection) => {
    connections.add(connection)
    socket.write(OK)
  })
  const way = forwarder(t)
  for (let n = 0; n < 10; n++) t.true((await run(way, memberAt(port)).done).ended)
  t.is(connections.size, 1)
})

test('extra bytes after a response poison nothing', async t => {
  const port = await rawUpstream(t, (socket, head, connection) => {
    const evil = connection === 0 ? 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil' : ''
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${head.slice(5, 7)}${evil}`)
  })
  const way = forwarder(t)
  t.is(Buffer.concat((await run(way, memberAt(port), { target: '/aa' }).done).body).toString(), 'aa')
  t.is(Buffer.concat((await run(way, memberAt(port), { target: '/bb' }).done).body).toString(), 'bb')
})

test('extra bytes on an idle connection close it', async t => {
  const first = Promise.withResolvers<Socket>()
  const port = await rawUpstream(t, (socket, _head, connection) => {
    socket.write(connection === 0 ? OK : 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond')
    first.resolve(socket)
  })
  const way = forwarder(t)
  await run(way, memberAt(port)).done
  const socket = await first.promise
  const closed = once(socket, 'close')
  socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
  await closed
  t.is(Buffer.concat((await run(way, memberAt(port)).done).body).toString(), 'second')
})

test('a body after HEAD or 204 never answers the next request', async t => {
  const port = await rawUpstream(t, (socket, head) => {
    if (head.startsWith('GET /next')) socket.write(OK)
    else if (head.startsWith('HEAD')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n')
    else socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\n')
    if (!head.startsWith('GET /next'))
      setImmediate(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'))
  })
  const way = forwarder(t)
  const head = await run(way, memberAt(port), { method: 'HEAD' }).done
  t.is(head.head?.contentLength, 38)
  t.is(head.bodyBytes, 0)
  t.is(Buffer.concat((await run(way, memberAt(port), { target: '/next' }).done).body).toString(), 'ok')
  t.is((await run(way, memberAt(port)).done).head?.contentLength, null)
  t.is(Buffer.concat((await run(way, memberAt(port), { target: '/next' }).done).body).toString(), 'ok')
})

/** An upstream that takes a second request on a kept connection and closes without a word. */
function closesKept(t: ExecutionContext, seen: string[]): Promise<number> {
  const counts = new Map<number, number>()
  return rawUpstream(t, (socket, head, connection) => {
    const count = (counts.get(connection) ?? 0) + 1
    counts.set(connection, count)
    seen.push(`${connection}:${head.split(' ')[0]}`)
    if (connection === 0 && count === 2) socket.resetAndDestroy()
    else socket.write(OK)
  })
}

test('a kept connection that dies before any answer: GET is sent again on a new one', async t => {
  const seen: string[] = []
  const port = await closesKept(t, seen)
  const way = forwarder(t)
  await run(way, memberAt(port)).done
  const second = await run(way, memberAt(port)).done
  t.true(second.ended)
  t.deepEqual(seen, ['0:GET', '0:GET', '1:GET'])
})

test('a kept connection that dies before any answer: POST is not sent again and the error says so', async t => {
  const seen: string[] = []
  const port = await closesKept(t, seen)
  const way = forwarder(t)
  await run(way, memberAt(port)).done
  const second = run(way, memberAt(port), { method: 'POST', framing: { kind: 'length', bytes: 1 } })
  second.exchange.write(Buffer.from('x'))
  second.exchange.end()
  const { error } = await second.done
  t.is(error?.code, 'upstream-reset')
  t.false(error?.retry)
  t.deepEqual(seen, ['0:GET', '0:POST'])
})

test('an upstream that closes idle connections costs nothing', async t => {
  const port = await rawUpstream(t, socket => socket.end(OK))
  const way = forwarder(t)
  for (let n = 0; n < 5; n++) t.true((await run(way, memberAt(port)).done).ended)
})

test('idle connections are closed before the server would, and by its own Keep-Alive hint', async t => {
  const closed = Promise.withResolvers<void>()
  const port = await rawUpstream(t, socket => {
    socket.write(OK)
    socket.on('end', () => closed.resolve())
  })
  const way = forwarder(t, { idleMs: 50 })
  await run(way, memberAt(port)).done
  await closed.promise
  t.is(way.open(memberAt(port)), 0)
  const connections = new Set<number>()
  const hinting = await rawUpstream(t, (socket, _head, connection) => {
    connections.add(connection)
    socket.write('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n')
  })
  for (let n = 0; n < 3; n++) await run(way, memberAt(hinting)).done
  t.is(connections.size, 3)
})

test('nothing listens: the error may be retried elsewhere', async t => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  const { error } = await run(forwarder(t), memberAt(port)).done
  t.is(error?.code, 'upstream-unreachable')
  t.true(error?.retry)
  t.is(error?.side, 'upstream')
})

test('no answer in time, and a response that stops, are timeouts', async t => {
  const port = await rawUpstream(t, (socket, head) => {
    if (head.includes('/half')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab')
  })
  const silent = await run(forwarder(t), memberAt(port), { limits: { responseMs: 150 } }).done
  t.is(silent.error?.code, 'upstream-timeout')
  t.is(silent.error?.status, 504)
  t.false(silent.error?.retry)
  const half = await run(forwarder(t), memberAt(port), { target: '/half', limits: { responseIdleMs: 150 } })
    .done
  t.is(half.error?.code, 'upstream-timeout')
  t.is(half.bodyBytes, 2)
})

test('client abort closes the upstream connection, before and during the response', async t => {
  const way = forwarder(t)
  const got = [Promise.withResolvers<Socket>(), Promise.withResolvers<Socket>()]
  const port = await rawUpstream(t, (socket, _head, connection) => {
    got[connection]?.resolve(socket)
    if (connection === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab')
  })
  for (const upstream of got) {
    const running = run(way, memberAt(port))
    const socket = await upstream.promise
    const ended = once(socket, 'end')
    if (upstream === got[1]) await running.headSeen
    running.exchange.abort()
    running.exchange.abort()
    await ended
    t.is(way.open(memberAt(port)), 0)
    t.false(running.outcome.ended)
    t.is(running.outcome.error, null)
  }
})

test('interim responses and trailers pass', async t => {
  const port = await rawUpstream(t, socket => {
    socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n')
    socket.write(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n2;x="y"\r\nde\r\n0\r\nDigest: z\r\n\r\n',
    )
  })
  const out = await run(forwarder(t), memberAt(port)).done
  t.deepEqual(out.interims, [103, 100])
  t.is(Buffer.concat(out.body).toString(), 'abcde')
  t.deepEqual(out.trailers, ['Digest', 'z'])
  t.true(out.ended)
})

test('an upstream that answers early and closes: the answer arrives, the rest of the body is dropped', async t => {
  const port = await rawUpstream(
    t,
    socket => void socket.end('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno'),
  )
  const running = run(forwarder(t), memberAt(port), {
    method: 'POST',
    framing: { kind: 'length', bytes: 1 << 20 },
  })
  running.exchange.write(Buffer.alloc(1000))
  const out = await running.done
  t.is(out.head?.status, 413)
  t.true(out.ended)
  t.true(running.exchange.write(Buffer.alloc(100_000)))
  running.exchange.end()
  t.is(out.error, null)
})

test('head and small body leave in one write', async t => {
  const reads: string[] = []
  const server = createServer(socket => {
    socket.on('data', chunk => {
      reads.push(chunk.toString())
      socket.write(OK)
    })
  })
  const port = await listen(t, server)
  const way = forwarder(t)
  for (const framing of [{ kind: 'length', bytes: 5 }, { kind: 'chunked' }] as const) {
    const running = run(way, memberAt(port), { method: 'POST', framing })
    running.exchange.write(Buffer.from('hello'))
    running.exchange.end()
    t.true((await running.done).ended)
  }
  t.is(reads.length, 2)
  t.true(reads[0]?.endsWith('\r\n\r\nhello'))
  t.true(reads[1]?.endsWith('\r\n\r\n5\r\nhello\r\n0\r\n\r\n'))
})

test('a body that does not fit its framing is never completed', async t => {
  const ended = Promise.withResolvers<void>()
  const port = await rawUpstream(t, socket => socket.on('close', () => ended.resolve()))
  const short = run(forwarder(t), memberAt(port), { method: 'POST', framing: { kind: 'length', bytes: 5 } })
  short.exchange.write(Buffer.from('abc'))
  short.exchange.end()
  t.is((await short.done).error?.code, 'forward-misuse')
  const long = run(forwarder(t), memberAt(port), { method: 'POST', framing: { kind: 'length', bytes: 2 } })
  long.exchange.write(Buffer.from('abc'))
  t.is((await long.done).error?.code, 'forward-misuse')
})

test('a head that could split into two requests is not sent', async t => {
  const way = forwarder(t)
  const port = await rawUpstream(t, () => t.fail())
  for (const ask of [
    { target: '/a b' },
    { target: '/a\r\nX: y' },
    { method: 'GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET' },
    { headers: ['Host', 'a\r\nX: y'] },
    { headers: ['X: y\r\nZ', 'a'] },
  ]) {
    t.is((await run(way, memberAt(port), ask).done).error?.code, 'forward-misuse')
  }
})

test('100 MB go both ways byte-identical', async t => {
  const total = 100 << 20
  const block = randomBytes(1 << 20)
  const expected = createHash('sha256')
  for (let n = 0; n < 100; n++) expected.update(block)
  const digest = expected.digest('hex')
  const server = createHttpServer((request, response) => request.pipe(response))
  const port = await listen(t, server)
  for (const framing of [{ kind: 'chunked' }, { kind: 'length', bytes: total }] as const) {
    const hash = createHash('sha256')
    let sent = 0
    const running = run(forwarder(t), memberAt(port), {
      method: 'PUT',
      framing,
      onData: chunk => {
        hash.update(chunk)
        return true
      },
      onDrain: () => pump(),
    })
    const pump = (): void => {
      while (sent < 100) {
        sent++
        const room = running.exchange.write(block)
        if (sent === 100) running.exchange.end()
        if (!room) return
      }
    }
    pump()
    const out = await running.done
    t.is(out.error, null)
    t.is(out.bodyBytes, total)
    t.is(hash.digest('hex'), digest)
  }
})

test('a slow reader stops the upstream: nothing is delivered until it asks again', async t => {
  const stalled = Promise.withResolvers<void>()
  const server = createHttpServer((_request, response) => {
    response.writeHead(200, { 'content-length': 16 << 20 })
    response.write(Buffer.alloc(16 << 20), () => t.true(asked))
    stalled.resolve()
  })
  const port = await listen(t, server)
  let asked = false
  let afterPause = 0
  let paused = false
  const running = run(forwarder(t), memberAt(port), {
    // The silence is the reader's own: it must not count as the upstream's.
    limits: { responseIdleMs: 1_000 },
    onData: chunk => {
      if (asked) return true
      if (paused) afterPause += chunk.length
      paused = true
      return false
    },
  })
  await running.headSeen
  await stalled.promise
  const other = run(forwarder(t), memberAt(await rawUpstream(t, () => undefined)), {
    limits: { responseMs: 1_300 },
  })
  t.is((await other.done).error?.code, 'upstream-timeout')
  t.is(running.outcome.error, null)
  t.true(afterPause <= 64 << 10)
  asked = true
  running.exchange.resume()
  t.is((await running.done).bodyBytes, 16 << 20)
})

test('connections are bounded, waiting is bounded and timed, and who waits is served next', async t => {
  const held: Socket[] = []
  const taken = Promise.withResolvers<void>()
  const port = await rawUpstream(t, (socket, head) => {
    if (head.includes('/hold')) {
      held.push(socket)
      taken.resolve()
    } else socket.write(OK)
  })
  const way = forwarder(t, { maxConnections: 1, maxWaiting: 2 })
  const member = memberAt(port)
  const holder = run(way, member, { target: '/hold' })
  const waiter = run(way, member)
  const late = run(way, member, { connectMs: 100 })
  const refused = await run(way, member).done
  t.is(refused.error?.code, 'upstream-busy')
  t.true(refused.error?.retry)
  t.is((await late.done).error?.code, 'upstream-busy')
  await taken.promise
  held[0]?.write(OK)
  t.true((await holder.done).ended)
  t.true((await waiter.done).ended)
})

test('listeners do not pile up on a connection', async t => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): number => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const port = await rawUpstream(t, socket => void socket.write(OK))
  const way = forwarder(t)
  for (let n = 0; n < 50; n++) await run(way, memberAt(port)).done
  t.deepEqual(
    warnings.filter(warning => warning.name === 'MaxListenersExceededWarning'),
    [],
  )
})

test('close ends what runs and what waits, and refuses what comes', async t => {
  const port = await rawUpstream(t, () => undefined)
  const way = createForwarder({ maxConnections: 1 })
  const running = run(way, memberAt(port))
  const waiting = run(way, memberAt(port))
  await way.close()
  t.is((await running.done).error?.code, 'forward-closed')
  t.is((await waiting.done).error?.code, 'forward-closed')
  t.is((await run(way, memberAt(port)).done).error?.code, 'forward-closed')
})

test('retain closes idle connections of members that are named no more, and leaves running exchanges alone', async t => {
  const closed = Promise.withResolvers<void>()
  const held = Promise.withResolvers<Socket>()
  const port = await rawUpstream(t, (socket, head) => {
    if (head.includes('/hold')) held.resolve(socket)
    else socket.write(OK)
    if (!head.includes('/hold')) socket.once('end', () => closed.resolve())
  })
  const way = forwarder(t)
  const holder = run(way, memberAt(port), { target: '/hold' })
  const socket = await held.promise
  await run(way, memberAt(port)).done
  way.retain([])
  await closed.promise
  socket.write(OK)
  t.true((await holder.done).ended)
  t.is(way.open(memberAt(port)), 0)
})
