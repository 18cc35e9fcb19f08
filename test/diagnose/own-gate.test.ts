// Situations that change a gate for everybody: keys, certificates, servers that fail or become slow, heartbeats. Each has its own.
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Agent, get } from 'node:https'
import { connect as connectTcp, createServer, type AddressInfo } from 'node:net'
import { connect } from 'node:tls'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import anyTest from 'ava'
import { addKey } from '../../src/access/edit.ts'
import { identityHeaders } from '../../src/tunnel/identity.ts'
import { H2_PROTOCOL } from '../../src/tunnel/attach.ts'
import { serveConnectorSession } from '../../src/tunnel/h2/connector-session.ts'
import { TUNNEL_PREFIX } from '../../src/tunnel/client.ts'
import { HOST, startRunningBench, type RunningBench } from '../cli/support.ts'
import { testCertificate, testChain } from '../support/certificates.ts'
import { until } from '../support/whole-gate.ts'
import { AGENT, diagnose, isThrough, US } from './support.ts'

const test = anyTest.serial
const HERE = '127.0.0.2'
const KEY = 'correct horse battery'

/** Attaches as connector `rmm`; the status of the answer, 101 when it is let in. */
async function attach(
  bench: RunningBench,
  key: string,
  instance: string,
): Promise<{ status: number; leave: () => void }> {
  const raw = connectTcp({ host: '127.0.0.1', port: bench.port, localAddress: HERE })
  await once(raw, 'connect')
  const socket = connect({
    socket: raw,
    servername: HOST,
    ca: readFileSync(bench.authorityFile, 'utf8'),
  })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  const identity = {
    name: `rmm-${instance.slice(0, 3)}`,
    instance,
    realAddress: '10.1.2.3',
    version: '1',
    services: [],
  }
  const headers = identityHeaders(identity, key)
  const lines = headers.flatMap((name, index) =>
    index % 2 === 0 ? [`${name}: ${headers[index + 1] ?? ''}`] : [],
  )
  socket.write(
    [
      `GET ${TUNNEL_PREFIX}connector HTTP/1.1`,
      `Host: ${HOST}`,
      'Connection: Upgrade',
      `Upgrade: ${H2_PROTOCOL}`,
      ...lines,
      '\r\n',
    ].join('\r\n'),
  )
  const [head] = (await once(socket, 'data')) as [Buffer]
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head.toString('latin1'))?.[1])
  if (status !== 101) return { status, leave: () => socket.destroy() }
  const end = head.indexOf('\r\n\r\n') + 4
  if (end < head.length) socket.unshift(head.subarray(end))
  const ready = Promise.withResolvers<void>()
  const session = serveConnectorSession(socket, {
    nowMs: () => performance.now(),
    reach: () => Promise.resolve({ unknown: true }),
    ready: () => ready.resolve(),
    closed: () => undefined,
  })
  await ready.promise
  return { status, leave: () => session.end('test over') }
}

test('a client with a wrong key, and one for which its key has no place: named, and mended with the right one', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const file = join(bench.portcullis.snapshot().directories.state, 'access.json')
  await addKey(file, KEY, { name: 'office', maxClients: 1 }, Date.now())
  t.is((await bench.cli(['reload'])).code, 0)
  await bench.cli(['keys', 'list'])
  const wrong = await attach(bench, 'not the key at all', 'aaaaaaaaaaaaaaaaaaaa')
  t.is(wrong.status, 401)
  wrong.leave()
  await bench.settled()
  const found = await diagnose(bench, HERE)
  t.is(found.cause, 'key', found.sentence)
  t.regex(found.sentence, /^The client rmm-aaa at 127\.0\.0\.2 is turned away, because the gateway key/)
  t.regex(found.fix?.steps.join('\n') ?? '', /bin\/portcullis keys add another-name --generate/)
  const right = await attach(bench, KEY, 'aaaaaaaaaaaaaaaaaaaa')
  t.is(right.status, 101)
  const attached = async (): Promise<number> =>
    ((await bench.json(['status'])).value['clients'] as readonly unknown[]).length
  while ((await attached()) !== 1) await new Promise(setImmediate)
  t.not((await diagnose(bench, HERE)).cause, 'key')
  const second = await attach(bench, KEY, 'bbbbbbbbbbbbbbbbbbbb')
  t.is(second.status, 403)
  const full = await diagnose(bench, 'rmm-bbb')
  t.is(full.cause, 'capacity', full.sentence)
  t.regex(full.sentence, /its gateway key has 1 clients already/)
  right.leave()
  second.leave()
  await bench.settled()
})

test('a server that is slow against its own habit, and how little of it is the gate', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const agent = new Agent({ keepAlive: true, localAddress: HERE, ca: readFileSync(bench.authorityFile) })
  t.teardown(() => agent.destroy())
  const where = { port: bench.port, servername: HOST, headers: { host: HOST }, path: '/LabTech/Agent.aspx' }
  const ask = (): Promise<number | undefined> =>
    new Promise((done, fail) => {
      const outgoing = get({ host: '127.0.0.1', agent, ...where }, answer => {
        answer.resume().once('end', () => done(answer.statusCode))
      })
      outgoing.once('error', fail)
    })
  const crowd = async (): Promise<void> => {
    t.deepEqual(new Set(await Promise.all(Array.from({ length: 24 }, ask))), new Set([200]))
  }
  for (let round = 0; round < 5; round++) await crowd()
  bench.advance(11 * 60_000)
  t.true((await diagnose(bench, HERE)).healthy)
  await bench.practice.fail({ kind: 'slow', ms: 1_100 })
  await crowd()
  const found = await diagnose(bench, HERE)
  t.is(found.cause, 'slow', found.sentence)
  t.regex(found.sentence, /rmm\/primary \(http:.*\) takes \d{4} ms for what usually takes \d{1,3} ms/)
  t.regex(found.evidence[0]?.text ?? '', /began to answer late/)
  t.regex(found.evidence[1]?.text ?? '', /^the gate itself adds \d+(?:\.\d)? ms to a request/)
  await bench.practice.fail('none')
  bench.advance(11 * 60_000)
  await crowd()
  t.true((await diagnose(bench, HERE)).healthy)
})

test('a raw TCP stream whose client speaks TLS to a server that does not: named, and mended at the client', async t => {
  const server = createServer(socket => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end('plain answer\r\n'))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port: serverPort } = server.address() as AddressInfo
  const bench = await startRunningBench(
    t,
    `geo: { loopback: allow }\nstreams: { backup: { address: '127.0.0.1:0', upstream: '127.0.0.1:${serverPort}' } }`,
  )
  const port = bench.portcullis.streams.addresses()[0]?.port ?? 0
  const talk = async (bytes: string): Promise<string> => {
    const socket = connectTcp({ host: '127.0.0.1', port, localAddress: HERE })
    socket.on('error', () => undefined)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.write(bytes)
    await once(socket, 'close')
    return text
  }
  const tls = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-bind', `${HERE}:0`], {
    stdio: 'ignore',
  })
  await once(tls, 'close')
  bench.advance(2_000)
  const found = await diagnose(bench, HERE)
  t.is(found.cause, 'mismatch', found.sentence)
  t.regex(
    found.sentence,
    /stream backup .* speaks TLS, and the server 127\.0\.0\.1:\d+ does not answer in TLS/,
  )
  t.regex(found.fix?.steps.join() ?? '', /Switch TLS \(SSL\) off at this client/)
  bench.advance(2_000)
  t.is(await talk('a protocol of its own\r\n'), 'plain answer\r\n')
  bench.advance(2_000)
  t.true((await diagnose(bench, HERE)).healthy)
})

test('upstream down, and back again', async t => {
  const health = '{ path: /LabTech/Agent.aspx, interval: 1s, timeout: 1s }'
  const bench = await startRunningBench(t, `upstreams: { rmm: { health: ${health} } }`)
  await bench.practice.fail('refuse')
  const stateOf = async (): Promise<unknown> => {
    const { value } = await bench.json(['status'])
    return (value['upstreams'] as readonly { readonly state: string }[])[0]?.state
  }
  while ((await stateOf()) !== 'down') await new Promise(setImmediate)
  t.true('error' in (await bench.ask(US)))
  const down = await diagnose(bench, US)
  t.is(down.cause, 'upstream')
  t.regex(down.sentence, /does not answer/)
  await bench.practice.fail('none')
  while ((await stateOf()) !== 'up') await new Promise(setImmediate)
  t.is((await diagnose(bench, US)).cause, 'fixed')
  bench.advance(1_000)
  t.true(isThrough(await bench.ask(US)))
  t.is((await diagnose(bench, US)).cause, 'healthy')
})

test('a certificate without its intermediate: the gate says so when a client objects, the probe sees it, the whole chain mends it', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const { root, intermediate, cert, key } = await testChain(HOST)
  const file = join(bench.root, `certs/${HOST}.crt`)
  const [rootFile, trusted] = [join(bench.root, 'root.pem'), `https://${HOST}:${bench.port}`]
  writeFileSync(rootFile, root)
  writeFileSync(join(bench.root, `certs/${HOST}.key`), key)
  writeFileSync(file, cert)
  t.is((await bench.cli(['reload'])).code, 0)
  const client = async (): Promise<number> => {
    const words = ['-connect', `127.0.0.1:${bench.port}`, '-bind', `${HERE}:0`, '-servername', HOST]
    const child = spawn('openssl', ['s_client', ...words, '-CAfile', rootFile, '-verify_return_error'], {
      stdio: 'ignore',
    })
    const [code] = (await once(child, 'close')) as [number]
    await bench.settled()
    return code
  }
  const probe = async (): Promise<string> =>
    (
      await bench.cli(['diagnose', '--probe', trusted, '--at', '127.0.0.1', '--bind', HERE, '--ca', rootFile])
    ).out.replaceAll(/\s+/g, ' ')
  t.not(await client(), 0)
  const found = await diagnose(bench, HERE)
  t.is(found.cause, 'handshake', found.sentence)
  t.regex(
    found.sentence,
    /The gate sends its certificate without the intermediate one .* \(Test intermediate\)/,
  )
  t.regex(
    found.fix?.steps[0] ?? '',
    /^Put the certificate of Test intermediate behind the one in rmm\.example\.test\.crt/,
  )
  t.regex(await probe(), /✗ certificate: the chain is not complete: the gate sends its certificate without/)
  writeFileSync(file, `${cert}\n${intermediate}`)
  t.is((await bench.cli(['reload'])).code, 0)
  bench.advance(1_000)
  t.is(await client(), 0)
  t.regex(await probe(), /✓ certificate: issued by Test intermediate/)
})

test('an ended certificate is nobody else’s fault, and a renewed one mends it', async t => {
  const bench = await startRunningBench(t)
  const certs = join(bench.root, 'certs')
  const put = async (days: number): Promise<void> => {
    const { cert, key } = await testCertificate([HOST], { days })
    writeFileSync(join(certs, `${HOST}.crt`), cert)
    writeFileSync(join(certs, `${HOST}.key`), key)
    t.is((await bench.cli(['reload'])).code, 0)
  }
  await put(1)
  bench.advance(2 * 86_400_000)
  const found = await diagnose(bench, US)
  t.is(found.cause, 'certificate')
  t.regex(found.sentence, /certificate of rmm\.example\.test ended on \d{4}-\d\d-\d\d/)
  rmSync(join(certs, `${HOST}.crt`))
  await put(30)
  t.not((await diagnose(bench, US)).cause, 'certificate')
})

test('heartbeats come through the gate, check-ins do not: the agent uses the direct address', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  bench.mergePolicy(
    `heartbeats: { automate: { address: '127.0.0.1:0', upstream: '127.0.0.1:${bench.practice.udpPort}' } }`,
  )
  t.is((await bench.cli(['reload'])).code, 0)
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const state = () => bench.portcullis.heartbeats.states()[0]
  socket.send('PRACTICE HEARTBEAT', bench.portcullis.heartbeats.addresses()[0]?.port ?? 0, '127.0.0.1')
  await until(() => state()?.replies === 1)
  bench.advance(24_000)
  await until(() => state()?.sites[0]?.heartbeats === 1)
  const found = await diagnose(bench, '127.0.0.1')
  t.is(found.cause, 'direct-address', found.sentence)
  t.regex(
    found.fix?.steps.join('\n') ?? '',
    /https:\/\/rmm\.example\.test\|https:\/\/<direct address>.*Get-NetTCPConnection/s,
  )
  t.true(isThrough(await bench.ask('127.0.0.1', AGENT)))
  t.true((await diagnose(bench, '127.0.0.1')).healthy)
})

test('an agent whose one connection has been open for a day is not silent: it is there', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const raw = connectTcp({ host: '127.0.0.1', port: bench.port, localAddress: HERE })
  const socket = connect({ socket: raw, servername: HOST, ca: readFileSync(bench.authorityFile, 'utf8') })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  const key = Buffer.alloc(16).toString('base64')
  socket.write(
    `GET /LabTech/Agent.aspx HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
  const [head] = (await once(socket, 'data')) as [Buffer]
  t.regex(head.toString('latin1'), /^HTTP\/1\.1 101/)
  bench.advance(30 * 3_600_000)
  t.true(isThrough(await bench.ask('216.160.83.57', { ...AGENT, settle: false })))
  const there = await diagnose(bench, HERE)
  t.true(there.healthy, there.sentence)
  t.regex(there.sentence, /1 connection open, the oldest since \d{4}-/)
  socket.destroy()
  await bench.settled()
  const gone = await diagnose(bench, HERE)
  t.is(gone.cause, 'gone-quiet', gone.sentence)
})
