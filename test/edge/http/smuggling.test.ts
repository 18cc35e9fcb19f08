// Request smuggling: whatever a client sends, the bytes that reach a careless upstream form exactly the requests that were decided.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import test from 'ava'
import { createForwarder } from '../../../src/forward/wire-forwarder.ts'
import { RawClient, startGate } from './harness.ts'

const H = 'Host: rmm.example.test'
const INNER = `GET /smuggled HTTP/1.1\r\n${H}\r\n\r\n`

/** How a careless server may read framing. */
type Habit = 'length-first' | 'last-length' | 'chunked-first'

/**
 * Splits bytes into requests as a careless server would: bare LF ends lines, spaces around names are ignored, anything that
 * contains "chunked" is chunked, lengths are read with parseInt.
 */
function carelessRequests(wire: string, habit: Habit): string[] {
  const requests: string[] = []
  let rest = wire
  while (rest.length > 0) {
    const end = /\r?\n\r?\n/.exec(rest)
    if (end === null) break
    const head = rest.slice(0, end.index)
    requests.push(head.split(/\r?\n/)[0] ?? '')
    rest = rest.slice(end.index + end[0].length)
    const lengths = [...head.matchAll(/content-length\s*:\s*([+-]?\w+)/gi)].map(match =>
      Number.parseInt(match[1] ?? '', 10),
    )
    const coded = /transfer-encoding\s*:.*chunked/i.test(head)
    const length = habit === 'last-length' ? lengths.at(-1) : lengths[0]
    if (coded && (habit === 'chunked-first' || length === undefined)) {
      const last = /(?:^|\n)0+(?:;[^\n]*)?\r?\n(?:[^\r\n]+\r?\n)*\r?\n/.exec(rest)
      rest = last === null ? '' : rest.slice(last.index + last[0].length)
    } else if (length !== undefined && length > 0) {
      rest = rest.slice(length)
    }
  }
  return requests
}

function message(start: string, headers: readonly string[], body: string): string {
  return [start, H, ...headers, '', body].join('\r\n')
}

const POST = 'POST /agent HTTP/1.1'
const size = INNER.length.toString(16)

/** What is sent, and how many of its requests may reach the upstream. */
const ATTACKS: readonly (readonly [string, string, number])[] = [
  ['CL.TE', message(POST, ['Content-Length: 6', 'Transfer-Encoding: chunked'], `0\r\n\r\n${INNER}`), 0],
  [
    'TE.CL',
    message(POST, ['Transfer-Encoding: chunked', 'Content-Length: 4'], `${size}\r\n${INNER}\r\n0\r\n\r\n`),
    0,
  ],
  [
    'TE.TE hidden by a space',
    message(POST, ['Content-Length: 3', 'Transfer-Encoding : chunked'], `0\r\n\r\n${INNER}`),
    0,
  ],
  [
    'TE hidden by a fold',
    message(POST, ['Content-Length: 3', 'Transfer-Encoding:\r\n chunked'], `0\r\n\r\n${INNER}`),
    0,
  ],
  [
    'TE hidden by a bare LF',
    message(POST, ['X: y\nTransfer-Encoding: chunked', 'Content-Length: 3'], `0\r\n\r\n${INNER}`),
    0,
  ],
  [
    'TE hidden by a bare CR',
    message(POST, ['X: y\rTransfer-Encoding: chunked', 'Content-Length: 3'], `0\r\n\r\n${INNER}`),
    0,
  ],
  [
    'TE with a vertical tab',
    message(POST, ['Transfer-Encoding: \x0bchunked', 'Content-Length: 3'], `0\r\n\r\n${INNER}`),
    0,
  ],
  ['TE in quotes', message(POST, ['Transfer-Encoding: "chunked"'], `0\r\n\r\n${INNER}`), 0],
  [
    'TE identity, then CL',
    message(POST, ['Transfer-Encoding: identity', `Content-Length: ${INNER.length}`], INNER),
    0,
  ],
  ['two lengths', message(POST, ['Content-Length: 0', `Content-Length: ${INNER.length}`], INNER), 0],
  ['length list', message(POST, [`Content-Length: 0, ${INNER.length}`], INNER), 0],
  ['length with plus', message(POST, [`Content-Length: +${INNER.length}`], INNER), 0],
  [
    'length in TE.HTTP/1.0',
    message('POST /agent HTTP/1.0', ['Transfer-Encoding: chunked'], `0\r\n\r\n${INNER}`),
    0,
  ],
  ['underscore for dash', message(POST, ['Content_Length: 60', 'Content-Length: 4'], 'body'), 1],
  ['body on GET', message('GET /agent HTTP/1.1', [`Content-Length: ${INNER.length}`], INNER), 1],
  [
    'chunked body on DELETE',
    message('DELETE /agent HTTP/1.1', ['Transfer-Encoding: chunked'], `${size}\r\n${INNER}\r\n0\r\n\r\n`),
    1,
  ],
  ['chunk with a bare LF', message(POST, ['Transfer-Encoding: chunked'], `5\nhello\r\n0\r\n\r\n`), 1],
  [
    'chunk extension with a bare LF',
    message(POST, ['Transfer-Encoding: chunked'], `5;\nhello\r\n0\r\n\r\n${INNER}`),
    1,
  ],
  [
    'chunk size too long for its data',
    message(POST, ['Transfer-Encoding: chunked'], `3\r\nhello\r\n0\r\n\r\n${INNER}`),
    1,
  ],
  [
    'trailer with a framing header',
    message(POST, ['Transfer-Encoding: chunked'], '0\r\nContent-Length: 60\r\n\r\n'),
    1,
  ],
  [
    'Connection names Content-Length',
    message(POST, ['Connection: Content-Length', `Content-Length: ${INNER.length}`], INNER),
    1,
  ],
  // Refused for its target, but its framing is sound: the next request is served.
  ['line break in the target', message('GET /agent%0d%0aX:%20y HTTP/1.1', [], ''), 1],
  ['space in the target', message('GET /agent HTTP/1.1 /x HTTP/1.1', [], ''), 0],
  [
    'h2c upgrade',
    message(
      'GET /agent HTTP/1.1',
      ['Upgrade: h2c', 'HTTP2-Settings: AAMAAABk', 'Connection: Upgrade, HTTP2-Settings'],
      '',
    ),
    1,
  ],
]

test('trap 13: no framing trick makes a careless upstream see another request than the one decided', async t => {
  for (const [what, attack, expected] of ATTACKS) {
    const { server, port, wire } = await carelessUpstream()
    const gate = await startGate({ ports: [port], forwarder: createForwarder() })
    const client = await RawClient.open(gate.port)
    client.send(attack)
    client.send(`GET /agent HTTP/1.1\r\n${H}\r\nConnection: close\r\n\r\n`)
    await client.all()
    client.socket.destroy()
    await gate.quiet()
    const answered = gate.events.filter(entry => entry.name === 'request.closed').map(entry => entry.fields)
    for (const habit of ['length-first', 'last-length', 'chunked-first'] as const) {
      const seen = wire.flatMap(read => carelessRequests(read(), habit))
      t.false(
        seen.some(line => line.includes('smuggled')),
        `${what} (${habit}): ${seen.join(' | ')}`,
      )
      // At most what was decided reaches the upstream, and everything that was answered did.
      t.true(seen.length <= expected + 1, `${what} (${habit}): ${seen.join(' | ')}`)
      t.true(seen.length >= answered.length, `${what} (${habit}): ${seen.join(' | ')}`)
      if (expected === 0) t.deepEqual([seen, answered], [[], []], what)
    }
    await gate.close()
    server.close()
  }
})

test('bytes that look like a request stay a body when the framing says so', async t => {
  const { server, port, wire } = await carelessUpstream()
  const gate = await startGate({ ports: [port], forwarder: createForwarder() })
  const client = await RawClient.open(gate.port)
  client.send(message(POST, [`Content-Length: ${INNER.length}`], INNER))
  await client.until(text => text.endsWith('ok'))
  client.send(message(POST, ['Transfer-Encoding: chunked'], `${size};x=y\r\n${INNER}\r\n0\r\nT: v\r\n\r\n`))
  await client.until(text => text.split('\r\n\r\nok').length === 3)
  const text = wire.map(read => read()).join('')
  t.is(text.split(INNER).length, 3)
  t.false(text.includes(';x=y'))
  t.false(text.includes('T: v'))
  t.deepEqual(carelessRequests(text, 'chunked-first'), ['POST /agent HTTP/1.1', 'POST /agent HTTP/1.1'])
  await gate.close()
  server.close()
})

/** Keeps all bytes and answers each request that it believes to see. */
async function carelessUpstream(): Promise<{
  readonly server: Server
  readonly port: number
  readonly wire: (() => string)[]
}> {
  const wire: (() => string)[] = []
  const server = createServer(socket => {
    let text = ''
    let answered = 0
    wire.push(() => text)
    socket.on('error', () => {})
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
      const complete = carelessRequests(text, 'chunked-first').length
      for (; answered < complete; answered++) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port, wire }
}

test('a pipelined request after a refused one is not served', async t => {
  const gate = await startGate()
  const client = await RawClient.open(gate.port)
  client.send(`GET /agent HTTP/1.1\r\n${H}\r\nContent-Length: x\r\n\r\n${INNER}`)
  t.is((await client.all()).split('HTTP/1.1 ').length, 2)
  t.is(gate.count('request.refused'), 1)
  t.is(gate.forwarder.exchanges.length, 0)
  await gate.close()
})
