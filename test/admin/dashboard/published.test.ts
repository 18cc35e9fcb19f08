// The dashboard behind the gate's own listener: for named sources only, after everything that the gate asks, and never under a name of the RMM.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ACCESS_FILE } from '../../../src/access/access-file.ts'
import { addOperator } from '../../../src/access/edit.ts'
import { dial } from '../../../src/practice/agent-dial.ts'
import { HOST, OTHER_HOST, startBench, startRunningBench, type RunningBench } from '../../cli/support.ts'

const PASSWORD = 'a long password of a test'
const OFFICE = '8.8.4.3'
const BRANCH = '8.8.4.17'
const STRANGER = '8.8.8.8'
const POLICY = `
model: agent-only
dashboard:
  address: '127.0.0.1:0'
  publish: { host: ${OTHER_HOST}, sources: [8.8.4.0/28, 5.255.255.5], sites: [branch] }
sites:
  branch: { name: Branch, addresses: [8.8.4.16/28] }
`

type Got = {
  readonly status: number
  readonly body: string
  readonly location: string
  readonly cookies: readonly string[]
}
type Extra = {
  readonly serverName?: string
  readonly host?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly form?: Readonly<Record<string, string>>
}

/** One request through the gate, as a browser at this address would make it. Resolves with the head of the answer. */
async function ask(
  bench: RunningBench,
  source: string,
  path: string,
  extra: Extra = {},
): Promise<IncomingMessage> {
  const { port } = bench
  const { socket } = await dial(
    { protocol: 'https', host: extra.serverName ?? OTHER_HOST, port },
    {
      proxySource: source,
      resolve: () => ({ host: '127.0.0.1', port }),
      ca: readFileSync(bench.authorityFile, 'utf8'),
    },
    AbortSignal.timeout(10_000),
  )
  const host = extra.host ?? OTHER_HOST
  const body = extra.form === undefined ? undefined : new URLSearchParams(extra.form).toString()
  const outgoing = request({
    createConnection: () => socket,
    method: body === undefined ? 'GET' : 'POST',
    path,
    headers: {
      host,
      connection: 'close',
      ...(body === undefined
        ? {}
        : {
            origin: `https://${host}`,
            'content-type': 'application/x-www-form-urlencoded',
            'content-length': String(Buffer.byteLength(body)),
          }),
      ...extra.headers,
    },
  })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return response
}

/** The whole answer; the code of the error when there is none. */
async function browse(...asked: Parameters<typeof ask>): Promise<Got | string> {
  try {
    const response = await ask(...asked)
    const parts: Buffer[] = []
    for await (const part of response) parts.push(part as Buffer)
    return {
      status: response.statusCode ?? 0,
      body: Buffer.concat(parts).toString(),
      location: response.headers.location ?? '',
      cookies: response.headers['set-cookie'] ?? [],
    }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

/** The first event of a stream; then the browser goes away. */
async function firstOf(bench: RunningBench, source: string, path: string, cookie: string): Promise<string> {
  const { port } = bench
  const { socket } = await dial(
    { protocol: 'https', host: OTHER_HOST, port },
    {
      proxySource: source,
      resolve: () => ({ host: '127.0.0.1', port }),
      ca: readFileSync(bench.authorityFile, 'utf8'),
    },
    AbortSignal.timeout(10_000),
  )
  const outgoing = request({ createConnection: () => socket, path, headers: { host: OTHER_HOST, cookie } })
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  let text = ''
  for await (const part of response) {
    text += String(part)
    if (text.includes('event: ')) break
  }
  socket.destroy()
  return text
}

async function logIn(bench: RunningBench, source: string, extra: Extra = {}): Promise<Got | string> {
  return browse(bench, source, '/login', { form: { name: 'jane', password: PASSWORD }, ...extra })
}

async function start(t: ExecutionContext): Promise<RunningBench> {
  const bench = await startRunningBench(t, POLICY)
  const file = join(bench.root, 'var', ACCESS_FILE)
  await addOperator(file, PASSWORD, { name: 'jane', role: 'admin', sites: null, keys: null }, bench.nowMs())
  await bench.portcullis.reload('command')
  return bench
}

test('an operator of a named source logs in through the gate, and the audit log knows the address', async t => {
  const bench = await start(t)
  for (const source of [OFFICE, BRANCH]) {
    const first = await browse(bench, source, '/sites')
    t.like(first, { status: 303, location: '/login?next=%2Fsites' })
    // What the client says of itself is not believed.
    const login = await logIn(bench, source, { headers: { 'x-forwarded-for': '192.0.2.1' } })
    if (typeof login === 'string' || login.status !== 303) return t.fail(JSON.stringify(login))
    t.regex(
      login.cookies[0] ?? '',
      /^__Host-portcullis=[^;]+;.*Secure.*HttpOnly|^__Host-portcullis=[^;]+;.*HttpOnly.*Secure/i,
    )
    const cookie = login.cookies.map(entry => entry.split(';')[0]).join('; ')
    if (source === OFFICE)
      t.regex(await firstOf(bench, source, '/events/stream?after=0-0', cookie), /event: rows/)
    const page = await browse(bench, source, '/', { headers: { cookie } })
    t.like(page, { status: 200 })
    const token = typeof page === 'string' ? '' : (/name="csrf" value="([\w-]+)"/.exec(page.body)?.[1] ?? '')
    const form = { csrf: token, kind: 'ban', range: '203.0.113.9', reason: 'x', span: '1h' }
    const foreign = { cookie, origin: `https://${HOST}` }
    t.like(
      await browse(bench, source, '/standing/add', { form, headers: foreign }),
      { status: 403 },
      'another origin',
    )
    t.like(
      await browse(bench, source, '/standing/add', { form: { ...form, csrf: 'x' }, headers: { cookie } }),
      { status: 403 },
    )
  }
  const { value } = await bench.json(['events', '--name', 'dashboard.login'])
  const logins = value as unknown as readonly { readonly fields: { readonly address: string } }[]
  t.deepEqual(logins.map(({ fields }) => fields.address).toSorted(), [BRANCH, OFFICE])
  t.regex((await bench.cli(['status'])).out, /gate-dashboard\/primary/)
})

test('nobody else learns that it is there; bans, countries, rules and names of the RMM hold before it', async t => {
  const bench = await start(t)
  const unknown = await browse(bench, STRANGER, '/login', { serverName: 'nothing.example.test' })
  t.is(await browse(bench, STRANGER, '/login'), unknown, 'the same as a name that is not served')
  t.is(typeof unknown, 'string')
  const { value } = await bench.json(['events', '--name', 'connection.refused'])
  t.regex(JSON.stringify(value), /serves the dashboard to site branch, 8\.8\.4\.0\/28/)

  t.is(typeof (await browse(bench, '5.255.255.5', '/login')), 'string', 'a named source in a closed country')
  t.like(await browse(bench, OFFICE, '/login?x=../../windows/win.ini'), { status: 403 }, 'a rule')
  t.like(await browse(bench, OFFICE, '/login', { serverName: HOST, host: OTHER_HOST }), { status: 421 })
  bench.mergePolicy('classes: { relay: { access: closed } }')
  t.true((await bench.portcullis.reload('command')).ok)
  const own = '/.well-known/portcullis/operator/clients'
  const atRmm = await browse(bench, OFFICE, own, { serverName: HOST, host: HOST })
  t.like(atRmm, { status: 403 })
  t.like(
    await browse(bench, OFFICE, own),
    { status: 403 },
    'paths of connectors are closed at this name, too',
  )
  t.like(await browse(bench, OFFICE, '/login', { host: HOST }), { status: 421 })
  const rmm = await browse(bench, OFFICE, '/login', { serverName: HOST, host: HOST })
  t.true(
    typeof rmm === 'string' || (rmm.status !== 200 && !rmm.body.includes('portcullis')),
    JSON.stringify(rmm),
  )
  t.like(await bench.ask(STRANGER), { status: 200 }, 'agents of everybody go on')

  await bench.cli(['ban', OFFICE, '--reason', 'lost laptop'])
  t.is(typeof (await browse(bench, OFFICE, '/login')), 'string', 'a banned source')
  await bench.cli(['unban', OFFICE])
  for (let guess = 0; guess < 6; guess++)
    await logIn(bench, OFFICE, { form: { name: 'jane', password: `no ${guess}` } })
  t.like(await logIn(bench, OFFICE), { status: 429 }, 'guesses hold up their own address')
  t.like(await logIn(bench, BRANCH), { status: 303 }, 'and no other')

  // Taken back while a browser is there: the next request finds nothing.
  bench.writePolicy(bench.policyText().replace(/\n {2}publish:[^]*?\n(?=\w)/, '\n'))
  t.true((await bench.portcullis.reload('command')).ok)
  t.is(typeof (await browse(bench, OFFICE, '/login')), 'string')
})

test('whoever follows events is sent away once the policy does not let him come any more, and others go on', async t => {
  const bench = await start(t)
  const follow = async (source: string): Promise<IncomingMessage> => {
    const login = await logIn(bench, source)
    const cookies = typeof login === 'string' ? [] : login.cookies
    const cookie = cookies.map(entry => entry.split(';')[0]).join('; ')
    const response = await ask(bench, source, '/events/stream?after=0-0', { headers: { cookie } })
    t.regex(response.headers['content-type'] ?? '', /event-stream/)
    return response.on('error', () => undefined).resume()
  }
  const office = await follow(OFFICE)
  const branch = await follow(BRANCH)
  const gone = once(office, 'close', { signal: AbortSignal.timeout(20_000) })
  const narrower = bench.policyText().replace('8.8.4.0/28', '8.8.4.8/32')
  t.not(narrower, bench.policyText())
  bench.writePolicy(narrower)
  t.true((await bench.portcullis.reload('command')).ok)
  await t.notThrowsAsync(gone)
  t.false(branch.closed)
  branch.destroy()
})

test('it is published to named sources only, under a name of its own', async t => {
  const bench = startBench(t)
  const base = bench.policyText()
  for (const [publish, problem] of [
    [`{ host: ${OTHER_HOST} }`, /names nobody who may see the dashboard/],
    [`{ host: ${OTHER_HOST}, sources: [0.0.0.0/0] }`, /0\.0\.0\.0\/0 is too wide/],
    [`{ host: ${OTHER_HOST}, sources: [10.0.0.0/8] }`, /too wide/],
    [`{ host: ${OTHER_HOST}, sources: ['2001::/16'] }`, /too wide/],
    [`{ host: ${OTHER_HOST}, sites: [provider] }`, /site provider is too wide \(8\.0\.0\.0\/9\)/],
    [`{ host: ${OTHER_HOST}, sites: [nowhere] }`, /there is no site "nowhere"/],
    [`{ host: ${HOST}, sources: [8.8.4.3] }`, /is served for the RMM server/],
    [`{ host: ${OTHER_HOST}, sources: any }`, /is not an address or range/],
  ] as const) {
    bench.writePolicy(base)
    bench.mergePolicy(`
dashboard: { publish: ${publish} }
sites: { provider: { addresses: [8.8.4.0/28, 8.0.0.0/9] } }
`)
    const { code, err, out } = await bench.cli(['check'])
    t.is(code, 1, publish)
    t.regex(err + out, problem)
  }
})

test('no stream whose TLS ends at the gate shares its name: browsers send cookies to every port', async t => {
  const bench = startBench(t)
  const base = bench.policyText()
  for (const [stream, code, says] of [
    [`host: ${OTHER_HOST}`, 1, /old\.example\.test is served by stream relay, too/],
    [
      "host: relay.test, names: ['*.example.test']",
      1,
      /served by stream relay, too \(names: \*\.example\.test\)/,
    ],
    ['host: relay.example.test', 0, /stream relay serves every name/],
    ['host: relay.example.test, names: [relay.example.test]', 0, null],
    ['names: [relay.example.test]', 0, null],
  ] as const) {
    bench.writePolicy(base)
    bench.mergePolicy(`
dashboard: { publish: { host: ${OTHER_HOST}, sources: [8.8.4.3] } }
streams: { relay: { kind: tls, address: '127.0.0.1:0', class: relay, upstream: '10.0.0.5:16888', ${stream} } }
`)
    const result = await bench.cli(['check'])
    const said = result.err + result.out
    t.is(result.code, code, said)
    if (says === null) t.notRegex(said, /stream relay serves|by stream relay/)
    else t.regex(said, says)
  }
})
