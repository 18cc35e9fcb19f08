// Nothing is lost or mixed up: a thousand transfers through the whole gate, and every way in which one can break off.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import test from 'ava'
import { startPracticeRmm } from '../../src/practice/rmm.ts'
import { digestOf, seededDigest, seededStream } from '../../src/practice/seeded-bytes.ts'
import { AGENT_NAME, client, openTls, startWholeGate, until, type WholeGate } from '../support/whole-gate.ts'

const TRANSFERS = 1_000
const PARALLEL = 250
const SOURCES = 40

/** Sizes around the borders at which buffers, records and chunks change, and a few large ones. */
function sizeOf(index: number): number {
  const borders = [0, 1, 1_000, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000]
  if (index % 100 === 99) return 4_000_000 + index
  return (borders[index % borders.length] ?? 0) + (index % 7)
}

/** A gate whose server is asked for its health once, so that the requests of a test can be counted there. */
async function startProbedOnce(): Promise<WholeGate> {
  const rmm = await startPracticeRmm()
  const gate = await startWholeGate({ rmm, upstream: { primary: rmm.url, health: { interval: '1h' } } })
  await until(() => rmm.stats().requests > 0)
  return gate
}

async function upload(gate: WholeGate, index: number, from: string): Promise<string | null> {
  using agent = client(gate, { from })
  const bytes = sizeOf(index)
  const seed = `up ${index}`
  const chunked = index % 4 === 0
  const answer = await agent.ask({
    method: index % 3 === 0 ? 'PUT' : 'POST',
    path: `/LabTech/transfer/upload?seed=${encodeURIComponent(seed)}`,
    headers: chunked ? {} : { 'content-length': String(bytes) },
    body: seededStream(seed, bytes),
  })
  const seen = JSON.parse(answer.text) as { bytes: number; sha256: string }
  const right = answer.status === 200 && seen.bytes === bytes && seen.sha256 === seededDigest(seed, bytes)
  return right ? null : `upload ${index} of ${bytes} bytes: ${answer.status} ${answer.text}`
}

async function download(gate: WholeGate, index: number, from: string): Promise<string | null> {
  using agent = client(gate, { from })
  const bytes = sizeOf(index)
  const seed = `down ${index}`
  const form = index % 4 === 1 ? '&chunked' : ''
  const response = await agent.begin({
    path: `/LabTech/transfer/file?bytes=${bytes}&seed=${encodeURIComponent(seed)}${form}`,
  })
  const seen = await digestOf(response as AsyncIterable<Buffer>)
  const right = seen.bytes === bytes && seen.sha256 === seededDigest(seed, bytes)
  return right ? null : `download ${index} of ${bytes} bytes: ${seen.bytes} arrived`
}

test('a thousand uploads and downloads at once arrive byte for byte, and nothing stays open', async t => {
  await using gate = await startWholeGate()
  const wrong: string[] = []
  const queue = Array.from({ length: TRANSFERS }, (_, index) => index).values()
  const worker = async (): Promise<void> => {
    for (const index of queue) {
      const from = `216.160.83.${index % SOURCES}`
      const problem = await (index % 2 === 0 ? upload(gate, index, from) : download(gate, index, from))
      if (problem !== null) wrong.push(problem)
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
  t.deepEqual(wrong, [])
  await gate.idle()
  const closed = { event: 'request.closed' }
  t.is(await gate.metric('portcullis_events_total', closed), TRANSFERS)
  t.is(await gate.metric('portcullis_events_total', { event: 'connection.closed' }), TRANSFERS)
  t.is(await gate.metric('portcullis_requests_total', { ending: 'complete' }), TRANSFERS)
  t.is(await gate.metric('portcullis_connections_open'), 0)
  t.is(gate.rmm.stats().uploads, TRANSFERS / 2)
  t.is(gate.rmm.stats().downloads, TRANSFERS / 2)
})

test('a client that leaves during its upload or its download ends both sides with one event each', async t => {
  await using gate = await startProbedOnce()
  const before = gate.rmm.stats().requests
  const up = await openTls(gate)
  up.write(`POST /LabTech/transfer/x HTTP/1.1\r\nHost: ${AGENT_NAME}\r\nContent-Length: 5000000\r\n\r\n`)
  up.write(randomBytes(100_000))
  await until(() => gate.rmm.stats().requests === before + 1)
  up.destroy()
  t.is((await gate.lines.next('request.closed')).ending, 'client-abort')
  await until(() => gate.rmm.stats().uploadsAborted === 1)

  using agent = client(gate)
  const response = await agent.begin({ path: '/LabTech/transfer/x?bytes=500000000' })
  await once(response, 'readable')
  response.destroy()
  t.is((await gate.lines.next('request.closed', entry => entry.method === 'GET')).ending, 'client-abort')
  await until(() => gate.rmm.stats().downloadsAborted === 1)
  await gate.idle()
  t.is(gate.lines.of('request.closed').length, 2)
  t.is(await gate.count('connection.closed'), 2)
})

test('RST and half-close of a client end both sides with one event each', async t => {
  await using gate = await startProbedOnce()
  const head = `GET /LabTech/transfer/practice/slow?ms=600000 HTTP/1.1\r\nHost: ${AGENT_NAME}\r\n\r\n`
  const ways: readonly (readonly [string, (socket: Awaited<ReturnType<typeof openTls>>) => void])[] = [
    ['RST', socket => (socket as unknown as { _parent: Socket })._parent.resetAndDestroy()],
    ['half-close', socket => socket.end()],
  ]
  for (const [index, [what, leave]] of ways.entries()) {
    const socket = await openTls(gate)
    const before = gate.rmm.stats().requests
    socket.write(head)
    await until(() => gate.rmm.stats().requests === before + 1)
    leave(socket)
    await until(async () => (await gate.count('connection.closed')) === index + 1)
    await gate.idle()
    socket.destroy()
    t.is(gate.lines.of('request.closed').length, index + 1, what)
    t.is(gate.lines.of('request.closed').at(-1)?.ending, 'client-abort', what)
    t.is(await gate.count('connection.closed'), index + 1, what)
  }
})

test('an upstream that dies in the middle of a body ends both sides with one event each', async t => {
  await using gate = await startWholeGate()
  await gate.rmm.fail('reset')
  using agent = client(gate)
  const response = await agent.begin({ path: '/LabTech/transfer/x' })
  t.is(response.statusCode, 200)
  await t.throwsAsync(
    digestOf(response as AsyncIterable<Buffer>),
    undefined,
    'a cut answer must not look whole',
  )
  const closed = await gate.lines.next('request.closed')
  t.is(closed.ending, 'upstream-abort')
  await gate.idle()
  t.is(gate.lines.of('request.closed').length, 1)
  t.is(await gate.count('connection.closed'), 1)
})

test('an upstream that closes in the middle of an upload answers the client and ends both sides', async t => {
  const server = createServer(socket => {
    socket.on('error', () => undefined)
    let received = 0
    socket.on('data', chunk => {
      received += chunk.length
      if (received > 50_000) socket.resetAndDestroy()
    })
  })
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await using gate = await startWholeGate({
    upstream: { primary: `http://127.0.0.1:${port}`, health: { interval: '1h' } },
  })
  const socket = await openTls(gate, { name: 'console.example.test' })
  const hash = createHash('sha256')
  socket.on('data', chunk => hash.update(chunk))
  socket.write(
    'POST /LabTech/transfer/x HTTP/1.1\r\nHost: console.example.test\r\nContent-Length: 900000\r\n\r\n',
  )
  socket.write(randomBytes(400_000))
  const closed = await gate.lines.next('request.closed')
  t.is(closed.ending, 'upstream-abort')
  socket.destroy()
  await gate.idle()
  t.is(gate.lines.of('request.closed').length, 1)
  t.is(await gate.count('connection.closed'), 1)
})

test('two clients on kept connections never see an answer of the other', async t => {
  await using gate = await startWholeGate()
  const rounds = async (name: string, from: string): Promise<void> => {
    using agent = client(gate, { from })
    for (let round = 0; round < 100; round++) {
      const answer = await agent.ask({ path: `/LabTech/transfer/practice/echo?who=${name}-${round}` })
      const seen = JSON.parse(answer.text) as { target: string; source: string }
      if (!seen.target.endsWith(`who=${name}-${round}`) || seen.source !== from)
        t.fail(`${name} ${round} got ${answer.text}`)
    }
    t.is(agent.connections(), 1)
  }
  await Promise.all(Array.from({ length: 8 }, (_, index) => rounds(`c${index}`, `216.160.83.${index + 1}`)))
  await gate.idle()
})
