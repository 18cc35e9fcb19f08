// Either side breaks off in the middle: the other side ends too, one closing event is reported, nothing stays open.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import test from 'ava'
import type { Ending } from '../../../src/journal/events.ts'
import { createForwarder } from '../../../src/forward/wire-forwarder.ts'
import { get, RawClient, startGate } from './harness.ts'

const UPLOAD =
  'POST /labtech/transfer HTTP/1.1\r\nHost: rmm.example.test\r\nContent-Length: 1000000\r\n\r\npart'
const CHUNKED_UPLOAD =
  'PUT /labtech/transfer HTTP/1.1\r\nHost: rmm.example.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n'
const DOWNLOAD = get('/labtech/transfer/file')
const HALF = 'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf'
const HALF_CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'

type Case = {
  readonly what: string
  readonly request: string
  /** What the upstream has answered before; it has seen `sees`. */
  readonly sees: string
  readonly answer: string
  readonly breaks: (client: RawClient, upstream: RawClient) => void
  readonly ending: Ending
  /** What the client gets instead of an end of the connection. */
  readonly status?: string
}

const CASES: readonly Case[] = [
  {
    what: 'client RST in its upload',
    request: UPLOAD,
    sees: 'part',
    answer: '',
    breaks: client => client.socket.resetAndDestroy(),
    ending: 'client-abort',
  },
  {
    what: 'client FIN in its chunked upload',
    request: CHUNKED_UPLOAD,
    sees: 'part\r\n',
    answer: '',
    breaks: client => client.socket.end(),
    ending: 'client-abort',
  },
  {
    what: 'client FIN while the upstream thinks',
    request: DOWNLOAD,
    sees: '\r\n\r\n',
    answer: '',
    breaks: client => client.socket.end(),
    ending: 'client-abort',
  },
  {
    what: 'client RST in its download',
    request: DOWNLOAD,
    sees: '\r\n\r\n',
    answer: HALF,
    breaks: client => client.socket.resetAndDestroy(),
    ending: 'client-abort',
  },
  {
    what: 'upstream RST in an upload',
    request: UPLOAD,
    sees: 'part',
    answer: '',
    breaks: (_client, upstream) => upstream.socket.resetAndDestroy(),
    ending: 'upstream-abort',
    status: 'HTTP/1.1 502 ',
  },
  {
    what: 'upstream FIN before its answer',
    request: UPLOAD,
    sees: 'part',
    answer: '',
    breaks: (_client, upstream) => upstream.socket.end(),
    ending: 'upstream-abort',
    status: 'HTTP/1.1 502 ',
  },
  {
    what: 'upstream FIN in an answer with a length',
    request: DOWNLOAD,
    sees: '\r\n\r\n',
    answer: HALF,
    breaks: (_client, upstream) => upstream.socket.end(),
    ending: 'upstream-abort',
  },
  {
    what: 'upstream RST in a chunked answer',
    request: DOWNLOAD,
    sees: '\r\n\r\n',
    answer: HALF_CHUNKED,
    breaks: (_client, upstream) => upstream.socket.resetAndDestroy(),
    ending: 'upstream-abort',
  },
  {
    what: 'upstream with broken chunks',
    request: DOWNLOAD,
    sees: '\r\n\r\n',
    answer: HALF_CHUNKED,
    breaks: (_client, upstream) => upstream.send('zz\r\n'),
    ending: 'upstream-invalid',
  },
  {
    what: 'upstream that speaks no HTTP',
    request: DOWNLOAD,
    sees: '\r\n\r\n',
    answer: '',
    breaks: (_client, upstream) => upstream.send('220 mail ready\r\n\r\n'),
    ending: 'upstream-invalid',
    status: 'HTTP/1.1 502 ',
  },
]

for (const { what, request, sees, answer, breaks, ending, status } of CASES) {
  test(`trap 13: ${what}`, async t => {
    const server = createServer({ allowHalfOpen: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const connected = once(server, 'connection') as Promise<[Socket]>
    const forwarder = createForwarder()
    const gate = await startGate({ ports: [(server.address() as AddressInfo).port], forwarder })
    const client = await RawClient.open(gate.port)
    client.send(request)
    const upstream = new RawClient((await connected)[0])
    await upstream.until(text => text.includes('\r\n\r\n') && text.endsWith(sees))
    if (answer !== '') {
      upstream.send(answer)
      await client.until(text => text.includes('half'))
    }
    breaks(client, upstream)
    t.like(await gate.event('request.closed'), { ending })
    if (status !== undefined)
      t.true((await client.until(text => text.includes('\r\n\r\n'))).startsWith(status))
    else if (ending !== 'client-abort') t.false((await client.all()).endsWith('0\r\n\r\n'))
    await upstream.all()
    client.socket.destroy()
    upstream.socket.destroy()
    await gate.quiet()
    t.is(gate.count('request.closed') + gate.count('request.refused'), 1)
    t.is(gate.clock.timers, 0)
    await gate.close()
    await forwarder.close()
    // Nothing is left towards the upstream either: otherwise the server would not close.
    server.close()
    await once(server, 'close')
  })
}
