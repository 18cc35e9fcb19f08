// What operators can do from another machine, what they cannot, and what ends when the ground of it is gone.
import { createHash, hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { PassThrough, Readable } from 'node:stream'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { connectGate } from '../../src/tunnel/connector/dial.ts'
import { loginBody } from '../../src/tunnel/operator/read.ts'
import { OPERATOR_PREFIX } from '../../src/tunnel/operator/service.ts'
import { HOST } from '../cli/support.ts'
import { testAuthority } from '../support/certificates.ts'
import { identityHeld, pinOf, service } from '../tunnel/harness.ts'
import {
  exchange,
  nextTurn,
  OPERATOR_ADDRESS,
  PASSWORD,
  refusalOf,
  startGatewayBench,
  type GatewayBench,
} from './support.ts'

type Said = { readonly status: number; readonly body: Readonly<Record<string, unknown>> }

/** One question to the operator API, as any program could ask it. */
async function ask(
  bench: GatewayBench,
  what: string,
  options: {
    readonly method?: string
    readonly body?: string | Buffer
    readonly token?: string
    readonly from?: string
    readonly headers?: Readonly<Record<string, string>>
  } = {},
): Promise<Said> {
  const proxy = new URL(await bench.proxyFrom(options.from ?? OPERATOR_ADDRESS))
  const socket = await connectGate(
    { host: HOST, port: bench.port, address: null, pinsSha256: [], caPem: await testAuthority() },
    { host: proxy.hostname, port: Number(proxy.port), user: null, password: '' },
    AbortSignal.timeout(60_000),
  )
  const { token, body, headers } = options
  const outgoing = request({
    createConnection: () => socket,
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    path: OPERATOR_PREFIX + what,
    headers: {
      host: `${HOST}:${bench.port}`,
      connection: 'close',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
      ...headers,
    },
  })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [Readable & { statusCode: number }]
  const answer = await text(response)
  socket.destroy()
  return { status: response.statusCode, body: JSON.parse(answer) as Said['body'] }
}

async function login(bench: GatewayBench, key = 'Testing1', operator = 'alice'): Promise<string> {
  const body = loginBody({ operator, password: PASSWORD, key, client: null })
  const said = await ask(bench, 'login', { body })
  return String(said.body['token'])
}

async function opened(socket: Socket): Promise<Socket> {
  await once(socket, 'connect')
  return socket
}

/** Resolves when it is closed, however. */
function closed(socket: Socket): Promise<void> {
  return new Promise(resolve => {
    socket.once('close', () => resolve())
  })
}

test('many connections at once, megabytes both ways, half-close and resets as they are', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addOperator('alice', PASSWORD)
  const services = {
    echo: await service(t, socket => socket.pipe(socket)),
    // Answers only after the client has ended its side: lost by whoever does not carry half-close.
    digest: await service(t, socket => {
      const sum = createHash('sha256')
      socket.on('data', chunk => sum.update(chunk)).on('end', () => socket.end(sum.digest('hex')))
    }),
    reset: await service(t, socket => socket.once('data', () => socket.resetAndDestroy())),
    closed: 1,
  }
  const resets: string[] = []
  const watched = await service(t, socket => {
    socket.on('error', (error: NodeJS.ErrnoException) => resets.push(error.code ?? ''))
    socket.write('ready')
    socket.resume()
  })
  await bench.client('PC-17', 'Testing1', { ...services, watched })
  const to = async (name: string): Promise<number> => (await bench.connect(`PC-17/${name}`, {})).port

  const echo = await to('echo')
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, index) => exchange(echo, `hello ${index}`)),
  )
  t.deepEqual(
    answers,
    Array.from({ length: 40 }, (_, index) => `hello ${index}`),
  )
  t.is((await bench.sessions()).length, 1)

  const large = randomBytes(6_000_000).toString('latin1')
  t.is(await exchange(await to('digest'), large), hash('sha256', Buffer.from(large)))

  const broken = await opened(connect({ host: '127.0.0.1', port: await to('reset') }))
  broken.write('x')
  const [error] = (await once(broken, 'error')) as [NodeJS.ErrnoException]
  t.is(error.code, 'ECONNRESET')
  const nobody = await opened(connect({ host: '127.0.0.1', port: await to('closed') }))
  t.is(((await once(nobody, 'error')) as [NodeJS.ErrnoException])[0].code, 'ECONNRESET')

  const own = await opened(connect({ host: '127.0.0.1', port: await to('watched') }))
  await once(own, 'data')
  own.resetAndDestroy()
  while (resets.length === 0) await nextTurn()
  t.deepEqual(resets, ['ECONNRESET'])
})

test('--stdio carries one connection over standard streams; key and password come from files of mode 600', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addOperator('alice', PASSWORD)
  await bench.client('PC-17', 'Testing1', { echo: await service(t, socket => socket.pipe(socket)) })
  const { words, env } = await bench.remote({})
  const file = (name: string, value: string, mode: number): string => {
    const path = join(bench.root, name)
    writeFileSync(path, `${value}\n`, { mode })
    return path
  }
  const password = file('password', PASSWORD, 0o600)
  const key = file('key', 'Testing1', 0o600)
  const stdio = async (...more: readonly string[]) => {
    const output = new PassThrough()
    const ended = bench.cli(['connect', 'PC-17/echo', '--stdio', ...more, ...words], {
      env: { HTTPS_PROXY: env['HTTPS_PROXY'] ?? '' },
      input: Readable.from(['one ', 'two']),
      output,
    })
    const { code, err } = await ended
    output.end()
    return { code, err, got: await text(output) }
  }
  t.deepEqual(await stdio('--password-file', password, '--key-file', key), {
    code: 0,
    err: '',
    got: 'one two',
  })
  t.regex((await stdio()).err, /standard input belongs to the service/)
  t.regex(
    (await stdio('--password-file', password, '--key-file', file('open', 'Testing1', 0o644))).err,
    /others can read/,
  )
})

test('N18: an operator sees and reaches clients of the own key, sites and role only', async t => {
  const bench = await startGatewayBench(
    t,
    `sites: { office: { addresses: [216.160.83.70] }, shop: { addresses: [216.160.83.71] } }`,
  )
  await bench.addKey('acme', 'Testing1')
  await bench.addKey('globex', 'Testing2')
  await bench.addOperator('alice', PASSWORD, '--key', 'acme')
  await bench.addOperator('sid', PASSWORD, '--site', 'office')
  await bench.cli(['operators', 'add', 'vera', '--role', 'viewer'], {
    input: Readable.from([`${PASSWORD}\n`]),
  })
  const echo = await service(t, socket => socket.pipe(socket))
  await bench.client('PC-OFFICE', 'Testing1', { echo }, { from: '216.160.83.70' })
  await bench.client('PC-SHOP', 'Testing1', { echo }, { from: '216.160.83.71' })
  await bench.client('PC-OTHER', 'Testing2', { echo }, { from: '216.160.83.71' })
  const seenBy = async (operator: string, key: string): Promise<readonly string[]> => {
    const { out } = await bench.operator(['clients', '--json'], { operator, key })
    return (JSON.parse(out) as { clients: { name: string }[] }).clients.map(client => client.name)
  }
  t.deepEqual(await seenBy('alice', 'Testing1'), ['PC-OFFICE', 'PC-SHOP'])
  t.deepEqual(await seenBy('sid', 'Testing1'), ['PC-OFFICE'])
  t.deepEqual(await seenBy('vera', 'Testing2'), ['PC-OTHER'])
  // The key is good, but not for her: the same words as for a wrong one.
  t.regex((await bench.operator(['clients'], { key: 'Testing2' })).err, /do not belong together/)
  await t.throwsAsync(bench.connect('PC-SHOP/echo', { operator: 'sid' }), { message: /No client PC-SHOP/ })
  await t.throwsAsync(bench.connect('PC-OTHER/echo', {}), { message: /No client PC-OTHER/ })
  await t.throwsAsync(bench.connect('PC-NONE/echo', {}), { message: /No client PC-NONE/ })
  await t.throwsAsync(bench.connect('PC-OTHER/echo', { operator: 'vera', key: 'Testing2' }), {
    message: /viewer cannot connect/,
  })
  await t.throwsAsync(bench.connect('PC-SHOP/rdp', {}), {
    message: /offers no TCP service rdp[^]*It offers echo/,
  })
  const { port } = await bench.connect('PC-SHOP/echo', {})
  t.is(await exchange(port, 'hello'), 'hello')
  const sessionsOf = async (operator: string, key: string): Promise<string> =>
    (await bench.operator(['sessions'], { operator, key })).out
  t.regex(
    await sessionsOf('vera', 'Testing1'),
    /alice +PC-SHOP +echo +216\.160\.83\.56 +acme +\d{4}-\d\d-\d\d/,
  )
  t.regex(await sessionsOf('sid', 'Testing1'), /No operator is connected/)
  t.regex(await sessionsOf('vera', 'Testing2'), /No operator is connected/)
  t.regex((await bench.cli(['sessions'])).out, /alice +PC-SHOP/)
  t.regex((await bench.cli(['clients'])).out, /PC-OTHER +globex +echo/)
})

test('N15: a removed key or operator ends its own sessions and logins; others go on', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addKey('globex', 'Testing2')
  await bench.addOperator('alice', PASSWORD)
  await bench.addOperator('bob', PASSWORD)
  const echo = await service(t, socket => socket.pipe(socket))
  await bench.client('PC-1', 'Testing1', { echo })
  await bench.client('PC-2', 'Testing2', { echo })
  const local = async (target: string, operator: string, key: string): Promise<Socket> => {
    const { port } = await bench.connect(target, { operator, key })
    const socket = await opened(connect({ host: '127.0.0.1', port }))
    socket.write('a')
    await once(socket, 'data')
    socket.on('error', () => undefined)
    return socket
  }
  const alice1 = await local('PC-1/echo', 'alice', 'Testing1')
  const alice2 = await local('PC-2/echo', 'alice', 'Testing2')
  const bob2 = await local('PC-2/echo', 'bob', 'Testing2')
  const token = await login(bench)
  t.is((await ask(bench, 'clients', { token })).status, 200)
  const ended = closed(alice1)
  await bench.cli(['keys', 'remove', 'acme'])
  await ended
  t.is((await ask(bench, 'clients', { token })).status, 401)
  alice2.write('b')
  t.is(String((await once(alice2, 'data'))[0]), 'b')
  const gone = closed(alice2)
  await bench.cli(['operators', 'remove', 'alice'])
  await gone
  bob2.write('c')
  t.is(String((await once(bob2, 'data'))[0]), 'c')
  t.like(await bench.sessions(), [{ operator: 'bob', client: 'PC-2' }])
})

test('a client that has gone ends its sessions; the same local port goes on when it is back', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addOperator('alice', PASSWORD)
  const echo = await service(t, socket => socket.pipe(socket))
  const connector = await bench.client('PC-1', 'Testing1', { echo })
  const connected = await bench.connect('PC-1/echo', {})
  t.is(await exchange(connected.port, 'before'), 'before')
  connector.session.end('restart')
  while ((await bench.sessions()).length > 0) await nextTurn()
  const refused = await opened(connect({ host: '127.0.0.1', port: connected.port }))
  await once(refused, 'error')
  await bench.client('PC-1', 'Testing1', { echo })
  t.is(await exchange(connected.port, 'after'), 'after')
  const { err } = await connected.stop()
  t.regex(err, /the session has ended: the client has gone/)
  t.regex(err, /No client PC-1 is attached/)
})

test('a token is worth nothing from another address, after its time, or changed', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addOperator('alice', PASSWORD)
  const token = await login(bench)
  t.is((await ask(bench, 'clients', { token })).status, 200)
  t.is((await ask(bench, 'clients', { token, from: '216.160.83.99' })).status, 401)
  t.is(
    (await ask(bench, 'clients', { token: `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}` }))
      .status,
    401,
  )
  t.is((await ask(bench, 'clients')).status, 401)
  bench.advance(10 * 60_000)
  t.is((await ask(bench, 'clients', { token })).status, 401)
})

test('adversarial: what cannot be read is refused, and nothing of it is told or thrown', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addOperator('alice', PASSWORD)
  const good = loginBody({ operator: 'alice', password: PASSWORD, key: 'Testing1', client: null })
  const token = await login(bench)
  const wrong: readonly (readonly [string, Parameters<typeof ask>[2]])[] = [
    ['login', { body: '' }],
    ['login', { body: '{' }],
    ['login', { body: '[]' }],
    ['login', { body: 'null' }],
    ['login', { body: '{"__proto__":{"operator":"alice"}}' }],
    ['login', { body: good.replace('{', '{"more":1,') }],
    ['login', { body: good.replace('"alice"', '["alice"]') }],
    ['login', { body: good.replace('"alice"', JSON.stringify('a'.repeat(65))) }],
    ['login', { body: good.replace('}', ',"client":"../../x"}') }],
    ['login', { body: good.replace('}', ',"client":{}}') }],
    ['login', { body: good.replace('"alice"', '"alice",'.repeat(200)) }],
    ['login', { body: Buffer.from(good, 'utf16le') }],
    ['login', { method: 'GET' }],
    ['clients', { token, method: 'DELETE' }],
    ['clients?all=1', { token }],
    ['connect?client=PC-1&service=echo', { token }],
    ['', { token }],
    ['nothing', { token }],
    ['clients/../sessions%2f', { token }],
  ]
  for (const [what, options] of wrong) {
    const { status, body } = await ask(bench, what, options)
    t.true([400, 401, 403, 404, 426].includes(status), `${what} ${String(options?.body)}: ${status}`)
    t.notRegex(JSON.stringify(body), /alice|correct|Testing/)
  }
  t.is((await ask(bench, 'login', { body: `${good}${' '.repeat(20_000)}` })).status, 413)
  t.is((await ask(bench, 'clients', { token })).status, 200)
  t.regex((await bench.cli(['events', '--json'])).out, /operator\.logged-in/)
  t.notRegex((await bench.cli(['events', '--json'])).out, /internal-error|Testing1|correct horse/)
})

test('adversarial: guessing from many addresses is held, refusals do not tell what was wrong, and alice gets in meanwhile', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addOperator('alice', PASSWORD)
  await login(bench)
  const guess = (index: number, operator: string, password: string, key: string): Promise<Said> =>
    ask(bench, 'login', {
      body: loginBody({ operator, password, key, client: null }),
      from: `216.160.84.${index % 6}`,
    })
  const said = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      index % 3 === 0
        ? guess(index, 'alice', `guess ${index}`, 'Testing1')
        : index % 3 === 1
          ? guess(index, 'nobody', PASSWORD, `Guessing${index}`)
          : guess(index, 'alice', PASSWORD, `Guessing${index}`),
    ),
  )
  t.true(said.every(({ status }) => [401, 429, 503].includes(status)))
  const words = new Set(said.filter(({ status }) => status === 401).map(({ body }) => body['message']))
  t.deepEqual([...words], ['Operator name, password and gateway key do not belong together.'])
  t.regex((await bench.operator(['clients'], {})).out, /No client is attached/)
  t.like(await bench.ask(OPERATOR_ADDRESS), { status: 200 })
})

test('the gate is checked by authority or pin; a wrong one ends before anything is said', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addOperator('alice', PASSWORD)
  const { env } = await bench.remote({})
  const cert = readFileSync(join(bench.root, `certs/${HOST}.crt`), 'utf8')
  const clients = (...more: readonly string[]) =>
    bench.cli(['clients', '--gate', `https://${HOST}:${bench.port}`, '--operator', 'alice', ...more], { env })
  t.is((await clients('--pin', `sha256/${pinOf(cert)}`)).code, 0)
  const wrongPin = await clients('--pin', `sha256/${Buffer.alloc(32).toString('base64')}`)
  t.regex(wrongPin.err, /its public key is sha256\/.*which is not pinned/)
  t.regex((await clients()).err, /is not trusted[^]*--ca, or its key with --pin/)
  t.regex((await clients('--pin', 'abc')).err, /"abc" is not a pin/)
  // One in 64 hashes begins with a slash, and curl writes two before the hash.
  for (const slashes of ['', 'sha256/', 'sha256//']) {
    const other = await clients('--pin', `${slashes}/${'A'.repeat(42)}=`)
    t.regex(other.err, /its public key is sha256\/.*which is not pinned/)
  }
  t.regex((await clients('--ca', 'nowhere.pem')).err, /cannot be read/)
  t.regex((await clients('--proxy', 'http://u:secret@127.0.0.1:1')).err, /could be read by every user/)
  t.notRegex((await clients('--proxy', 'http://u:secret@127.0.0.1:1')).err, /secret/)
  const downgraded = await bench.ask(OPERATOR_ADDRESS, {
    path: `${OPERATOR_PREFIX}login`,
    tls: 'TLSv1.2',
    method: 'POST',
    body: '{}',
  })
  t.like(downgraded, { status: 426 })
})

test('whose name a client has is listed, and one that was installed anew is let in by one command', async t => {
  const bench = await startGatewayBench(t)
  await bench.addKey('acme', 'Testing1')
  await bench.addKey('globex', 'Testing2')
  const [before, after] = [identityHeld(), identityHeld()]
  const first = await bench.client('PC-17', 'Testing1', {}, { held: before })
  await bench.client('PC-17', 'Testing2', {}, { held: before })
  t.deepEqual(
    (await bench.clients()).map(({ key, identity }) => [key, identity]),
    [
      ['acme', before.text],
      ['globex', before.text],
    ],
  )
  first.session.end('installed anew')
  const anew = { held: after, identity: { instance: 'installed-anew-0001' } }
  t.is(await refusalOf(bench.client('PC-17', 'Testing1', {}, anew)), 'identity-other')
  t.regex((await bench.cli(['clients', 'forget', 'PC-71'])).err, /no identity of a client PC-71[^]*PC-17/)
  t.regex((await bench.cli(['clients', 'forget', 'pc-17'])).err, /2 clients have the name[^]*--key acme/)
  t.regex((await bench.cli(['clients', 'forget', 'pc-17', '--key', 'acme'])).out, /is forgotten[^]*30 s/)
  const { value } = await bench.json(['clients', 'identities'])
  t.like(value, { identities: [{ name: 'PC-17', key: 'globex', identity: before.text, confirmed: true }] })
  await bench.client('PC-17', 'Testing1', {}, anew)
  t.like((await bench.json(['clients', 'identities'])).value, { identities: { length: 2 } })
  await bench.portcullis.stop()
  // Without a gate the command works on the file, and what was learned is there.
  t.regex((await bench.cli(['clients', 'identities'])).out, /PC-17 +acme +ed25519[^]*yes/)
  t.regex((await bench.cli(['clients', 'forget', 'PC-17', '--key', 'globex'])).out, /from the next start/)
  const { value: left } = await bench.json(['clients', 'identities'])
  t.like(left, { identities: [{ key: 'acme', identity: after.text }] })
  t.like(left, { identities: { length: 1 } })
})

test('what is called wrongly says the next step', async t => {
  const bench = await startGatewayBench(t)
  const said = async (...words: readonly string[]): Promise<string> => (await bench.cli(words)).err
  t.regex(await said('connect', 'PC-17'), /not a client and a service[^]*PC-17\/rdp/)
  t.regex(await said('connect', 'PC-17/rdp'), /Either a local port/)
  t.regex(await said('connect', 'PC-17/rdp', '--local', '0.0.0.0:13389'), /0\.0\.0\.0 is not loopback/)
  t.regex(await said('connect', 'PC-17/rdp', '--local', '99999'), /not a local port/)
  t.regex(await said('connect', 'PC-17/rdp', '--local', '13389'), /which gate\?/)
  t.regex(await said('clients', '--gate', 'http://x'), /not the address of a gate/)
  t.regex(await said('clients', '--gate', 'https://rmm.example.test'), /who logs in\?/)
  t.regex(await said('clients', 'PC-17'), /clients takes no name/)
  const two = ['connect', 'PC-17/rdp', '--local', '0', '--gate', 'https://a.test', '--gate'] as const
  t.regex(await said(...two, 'https://a.test'), /a\.test is named twice/)
  t.regex(await said(...two, 'https://b.test', '--address', '127.0.0.1'), /2 gates[^]*1 time\b[^]*same order/)
})
