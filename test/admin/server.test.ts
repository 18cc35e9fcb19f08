// The admin address: who is let in, what it answers, and the limits of what it takes.
import { once } from 'node:events'
import { statSync, writeFileSync, readFileSync, mkdtempSync, rmSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { callAdmin } from '../../src/admin/client.ts'
import { adminRoutes, type AdminActions } from '../../src/admin/routes.ts'
import { openAdminServer, type AdminAnswer, type AdminServer } from '../../src/admin/server.ts'
import type { GateStatus } from '../../src/admin/status.ts'
import { testStatus } from './dashboard/support.ts'
import { ensureAdminToken, readAdminToken } from '../../src/admin/token.ts'

const TOKEN = 'a-token-of-more-than-thirty-two-characters'

type Calls = { readonly name: string; readonly args: readonly unknown[] }[]

async function open(t: ExecutionContext): Promise<{ server: AdminServer; calls: Calls; problems: string[] }> {
  const calls: Calls = []
  const problems: string[] = []
  const actions: AdminActions = {
    status: () => ({ version: 'x' }) as unknown as GateStatus,
    facts: () => ({
      status: testStatus(0, { version: 'x' }),
      listeners: [{ listener: 'https', host: '0.0.0.0', port: 443 }],
      names: [],
      journal: { usable: true, droppedRows: 0, usedBytes: 0 },
      guard: null,
    }),
    guard: () => null,
    ruleCounters: () => [],
    reload: options => {
      calls.push({ name: 'reload', args: [options] })
      return Promise.resolve({
        ok: true,
        id: 'x',
        changes: [],
        warnings: [],
        version: 1,
        guarded: false,
        closed: 0,
      })
    },
    addEntry: entry => {
      calls.push({ name: 'addEntry', args: [entry] })
      return Promise.resolve({ ...entry, id: 1 })
    },
    removeEntries: (...args) => {
      calls.push({ name: 'removeEntries', args })
      return Promise.resolve([])
    },
    entries: () => Promise.reject(new Error('the store is gone')),
    flush: () => Promise.resolve(),
  }
  const server = await openAdminServer(
    { host: '127.0.0.1', port: 0 },
    {
      token: TOKEN,
      metrics: () => Promise.resolve('portcullis_up 1\n'),
      routes: adminRoutes(actions),
      onInternalError: (where, cause) => problems.push(`${where}: ${String(cause)}`),
    },
  )
  t.teardown(() => server.close())
  return { server, calls, problems }
}

type Call = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

async function call(
  { endpoint }: AdminServer,
  path: string,
  { method = 'GET', headers = {}, body }: Call = {},
): Promise<{ status: number; text: string; headers: IncomingMessage['headers'] }> {
  const outgoing = request({ host: endpoint.host, port: endpoint.port, path, method, headers })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode ?? 0, text, headers: response.headers }
}

const SIGNED = { authorization: `Bearer ${TOKEN}` }

test('metrics and health need no token, everything else does', async t => {
  const { server, calls } = await open(t)
  t.is((await call(server, '/metrics')).text, 'portcullis_up 1\n')
  t.deepEqual(JSON.parse((await call(server, '/healthz')).text), { ok: true })
  const wrong = ['', `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, TOKEN, `Basic ${TOKEN}`, 'Bearer ']
  for (const authorization of wrong) {
    for (const [method, path] of [
      ['GET', '/v1/status'],
      ['POST', '/v1/reload'],
      ['POST', '/v1/overlay'],
      ['DELETE', '/v1/overlay'],
      ['GET', '/nothing'],
    ] as const) {
      const answer = await call(server, path, { method, headers: { authorization } })
      t.is(answer.status, 401, `${method} ${path} with ${authorization}`)
    }
  }
  t.is(calls.length, 0)
  t.is((await call(server, '/v1/status', { headers: SIGNED })).status, 200)
  t.is((await call(server, '/v1/nothing', { headers: SIGNED })).status, 404)
  t.is((await call(server, '/v1/status', { method: 'DELETE', headers: SIGNED })).status, 404)
  t.is((await call(server, '/__proto__', { headers: SIGNED })).status, 404)
})

test('neither a foreign Host nor a web page is served, not even with the token', async t => {
  const { server, calls } = await open(t)
  for (const host of [
    'evil.example',
    'evil.example:9090',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
  ]) {
    const headers = { ...SIGNED, host }
    t.is((await call(server, '/v1/reload', { method: 'POST', headers })).status, 403, host)
    t.is((await call(server, '/metrics', { headers: { host } })).status, 403, host)
  }
  for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1:9090']) {
    const headers = { ...SIGNED, origin }
    t.is((await call(server, '/v1/reload', { method: 'POST', headers })).status, 403, origin)
  }
  for (const host of ['localhost', 'localhost:1', '127.0.0.1:9090', '[::1]:9090']) {
    t.is((await call(server, '/healthz', { headers: { host } })).status, 200, host)
  }
  t.is(calls.length, 0)
})

test('bodies are limited, must be JSON, and wrong entries say what is wrong', async t => {
  const { server, calls } = await open(t)
  const post = (body: string): ReturnType<typeof call> =>
    call(server, '/v1/overlay', { method: 'POST', headers: SIGNED, body })
  const entry = {
    kind: 'ban',
    range: '198.51.100.7',
    classes: null,
    reason: 'why',
    owner: 'jane',
    createdMs: 1_000,
    expiresMs: null,
  }
  t.is((await post(JSON.stringify(entry))).status, 200)
  t.like(calls[0]?.args[0], { range: '198.51.100.7/32' })
  t.is((await post('{')).status, 413)
  t.is((await post(JSON.stringify({ ...entry, reason: 'x'.repeat(70_000) }))).status, 413)
  const wrong: readonly (readonly [Readonly<Record<string, unknown>>, RegExp])[] = [
    [{ kind: 'maybe' }, /kind/],
    [{ range: '198.51.100.0/33' }, /range/],
    [{ range: 7 }, /range/],
    [{ reason: '' }, /reason/],
    [{ reason: 'x'.repeat(301) }, /reason/],
    [{ owner: '  ' }, /owner/],
    [{ classes: [] }, /classes/],
    [{ classes: ['agent', 'nothing'] }, /classes/],
    [{ createdMs: 'now' }, /createdMs/],
    [{ expiresMs: 1_000 }, /expiresMs/],
    [{ expiresMs: 'soon' }, /expiresMs/],
  ]
  for (const [change, names] of wrong) {
    const answer = await post(JSON.stringify({ ...entry, ...change }))
    t.is(answer.status, 400, JSON.stringify(change))
    t.regex(answer.text, names)
  }
  for (const body of ['null', '[]', '"x"', '{}', '{"__proto__":{"kind":"ban"}}'])
    t.is((await post(body)).status, 400, body)
  t.is(calls.length, 1)
})

test('reload passes closeRefused on only when it is true', async t => {
  const { server, calls } = await open(t)
  for (const body of ['{"closeRefused":true}', '{"closeRefused":"true"}', '{}', ''])
    t.is((await call(server, '/v1/reload', { method: 'POST', headers: SIGNED, body })).status, 200)
  t.deepEqual(
    calls.map(({ args }) => args[0]),
    [true, false, false, false].map(closeRefused => ({ closeRefused })),
  )
})

test('a defect behind a route is answered with 500, reported, and not shown', async t => {
  const { server, problems } = await open(t)
  const answer = await call(server, '/v1/overlay', { headers: SIGNED })
  t.is(answer.status, 500)
  t.notRegex(answer.text, /store is gone/)
  t.deepEqual(problems, ['admin: Error: the store is gone'])
  t.is(answer.headers['cache-control'], 'no-store')
  t.is(answer.headers['x-content-type-options'], 'nosniff')
})

test('nonsense and oversized heads are refused, and the server goes on', async t => {
  const { server } = await open(t)
  for (const bytes of [
    'nonsense\r\n\r\n',
    `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
  ]) {
    const socket = connect(server.endpoint.port, '127.0.0.1')
    socket.on('error', () => undefined)
    let text = ''
    socket.on('data', chunk => (text += String(chunk)))
    socket.write(bytes)
    await once(socket, 'close')
    t.regex(text, /^HTTP\/1\.1 4/)
  }
  t.is((await call(server, '/healthz')).status, 200)
})

test('more connections than the limit are dropped, and closing the server closes all of them', async t => {
  const { server } = await open(t)
  let closed = 0
  const each = Array.from({ length: 80 }, () => {
    const socket = connect(server.endpoint.port, '127.0.0.1')
    socket.on('error', () => undefined)
    return new Promise<void>(resolve => {
      socket.on('close', () => {
        closed++
        resolve()
      })
    })
  })
  await Promise.race(each)
  t.true(closed > 0)
  await server.close()
  await Promise.all(each)
  t.is(closed, 80)
})

test('the token is made once, for its owner only, and a damaged one is replaced', t => {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-token-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  t.is(readAdminToken(directory), undefined)
  const token = ensureAdminToken(directory)
  t.is(ensureAdminToken(directory), token)
  t.is(readAdminToken(directory), token)
  const file = join(directory, 'admin.token')
  t.is(statSync(file).mode & 0o777, 0o600)
  t.is(readFileSync(file, 'utf8'), `${token}\n`)
  writeFileSync(file, 'short\n')
  const next = ensureAdminToken(directory)
  t.not(next, token)
  t.true(next.length >= 32)
})

test('the client says that no gate runs, that the token is wrong, and what the gate refused', async t => {
  const { server } = await open(t)
  const stateDir = mkdtempSync(join(tmpdir(), 'portcullis-client-'))
  t.teardown(() => rmSync(stateDir, { recursive: true, force: true }))
  const target = { endpoint: server.endpoint, stateDir }
  t.is(await callAdmin(target, 'GET', '/v1/status'), undefined, 'no token yet')
  writeFileSync(join(stateDir, 'admin.token'), `${TOKEN}\n`)
  t.like(await callAdmin(target, 'GET', '/v1/status'), {
    version: 'x',
    health: {
      state: 'broken',
      headline: 'Needs you now',
      sentence: 'Listener https is not open on 0.0.0.0:443: nobody gets in there.',
    },
  })
  await t.throwsAsync(callAdmin(target, 'POST', '/v1/overlay', { kind: 'maybe' }), { code: 'admin-refused' })
  writeFileSync(join(stateDir, 'admin.token'), `${TOKEN}but-another-one\n`)
  await t.throwsAsync(callAdmin(target, 'GET', '/v1/status'), { code: 'admin-token' })
  const gone = (await open(t)).server
  await gone.close()
  t.is(
    await callAdmin({ ...target, endpoint: gone.endpoint }, 'GET', '/v1/status'),
    undefined,
    'nobody there',
  )
})

test('a server that closes answers what it was asked before, for as long as it is given', async t => {
  const asked = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
  const done = Promise.withResolvers<AdminAnswer>()
  const server = await openAdminServer(
    { host: '127.0.0.1', port: 0 },
    {
      token: TOKEN,
      metrics: () => Promise.resolve(''),
      routes: {
        'POST /v1/answered': () => {
          asked[0].resolve()
          return done.promise
        },
        'POST /v1/endless': () => {
          asked[1].resolve()
          return new Promise(() => undefined)
        },
      },
      onInternalError: () => undefined,
    },
  )
  const call = (path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${server.endpoint.port}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      body: '{}',
    })
  const answered = call('/v1/answered')
  const endless = t.throwsAsync(call('/v1/endless'))
  await Promise.all(asked.map(({ promise }) => promise))
  const leaving = server.close(600_000)
  await t.throwsAsync(call('/v1/answered'), undefined, 'nobody new is let in')
  done.resolve({ status: 200, body: { ok: true } })
  t.deepEqual(await (await answered).json(), { ok: true })
  await Promise.all([server.close(0), leaving, endless])
})
