// The wire forwarder against responses that are malicious, broken or cut off.
import test, { type ExecutionContext } from 'ava'
import { createForwarder, type ForwarderOptions } from '../../src/forward/wire-forwarder.ts'
import type { Forwarder } from '../../src/forward/forwarder.ts'
import { memberAt, rawUpstream, run } from './support/exchange.ts'

function forwarder(t: ExecutionContext, options: ForwarderOptions = {}): Forwarder {
  const made = createForwarder(options)
  t.teardown(() => made.close())
  return made
}

for (const [what, answer, problem] of [
  [
    'both Content-Length and chunked',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    /both/,
  ],
  [
    'two Content-Lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok',
    /Content-Length/,
  ],
  ['a Content-Length list', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok', /Content-Length/],
  ['a signed Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok', /Content-Length/],
  [
    'an unknown coding',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    /Transfer-Encoding/,
  ],
  [
    'chunked in HTTP/1.0',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    /Transfer-Encoding/,
  ],
  ['a bad chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n', /chunk size/],
  [
    'a negative chunk size',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n',
    /chunk size/,
  ],
  [
    'an endless chunk size',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1'.repeat(13)}\r\n`,
    /chunk size/,
  ],
  [
    'an endless chunk extension',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;${'x'.repeat(2000)}\r\nok`,
    /line/,
  ],
  [
    'a chunk longer than it says',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\noops\r\n0\r\n\r\n',
    /longer/,
  ],
  ['bare line feeds in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n', /line/],
  ['folded headers', 'HTTP/1.1 200 OK\r\nX: a\r\n b: c\r\nContent-Length: 2\r\n\r\nok', /header name/],
  ['a header without colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n', /colon/],
  ['a space before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok', /header name/],
  [
    'a bare line feed in a header',
    'HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b=c\r\nContent-Length: 2\r\n\r\nok',
    /header value/,
  ],
  ['a NUL in a header', 'HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok', /header value/],
  ['a bare carriage return', 'HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok', /header value/],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.9\r\n\r\n', /status line/],
  ['HTTP/2', 'HTTP/2 200 OK\r\n\r\n', /status line/],
  ['a huge status line', `HTTP/1.1 200 ${'x'.repeat(70_000)}\r\n\r\n`, /over the limit/],
  ['a header flood', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(300)}\r\n`, /too many headers/],
  ['an endless head', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(20_000)}`, /over the limit/],
  ['a 101 that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n', /101/],
  ['endless interim responses', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(50), /interim/],
  [
    'a forbidden trailer line',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad\r\n\r\n',
    /colon/,
  ],
] as const) {
  test(`malicious upstream: ${what} is refused`, async t => {
    const port = await rawUpstream(t, socket => void socket.write(answer, 'latin1'))
    const { error, ended } = await run(forwarder(t), memberAt(port)).done
    t.is(error?.code, 'upstream-invalid')
    t.is(error?.status, 502)
    t.regex(error?.message ?? '', problem)
    t.false(ended)
  })

  test(`malicious upstream: ${what} is refused when it comes byte by byte`, async t => {
    // The long ones say the same in fewer reads.
    const step = answer.length > 500 ? 997 : 1
    const port = await rawUpstream(t, socket => {
      socket.setNoDelay(true)
      const send = (at: number): void => {
        if (at >= answer.length || socket.destroyed) return
        socket.write(answer.slice(at, at + step), 'latin1', () => send(at + step))
      }
      send(0)
    })
    const { error } = await run(forwarder(t), memberAt(port)).done
    t.is(error?.code, 'upstream-invalid')
    t.regex(error?.message ?? '', problem)
  })
}

test('trap 13: a response that is cut off is an error, never a clean end', async t => {
  for (const [start, code] of [
    ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', 'upstream-reset'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc', 'upstream-reset'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n', 'upstream-reset'],
    ['HTTP/1.1 200 OK\r\nConte', 'upstream-reset'],
    ['', 'upstream-reset'],
  ] as const) {
    for (const cut of ['end', 'resetAndDestroy'] as const) {
      const port = await rawUpstream(t, socket => {
        if (start === '') socket[cut]()
        else socket.write(start, () => socket[cut]())
      })
      const { error, ended } = await run(forwarder(t), memberAt(port)).done
      t.is(error?.code, code, `${start} ${cut}`)
      t.false(error?.retry)
      t.false(ended)
    }
  }
})

test('a body until close ends cleanly with FIN and not at all with RST', async t => {
  const port = await rawUpstream(t, (socket, head) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\nabc', () =>
      head.includes('/fin') ? socket.end() : socket.resetAndDestroy(),
    )
  })
  const fin = await run(forwarder(t), memberAt(port), { target: '/fin' }).done
  t.true(fin.ended)
  t.is(Buffer.concat(fin.body).toString(), 'abc')
  t.is(fin.head?.contentLength, null)
  t.is((await run(forwarder(t), memberAt(port), { target: '/rst' }).done).error?.code, 'upstream-reset')
})
