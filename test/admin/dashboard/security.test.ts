// Who gets into the dashboard and what forms may do: sessions, tokens, origins, hosts, roles, limits, and nothing that crosses them.
import { once } from 'node:events'
import { connect } from 'node:tls'
import test from 'ava'
import { html } from '../../../src/admin/dashboard/html.ts'
import type { PageRoute } from '../../../src/admin/dashboard/page.ts'
import { SESSION_LIMITS } from '../../../src/admin/dashboard/sessions.ts'
import { HOME, operator, PASSWORD, startDashboard, type TestDashboard } from './support.ts'

const COOKIE = '__Host-portcullis'

function routes(done: string[]): readonly PageRoute[] {
  return [
    HOME,
    {
      method: 'POST',
      path: '/things/:thing',
      role: 'support',
      reach: 'gate',
      action: 'change a thing',
      run: ({ params, form }) => {
        done.push(params['thing'] ?? '')
        if (form.get('wrong') !== null) return { kind: 'page', title: 'Wrong', status: 400, body: html`no` }
        return {
          kind: 'redirect',
          to: form.get('to') ?? '/',
          notice: `did ${params['thing'] ?? ''}`,
          target: params['thing'] ?? '',
        }
      },
    },
    {
      method: 'GET',
      path: '/sites/:site',
      role: 'viewer',
      reach: 'sites',
      run: ({ params }) => ({
        kind: 'page',
        title: params['site'] ?? '',
        body: html`secret of ${params['site']}`,
      }),
    },
    {
      method: 'GET',
      path: '/gate',
      role: 'viewer',
      reach: 'gate',
      run: () => ({ kind: 'page', title: 'Gate', body: html`all of it` }),
    },
    {
      method: 'GET',
      path: '/bug',
      role: 'viewer',
      reach: 'sites',
      run: () => Promise.reject(new Error('a bug')),
    },
  ]
}

const eventsOf = (dashboard: TestDashboard, name: string): unknown[] =>
  dashboard.reported.filter(entry => entry.name === name).map(entry => entry.fields)

test('without a session every page leads to the login, and the login leads back', async t => {
  const dashboard = await startDashboard(t, { routes: routes([]) })
  const client = dashboard.client()
  const { status, headers } = await client.get('/sites/acme?x=1')
  t.is(status, 303)
  t.is(headers.location, '/login?next=%2Fsites%2Facme%3Fx%3D1')
  const login = await client.get(headers.location ?? '')
  t.is(login.status, 200)
  t.regex(login.body, /name="next" value="\/sites\/acme\?x=1"/)
  const got = await client.post('/login', {
    form: { name: 'jane', password: PASSWORD, next: '/sites/acme?x=1' },
    csrf: false,
  })
  t.is(got.status, 303)
  t.is(got.headers.location, '/sites/acme?x=1')
  const cookie = got.headers['set-cookie']?.[0] ?? ''
  t.regex(cookie, /^__Host-portcullis=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict$/)
  t.is((await client.get('/sites/acme')).status, 200)
  t.like(eventsOf(dashboard, 'dashboard.login')[0], { operator: 'jane', address: '127.0.0.1' })
})

test('a wrong name and a wrong password get the same answer; what was typed is neither shown nor recorded', async t => {
  const dashboard = await startDashboard(t)
  const wrongName = await dashboard
    .client()
    .post('/login', { form: { name: 'hunter2-typed-as-name', password: PASSWORD } })
  const wrongPassword = await dashboard
    .client()
    .post('/login', { form: { name: 'jane', password: 'hunter2' } })
  t.is(wrongName.status, 403)
  t.is(wrongPassword.status, 403)
  t.is(wrongName.body, wrongPassword.body)
  t.regex(wrongName.body, /Name or password is wrong/)
  t.notRegex(wrongName.body + wrongPassword.body, /hunter2/)
  t.notRegex(JSON.stringify(dashboard.reported), /hunter2/)
  t.deepEqual(
    eventsOf(dashboard, 'dashboard.login-refused').map(
      fields => (fields as { operator: string | null }).operator,
    ),
    [null, 'jane'],
  )
})

test('held and busy say in words when to come again', async t => {
  const dashboard = await startDashboard(t)
  const client = dashboard.client()
  dashboard.access.answerNext({ ok: false, why: 'held', retryAfterMs: 61_000 })
  const held = await client.post('/login', { form: { name: 'jane', password: PASSWORD } })
  t.is(held.status, 429)
  t.is(held.headers['retry-after'], '61')
  t.regex(held.body, /Too many attempts from your address have failed\. Try again in 2 min/)
  dashboard.access.answerNext({ ok: false, why: 'busy', retryAfterMs: null })
  const busy = await client.post('/login', { form: { name: 'jane', password: PASSWORD } })
  t.is(busy.status, 503)
  t.regex(busy.body, /Try again in 2 s/)
})

test('a session id that somebody else chose is worth nothing, and a login makes a new one', async t => {
  const dashboard = await startDashboard(t)
  const client = dashboard.client()
  client.cookies.set(COOKIE, 'A'.repeat(43))
  t.is((await client.get('/')).status, 303)
  await client.logIn('jane')
  const first = client.cookies.get(COOKIE) ?? ''
  t.not(first, 'A'.repeat(43))
  await client.logIn('jane')
  const second = client.cookies.get(COOKIE) ?? ''
  t.not(second, first)
  const thief = dashboard.client()
  thief.cookies.set(COOKIE, first)
  t.is((await thief.get('/')).status, 303, 'the session before the login has ended')
  thief.cookies.set(COOKIE, `${second}; ${COOKIE}=${second}`)
  t.is((await thief.get('/')).status, 303, 'two cookies of the name count as none')
})

test('a form without its token, with that of another session, or from another page changes nothing', async t => {
  const done: string[] = []
  const dashboard = await startDashboard(t, {
    routes: routes(done),
    operators: [operator('jane'), operator('mallory')],
  })
  const jane = await dashboard.loggedIn('jane')
  const mallory = await dashboard.loggedIn('mallory')
  const foreign = /name="csrf" value="([\w-]+)"/.exec((await mallory.get('/')).body)?.[1] ?? ''
  const attempts = [
    await jane.post('/things/a', { csrf: false }),
    await jane.post('/things/a', { form: { csrf: foreign } }),
    await jane.post('/things/a', { headers: { origin: null } }),
    await jane.post('/things/a', { headers: { origin: 'null' } }),
    await jane.post('/things/a', { headers: { origin: 'https://evil.example' } }),
    await jane.post('/things/a', { headers: { origin: `http://127.0.0.1:${dashboard.port}` } }),
    await jane.post('/things/a', { headers: { 'sec-fetch-site': 'cross-site' } }),
    await jane.post('/things/a', { headers: { 'sec-fetch-site': 'same-site' } }),
  ]
  t.deepEqual(
    attempts.map(({ status }) => status),
    Array(8).fill(403),
  )
  const types = ['text/plain', 'multipart/form-data; boundary=x', 'application/json']
  for (const type of types)
    t.is((await jane.post('/things/a', { headers: { 'content-type': type } })).status, 415, type)
  t.is((await jane.get('/things/a')).status, 404, 'a GET changes nothing')
  t.deepEqual(done, [])
  t.deepEqual(
    eventsOf(dashboard, 'dashboard.refused').map(fields => (fields as { why: string }).why),
    ['token', 'token', 'origin', 'origin', 'origin', 'origin', 'origin', 'origin'],
  )
  await jane.get('/')
  t.is((await jane.post('/things/a')).status, 303)
  t.deepEqual(done, ['a'])
  t.like(eventsOf(dashboard, 'dashboard.changed')[0], {
    operator: 'jane',
    action: 'change a thing',
    target: 'a',
    outcome: 'done',
  })
})

test('a login form from another page logs nobody in', async t => {
  const dashboard = await startDashboard(t)
  for (const origin of ['https://evil.example', 'null', null]) {
    const form = { name: 'jane', password: PASSWORD }
    const { status, headers } = await dashboard.client().post('/login', { form, headers: { origin } })
    t.is(status, 403)
    t.is(headers['set-cookie'], undefined)
  }
})

test('roles and reach hold for every method, by whatever path; refused attempts are recorded', async t => {
  const done: string[] = []
  const dashboard = await startDashboard(t, {
    routes: routes(done),
    operators: [
      operator('vi', { role: 'viewer' }),
      operator('sam', { role: 'support', sites: ['acme'] }),
      operator('key', { role: 'admin', keys: ['k1'] }),
    ],
  })
  const vi = await dashboard.loggedIn('vi')
  t.is((await vi.post('/things/a')).status, 403)
  t.is((await vi.get('/gate')).status, 200)
  const sam = await dashboard.loggedIn('sam')
  t.is((await sam.get('/sites/acme')).status, 200)
  for (const path of [
    '/sites/other',
    '/sites/%6fther',
    '/sites/ACME',
    '/sites/acme%00',
    '/sites/acme%2F..%2Fother',
    '/gate',
    '/x/../gate',
    '/x/%2e%2e/gate',
  ]) {
    const { status, body } = await sam.get(path)
    t.true(status === 403 || status === 404, `${path}: ${status}`)
    t.notRegex(body, /secret of|all of it/, path)
  }
  t.is((await sam.post('/things/a')).status, 403)
  const key = await dashboard.loggedIn('key')
  t.is((await key.get('/gate')).status, 403)
  t.is((await key.post('/things/a')).status, 403)
  t.deepEqual(done, [])
  const refused = eventsOf(dashboard, 'dashboard.refused') as {
    operator: string
    what: string
    why: string
  }[]
  t.like(refused[0], { operator: 'vi', what: 'POST /things/a', why: 'role' })
  t.true(refused.some(entry => entry.operator === 'sam' && entry.why === 'site'))
  t.true(refused.some(entry => entry.operator === 'key' && entry.why === 'reach'))
})

test('a session ends when it is not used, when its day is over, at logout, and with its operator', async t => {
  const dashboard = await startDashboard(t, { operators: [operator('jane'), operator('joe')] })
  const idle = await dashboard.loggedIn('jane')
  dashboard.advance(SESSION_LIMITS.idleMs - 1_000)
  t.is((await idle.get('/', { headers: { 'x-portcullis-renew': '1' } })).status, 200)
  dashboard.advance(2_000)
  t.is((await idle.get('/')).status, 303, 'renewing itself is no use of a session')

  const busy = await dashboard.loggedIn('jane')
  for (let ms = 0; ms < SESSION_LIMITS.absoluteMs - 1; ms += SESSION_LIMITS.idleMs - 1_000) {
    t.is((await busy.get('/')).status, 200)
    dashboard.advance(SESSION_LIMITS.idleMs - 1_000)
  }
  dashboard.advance(SESSION_LIMITS.idleMs - 1_000)
  t.is((await busy.get('/')).status, 303)

  const out = await dashboard.loggedIn('jane')
  const kept = out.cookies.get(COOKIE) ?? ''
  t.is((await out.post('/logout')).headers.location, '/login')
  out.cookies.set(COOKIE, kept)
  t.is((await out.get('/')).status, 303, 'the cookie of before is worth nothing')

  const changed = await dashboard.loggedIn('joe')
  dashboard.access.change({ operatorsChanged: ['joe'] })
  t.is((await changed.get('/')).status, 303)
  const removed = await dashboard.loggedIn('joe')
  dashboard.access.set(operator('jane'))
  t.is((await removed.get('/')).status, 303, 'before anybody has told the dashboard')
  const again = await dashboard.loggedIn('jane')
  dashboard.access.set(operator('jane', { createdMs: 2 }))
  t.is((await again.get('/')).status, 303, 'a new account of the same name is somebody else')
  t.deepEqual(
    eventsOf(dashboard, 'dashboard.session-ended').map(fields => (fields as { why: string }).why),
    ['idle', 'expired', 'logged-out', 'operator-changed', 'operator-changed', 'operator-changed'],
  )
})

test('roles are read anew with every request', async t => {
  const dashboard = await startDashboard(t, { routes: routes([]) })
  const jane = await dashboard.loggedIn('jane')
  t.is((await jane.get('/gate')).status, 200)
  dashboard.access.set(operator('jane', { sites: ['acme'] }))
  t.is((await jane.get('/gate')).status, 403)
})

test('sessions are bounded: the one that was not used for longest gives way', async t => {
  const sessionLimits = { ...SESSION_LIMITS, perOperator: 2, total: 3 }
  const dashboard = await startDashboard(t, {
    operators: [operator('a'), operator('b'), operator('c')],
    sessionLimits,
  })
  const first = await dashboard.loggedIn('a')
  dashboard.advance(10)
  const second = await dashboard.loggedIn('a')
  dashboard.advance(10)
  t.is((await first.get('/')).status, 200)
  dashboard.advance(10)
  await dashboard.loggedIn('a')
  t.is((await first.get('/')).status, 200)
  t.is((await second.get('/')).status, 303)
  dashboard.advance(10)
  await dashboard.loggedIn('b')
  dashboard.advance(10)
  await dashboard.loggedIn('c')
  const { length } = eventsOf(dashboard, 'dashboard.session-ended')
  t.is(length, 2)
})

test('only its own names are answered, so that no foreign web site can become the dashboard', async t => {
  const dashboard = await startDashboard(t)
  const client = dashboard.client()
  for (const host of [
    'evil.example',
    `evil.example:${dashboard.port}`,
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'gate.example.test.',
    'a b',
    '@127.0.0.1',
  ])
    t.true([421, 400].includes((await client.get('/login', { headers: { host } })).status), host)
  for (const host of [
    'localhost',
    'LOCALHOST:9999',
    '127.0.0.1',
    '[::1]:9443',
    'gate.example.test',
    'Gate.Example.Test:443',
  ])
    t.is((await client.get('/login', { headers: { host } })).status, 200, host)
})

test('every answer forbids what the pages do not need, and is kept by nobody', async t => {
  const dashboard = await startDashboard(t, { routes: routes([]) })
  const client = await dashboard.loggedIn('jane')
  const answers = [
    await dashboard.client().get('/login'),
    await dashboard.client().get('/'),
    await client.get('/'),
    await client.get('/nothing'),
    await client.get('/bug'),
    await client.get('/assets/nothing.js'),
    await client.get('/', { method: 'DELETE' }),
    await client.get('/login', { headers: { host: 'evil.example' } }),
  ]
  for (const { headers, status } of answers) {
    t.regex(String(headers['content-security-policy']), /^default-src 'none'; .*frame-ancestors 'none'$/)
    t.notRegex(String(headers['content-security-policy']), /unsafe|\*|https?:/)
    t.is(headers['x-frame-options'], 'DENY')
    t.is(headers['x-content-type-options'], 'nosniff')
    t.is(headers['referrer-policy'], 'same-origin')
    t.is(headers['cache-control'], 'no-store', String(status))
  }
  t.is(dashboard.problems.length, 1)
  const bug = await client.get('/bug')
  t.is(bug.status, 500)
  t.notRegex(bug.body, /a bug/)
})

test('files are served by their exact name only', async t => {
  const dashboard = await startDashboard(t)
  const client = dashboard.client()
  const css = /\/assets\/dashboard\.css\?v=[\w-]+/.exec((await client.get('/login')).body)?.[0] ?? ''
  const got = await client.get(css)
  t.is(got.status, 200)
  t.regex(got.headers['cache-control'] ?? '', /immutable/)
  t.is((await client.get('/assets/dashboard.css?v=old')).headers['cache-control'], 'no-store')
  for (const path of [
    '../layout.ts',
    '..%2flayout.ts',
    '%2e%2e/layout.ts',
    '..\\layout.ts',
    '/etc/passwd',
    'dashboard.css%00',
    'dashboard.css/',
    '',
    '__proto__',
    'constructor',
  ])
    t.not((await client.get(`/assets/${path}`)).status, 200, path)
})

test('no redirect leaves the dashboard, and nothing gets into headers', async t => {
  const dashboard = await startDashboard(t, { routes: routes([]) })
  const client = await dashboard.loggedIn('jane')
  for (const to of [
    '//evil.example',
    '/.//evil.example',
    '/x/..//evil.example',
    '/\\evil.example',
    'https://evil.example',
    '\\\\evil.example',
    '/\t/evil.example',
    '/x\r\nset-cookie: a=b',
    ' //evil.example',
    'javascript:alert(1)',
    '/é',
  ]) {
    const got = await client.post('/things/a', { form: { to } })
    t.is(got.headers.location, '/', to)
    t.is(got.headers['set-cookie'], undefined)
    const login = await dashboard
      .client()
      .post('/login', { form: { name: 'jane', password: PASSWORD, next: to } })
    t.is(login.headers.location, '/', to)
  }
  const notice = await client.post(`/things/${encodeURIComponent('<script>alert(1)</script>')}`)
  t.is(notice.status, 404, 'a slash in a part')
  await client.post(`/things/${encodeURIComponent('<img src=x onerror=alert(1)>')}`)
  const page = await client.get('/')
  t.regex(page.body, /did &lt;img src=x onerror=alert\(1\)&gt;/)
  t.notRegex((await client.get('/')).body, /did /, 'a notice is shown once')
})

test('sizes and methods are limited', async t => {
  const done: string[] = []
  const dashboard = await startDashboard(t, { routes: routes(done) })
  const client = await dashboard.loggedIn('jane')
  t.is((await client.post('/things/a', { form: { x: 'x'.repeat(70_000) } })).status, 413)
  const many = Object.fromEntries(Array.from({ length: 600 }, (_, index) => [`f${index}`, '1']))
  t.is((await client.post('/things/a', { form: many })).status, 400)
  t.is((await client.get('/', { headers: { 'x-long': 'x'.repeat(20_000) } })).status, 431)
  t.is((await client.get(`/${'x'.repeat(9_000)}`)).status, 400)
  for (const method of ['PUT', 'DELETE', 'OPTIONS', 'PATCH'])
    t.is((await client.get('/', { method })).status, 405, method)
  t.is((await client.get('/', { method: 'HEAD' })).body, '')
  t.deepEqual(done, [])
})

test('requests that two parsers could read differently are refused, and no old TLS version is spoken', async t => {
  const dashboard = await startDashboard(t)
  const ask = async (text: string): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port: dashboard.port, rejectUnauthorized: false })
    const parts: Buffer[] = []
    socket.on('data', (part: Buffer) => parts.push(part))
    socket.on('error', () => undefined)
    await once(socket, 'secureConnect')
    socket.end(text)
    await once(socket, 'close')
    return Buffer.concat(parts).toString('latin1')
  }
  const host = `Host: 127.0.0.1:${dashboard.port}\r\n`
  const smuggled = [
    `POST /login HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n${host}\r\n`,
    `POST /login HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef`,
    `POST /login HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n`,
    `GET /login HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`,
    `GET /login HTTP/1.1\n${host}\n`,
    `GET /login HTTP/1.1\r\n\r\n`,
  ]
  for (const text of smuggled) t.regex(await ask(text), /^(?:HTTP\/1\.1 4(?:00|11)|$)/, JSON.stringify(text))
  const old = connect({
    host: '127.0.0.1',
    port: dashboard.port,
    rejectUnauthorized: false,
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1',
  })
  const [error] = (await once(old, 'error')) as [Error]
  t.truthy(error)
})
