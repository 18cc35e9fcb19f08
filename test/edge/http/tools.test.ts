// Real clients over real TLS through the real forwarder: curl, openssl, and many transfers at once.
import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { request, Agent } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { createForwarder } from '../../../src/forward/wire-forwarder.ts'
import { testAuthority } from '../../support/certificates.ts'
import { startGate, type TestGate } from './harness.ts'

const run = promisify(execFile)

/** Answers uploads with their digest, and downloads with bytes made from the number in the path. */
async function origin(): Promise<{
  readonly server: Server
  readonly gate: TestGate
  readonly forwarder: { close: () => Promise<void> }
}> {
  const server = createServer((incoming, response) => {
    const [, kind, number] = (incoming.url ?? '').match(/\/(up|down)\/(\d+)/) ?? []
    if (kind === 'down') {
      const body = pattern(Number(number))
      if (Number(number) % 2 === 0) response.setHeader('content-length', body.length)
      response.end(body)
      return
    }
    const digest = createHash('sha256')
    incoming.on('data', (chunk: Buffer) => digest.update(chunk))
    incoming.on('end', () => response.end(digest.digest('hex')))
    incoming.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const forwarder = createForwarder()
  const { port } = server.address() as AddressInfo
  return { server, forwarder, gate: await startGate({ tls: true, ports: [port], forwarder }) }
}

function pattern(number: number): Buffer {
  return Buffer.alloc(50_000 + number * 977, createHash('sha256').update(String(number)).digest())
}

test('200 uploads and 200 downloads at once arrive byte-identical, and nothing stays open', async t => {
  const { server, gate, forwarder } = await origin()
  const ca = await testAuthority()
  const agent = new Agent({ keepAlive: true, maxSockets: 50 })
  const base = { host: '127.0.0.1', port: gate.port, ca, agent, headers: { host: 'rmm.example.test' } }
  const exchange = (path: string, body: Buffer | null, coded: boolean): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const headers =
        body === null || coded ? base.headers : { ...base.headers, 'content-length': body.length }
      const outgoing = request(
        { ...base, path, headers, method: body === null ? 'GET' : 'POST' },
        response => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('end', () => resolve(Buffer.concat(chunks)))
          response.on('error', reject)
        },
      )
      outgoing.on('error', reject)
      if (body !== null) outgoing.write(body.subarray(0, 1_000))
      outgoing.end(body?.subarray(1_000))
    })
  const all = Array.from({ length: 200 }, async (_, number) => {
    const body = randomBytes(20_000 + number * 531)
    const [up, down] = await Promise.all([
      exchange(`/labtech/transfer/up/${number}`, body, number % 2 === 0),
      exchange(`/labtech/transfer/down/${number}`, null, false),
    ])
    t.is(up.toString(), createHash('sha256').update(body).digest('hex'))
    t.true(down.equals(pattern(number)))
  })
  await Promise.all(all)
  t.is(gate.count('request.closed'), 400)
  t.is(
    gate.events.filter(entry => entry.name === 'request.closed' && entry.fields.ending !== 'complete').length,
    0,
  )
  agent.destroy()
  await gate.quiet()
  t.is(gate.clock.timers, 0)
  await gate.close()
  await forwarder.close()
  server.close()
})

test('curl: GET, HEAD, chunked upload, Expect, HTTP/1.0 and a refusal page', async t => {
  const { server, gate, forwarder } = await origin()
  const directory = await mkdtemp(join(tmpdir(), 'edge-http-'))
  const ca = join(directory, 'ca.pem')
  const upload = join(directory, 'upload')
  const body = randomBytes(2_000_000)
  await writeFile(ca, await testAuthority())
  await writeFile(upload, body)
  const curl = async (...args: readonly string[]): Promise<string> => {
    const common = ['-sS', '--cacert', ca, '--resolve', `rmm.example.test:${gate.port}:127.0.0.1`]
    return (await run('curl', [...common, ...args], { encoding: 'latin1', maxBuffer: 10_000_000 })).stdout
  }
  const url = `https://rmm.example.test:${gate.port}/labtech/transfer`
  t.is(await curl(`${url}/down/1`), pattern(1).toString('latin1'))
  t.true((await curl('-I', `${url}/down/2`)).includes(`Content-Length: ${pattern(2).length}\r\n`))
  t.is(await curl('--http1.0', `${url}/down/3`), pattern(3).toString('latin1'))
  const digest = createHash('sha256').update(body).digest('hex')
  t.is(await curl('-T', upload, `${url}/up/1`), digest)
  t.is(
    await curl('-T', upload, '-H', 'Transfer-Encoding: chunked', '-H', 'Expect: 100-continue', `${url}/up/2`),
    digest,
  )
  t.true((await curl('-X', 'DELETE', '--data-binary', `@${upload}`, `${url}/up/3`)).endsWith(digest))
  t.true(
    (await curl('-i', '-H', 'Host: other.example.test', url)).startsWith(
      'HTTP/1.1 421 Misdirected Request\r\n',
    ),
  )
  t.true((await curl('-i', '-X', 'TRACE', url)).startsWith('HTTP/1.1 405 '))
  await rm(directory, { recursive: true })
  await gate.close()
  await forwarder.close()
  server.close()
})

test('openssl: a request typed into s_client is answered, garbage is refused', async t => {
  const { server, gate, forwarder } = await origin()
  for (const [typed, answer] of [
    [
      'GET /labtech/transfer/down/1 HTTP/1.1\r\nHost: rmm.example.test\r\nConnection: close\r\n\r\n',
      'HTTP/1.1 200 OK',
    ],
    ['EHLO mail.example.test\r\n\r\n', 'HTTP/1.1 400 Bad Request'],
  ] as const) {
    const client = spawn('openssl', ['s_client', '-quiet', '-connect', `127.0.0.1:${gate.port}`], {
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    let output = ''
    client.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')))
    client.stdin.write(typed)
    await once(client, 'close')
    t.true(output.startsWith(answer), output.slice(0, 100))
  }
  await gate.close()
  await forwarder.close()
  server.close()
})
