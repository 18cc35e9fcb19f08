// What limited operators see of a status and of events, what health says, how filters are read, and that streams end with their session.
import { request } from 'node:https'
import test from 'ava'
import * as fc from 'fast-check'
import { findingsOf, type GateFacts } from '../../../src/admin/health.ts'
import { html } from '../../../src/admin/dashboard/html.ts'
import { link, type PageRoute } from '../../../src/admin/dashboard/page.ts'
import { auditRoute } from '../../../src/admin/dashboard/pages/audit.ts'
import { certificateRoute } from '../../../src/admin/dashboard/pages/certificates.ts'
import { clientRoutes } from '../../../src/admin/dashboard/pages/clients.ts'
import { connectionRoute } from '../../../src/admin/dashboard/pages/connections.ts'
import { eventRoutes } from '../../../src/admin/dashboard/pages/events.ts'
import { overviewRoute } from '../../../src/admin/dashboard/pages/overview.ts'
import { standingRoutes } from '../../../src/admin/dashboard/pages/standing.ts'
import { upstreamRoute } from '../../../src/admin/dashboard/pages/upstreams.ts'
import { readFilter } from '../../../src/admin/dashboard/pages/event-filter.ts'
import { ownPath } from '../../../src/admin/dashboard/reply.ts'
import { createRouter } from '../../../src/admin/dashboard/router.ts'
import { viewOf } from '../../../src/admin/dashboard/view.ts'
import type { ConnectionState } from '../../../src/admin/status.ts'
import type { EventQuery } from '../../../src/journal/store-events.ts'
import { testAuthority } from '../../support/certificates.ts'
import { HOME, NO_SOURCES, operator, startDashboard, testStatus } from './support.ts'

const NOW = Date.UTC(2026, 10, 21, 12)
const DAY_MS = 86_400_000

const connection = (id: string, site: string | null): ConnectionState => ({
  id,
  address: '203.0.113.7',
  port: 1,
  listener: 'https',
  site,
  country: 'US',
  name: null,
  tls: null,
  openedMs: NOW,
  requests: 1,
  bytesIn: 1,
  bytesOut: 1,
  state: 'idle',
})

const client = (name: string, key: string, site: string | null) => ({
  id: name,
  name,
  key,
  publicAddress: '203.0.113.7',
  realAddress: '10.0.0.1',
  site,
  country: 'US',
  version: '1',
  identity: null,
  sinceMs: NOW,
  services: [],
})

const session = (name: string, key: string) => ({
  id: name,
  operator: 'jane',
  client: name,
  key,
  service: 'ssh',
  address: '203.0.113.7',
  startedMs: NOW,
  bytesIn: 0,
  bytesOut: 0,
})

const invitation = (owner: string) => ({
  port: 51_000,
  target: { host: '10.0.0.5', port: 3_389 },
  from: { sites: [owner], ranges: [] },
  owner,
  openedMs: NOW,
  expiresMs: NOW + 3_600_000,
  tcp: true,
  udp: false,
  connections: 1,
  flows: 0,
  bytesIn: 0,
  bytesOut: 0,
})

const status = testStatus(NOW, {
  invitations: [invitation('jo')],
  connections: [connection('a', 'acme'), connection('b', 'other'), connection('c', null)],
  open: { connections: 3, webSockets: 0, max: 20_000 },
  clients: [client('pc', 'k1', 'acme'), client('pc', 'k2', 'other'), client('stray', 'k1', null)],
  sessions: [session('pc', 'k1'), session('pc', 'k2'), session('stray', 'k1')],
  openings: [
    { range: 'site:acme', classes: ['enroll'], reason: 'r', owner: 'o', expiresMs: NOW },
    { range: '203.0.113.0/24', classes: ['enroll'], reason: 'r', owner: 'o', expiresMs: NOW },
  ],
})

test('an operator of a site sees its connections, clients and sessions, and neither files nor addresses of the gate', t => {
  const sources = { ...NO_SOURCES, status: () => status }
  const own = viewOf(operator('o', { sites: ['acme'] }), sources).status()
  t.deepEqual(
    own.connections.map(({ id }) => id),
    ['a'],
  )
  t.is(own.open.connections, 1)
  t.deepEqual(own.invitations, [], 'whose PC is helped is not for an operator of a site')
  t.deepEqual(
    own.clients.map(({ key }) => key),
    ['k1'],
  )
  t.deepEqual(
    own.sessions.map(({ key, client: name }) => `${key} ${name}`),
    ['k1 pc'],
  )
  t.deepEqual(
    own.openings.map(({ range }) => range),
    ['site:acme'],
  )
  t.deepEqual([own.policy.directory, own.policy.id, own.listeners, own.certificates], ['', '', [], []])
  const byKey = viewOf(operator('o', { keys: ['k2'] }), sources).status()
  t.deepEqual(
    byKey.clients.map(({ key }) => key),
    ['k2'],
  )
  t.deepEqual(
    byKey.sessions.map(({ key }) => key),
    ['k2'],
  )
  const both = viewOf(operator('o', { keys: ['k2'], sites: ['acme'] }), sources).status()
  t.deepEqual(both.clients, [])
  t.deepEqual(both.sessions, [])
  t.is(viewOf(operator('o'), sources).status(), status)
})

test('questions for events carry the sites of whoever asks, whatever was asked', async t => {
  const asked: EventQuery[] = []
  const found = [null, 'acme', 'other'].map((site, id) => ({ id, site }) as never)
  const view = viewOf(operator('o', { sites: ['acme'] }), {
    ...NO_SOURCES,
    findEvents: query => {
      asked.push(query)
      return Promise.resolve([])
    },
    searchEvents: query => {
      asked.push(query)
      return Promise.resolve({ events: [], olderMs: null })
    },
    eventsByReference: () => Promise.resolve(found),
  })
  await view.findEvents({ site: 'other', sites: null, limit: 10 })
  await view.searchEvents({ site: 'other', sites: ['other'], limit: 10 })
  t.deepEqual(
    asked.map(({ sites }) => sites),
    [['acme'], ['acme']],
  )
  t.deepEqual(
    (await view.eventsByReference('X')).map(({ site }) => site),
    ['acme'],
  )
})

const healthy: GateFacts = {
  status: testStatus(NOW, {
    upstreams: [
      {
        group: 'rmm',
        member: 'rmm/primary',
        origin: 'https://a',
        state: 'up',
        sinceMs: NOW,
        lastProblem: null,
        serving: true,
        openRequests: 0,
      },
      {
        group: 'rmm',
        member: 'rmm/secondary',
        origin: 'https://b',
        state: 'up',
        sinceMs: NOW,
        lastProblem: null,
        serving: false,
        openRequests: 0,
      },
    ],
    certificates: [
      {
        name: 'rmm.example.test',
        subject: '',
        keyType: 'ec',
        validToMs: NOW + 60 * DAY_MS,
        sha256: '',
        file: '',
        development: false,
      },
    ],
    databases: [{ role: 'first', file: 'x.mmdb', type: 'x', builtMs: NOW - DAY_MS }],
  }),
  listeners: [{ listener: 'https', host: '0.0.0.0', port: 8443 }],
  names: ['rmm.example.test'],
  journal: { usable: true, droppedRows: 0, usedBytes: 0 },
  guard: null,
}

test('a healthy gate has nothing to say; each fault is said, worst first', t => {
  t.deepEqual(findingsOf(healthy), [])
  const { status: good } = healthy
  const [primary, secondary] = good.upstreams
  const [certificate] = good.certificates
  if (primary === undefined || secondary === undefined || certificate === undefined) return t.fail()
  const down = {
    ...primary,
    state: 'down',
    sinceMs: NOW - 120_000,
    lastProblem: 'connection refused',
    serving: false,
  } as const
  const say = (more: Partial<GateFacts>, of: Partial<GateFacts['status']> = {}): readonly string[] =>
    findingsOf({ ...healthy, ...more, status: { ...good, ...of } }).map(
      ({ tone, sentence }) => `${tone}: ${sentence}`,
    )
  t.deepEqual(say({}, { upstreams: [down, { ...secondary, serving: true }] }), [
    'warn: rmm/primary is down for 2 min (connection refused); rmm/secondary serves in its place.',
  ])
  t.regex(
    say({}, { upstreams: [down, { ...down, member: 'rmm/secondary' }] })[0] ?? '',
    /^bad: No server of upstream rmm is alive/,
  )
  t.regex(say({}, { listeners: [] })[0] ?? '', /^bad: Listener https is not open on 0\.0\.0\.0:8443/)
  t.regex(
    say({}, { certificates: [] })[0] ?? '',
    /^bad: There is no usable certificate for rmm\.example\.test/,
  )
  t.regex(
    say({}, { certificates: [{ ...certificate, validToMs: NOW - DAY_MS }] })[0] ?? '',
    /^bad: .* ended 24 h ago/,
  )
  t.regex(
    say({}, { certificates: [{ ...certificate, validToMs: NOW + 5 * DAY_MS }] })[0] ?? '',
    /^warn: .* ends in 5 d/,
  )
  t.regex(
    say({}, { certificates: [{ ...certificate, development: true }] })[0] ?? '',
    /^warn: .*development authority/,
  )
  const heartbeat = {
    listener: 'automate',
    upstream: 'connector://rmm/heartbeats',
    flows: 0,
    sources: 0,
    heartbeats: 0,
    replies: 0,
    lastHeartbeatMs: null,
    lastReplyMs: null,
    allGone: false,
    silent: false,
    sites: [],
    connector: {
      trouble: 'away',
      isOffered: null,
      portClosed: true,
      connections: 0,
      sinceMs: NOW,
      contexts: 0,
      queuedBytes: 0,
      roundTripMs: null,
      dropped: { aged: 0, overflow: 0, away: 0 },
      forged: 0,
    },
  } as const
  t.regex(
    say({}, { heartbeats: [heartbeat] })[0] ?? '',
    /^bad: Heartbeats of listener automate reach no server: its connector is not attached/,
  )
  t.regex(say({}, { databases: [] })[0] ?? '', /^bad: No country database/)
  t.regex(
    say({ journal: { usable: false, droppedRows: 0, usedBytes: 0 } })[0] ?? '',
    /^warn: Events cannot be stored/,
  )
  t.regex(
    say({ journal: { usable: true, droppedRows: 3, usedBytes: 0 } })[0] ?? '',
    /^warn: 3 events could not be stored/,
  )
  t.regex(
    say({ guard: { version: 4, previous: 3, untilMs: NOW + 600_000 } })[0] ?? '',
    /^warn: The guard watches version 4 for another 10 min/,
  )
  const policy = { ...good.policy, rejected: { atMs: NOW, problems: ['x.yaml:1:1: wrong\nmore'] } }
  t.regex(
    say({}, { policy })[0] ?? '',
    /^warn: A newer policy is not valid and was not taken: x\.yaml:1:1: wrong\./,
  )
  t.regex(
    say({}, { open: { connections: 19_000, webSockets: 0, max: 20_000 } })[0] ?? '',
    /^warn: 19,000 connections/,
  )
  const tones = say(
    {
      guard: { version: 4, previous: 3, untilMs: NOW },
      journal: { usable: false, droppedRows: 0, usedBytes: 0 },
    },
    { databases: [], policy },
  )
  t.deepEqual(
    tones.map(text => text.slice(0, 3)),
    ['bad', 'war', 'war', 'war'],
  )
})

test('filters are read, and what is wrong with them is said', t => {
  const read = (search: string) => readFilter(new URLSearchParams(search), NOW)
  t.is(read('').problem, null)
  t.false(read('').isNarrow)
  t.like(read('address=203.0.113.0/24&severity=warning&since=24h&site=acme').query, {
    sinceMs: NOW - DAY_MS,
    minimumSeverity: 'warning',
    site: 'acme',
  })
  for (const [search, problem] of [
    ['address=x', /x is not an address or range/],
    ['address=203.0.113.7/24', /first address of the range/],
    ['severity=loud', /no level loud/],
    ['name=x', /no event x/],
    ['reason=x', /no reason x/],
    ['class=x', /no class x/],
    ['since=9y', /no span 9y/],
  ] as const)
    t.regex(read(search).problem ?? '', problem, search)
})

test('property: a path that leaves the dashboard is never given out; encoded values come back as they were', t => {
  const base = 'https://gate.example.test:9443/page'
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        fc.string().map(text => `/${text}`),
        fc.constantFrom('//', '/\\', '/%5c', '/.//x', '/..//x'),
      ),
      to => {
        const path = ownPath(to)
        const url = new URL(path, base)
        t.is(url.origin, 'https://gate.example.test:9443', to)
        t.regex(path, /^\/[\x21-\x7e]*$/)
      },
    ),
    { numRuns: 500 },
  )
  const route: PageRoute = { ...HOME, path: '/x/:a/:b' }
  const router = createRouter([route])
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (a, b) => {
      const clean = [a, b].map(text => text.toWellFormed().replaceAll(/[/\p{Cc}]/gu, '_'))
      const found = router.find('GET', link`/x/${clean[0] ?? ''}/${clean[1] ?? ''}`)
      t.deepEqual(found?.params, { a: clean[0], b: clean[1] })
    }),
    { numRuns: 200 },
  )
})

test('two routes of one path are a mistake, and a literal part is preferred to a named one', t => {
  t.throws(() => createRouter([HOME, HOME]), { message: /two routes/ })
  t.throws(
    () =>
      createRouter([
        { ...HOME, path: '/x/:a' },
        { ...HOME, path: '/x/:b' },
      ]),
    { message: /two routes/ },
  )
  const router = createRouter([
    { ...HOME, path: '/x/:a' },
    { ...HOME, path: '/x/new' },
  ])
  t.is(router.find('GET', '/x/new')?.route.path, '/x/new')
  t.is(router.find('POST', '/x/new'), undefined)
})

test('what follows events ends with its session, with its rights, and is bounded', async t => {
  const sends: ((event: string, data: string) => void)[] = []
  const stream: PageRoute = {
    method: 'GET',
    path: '/stream',
    role: 'viewer',
    reach: 'gate',
    run: () => ({ kind: 'stream', follow: send => void sends.push(send) }),
  }
  const dashboard = await startDashboard(t, {
    routes: [HOME, stream],
    operators: [operator('jane'), operator('joe')],
  })
  const ca = await testAuthority()
  const follow = async (
    cookie: string,
  ): Promise<{ readonly status: number; readonly ended: Promise<string> }> =>
    new Promise((resolve, reject) => {
      request(
        {
          host: '127.0.0.1',
          port: dashboard.port,
          ca,
          servername: '',
          agent: false,
          path: '/stream',
          headers: { cookie: `__Host-portcullis=${cookie}` },
        },
        response => {
          let text = ''
          response.on('data', part => (text += String(part)))
          const ended = new Promise<string>(done => response.once('close', () => done(text)))
          resolve({ status: response.statusCode ?? 0, ended })
        },
      )
        .on('error', reject)
        .end()
    })
  const jane = (await dashboard.loggedIn('jane')).cookies.get('__Host-portcullis') ?? ''
  const open = [await follow(jane), await follow(jane), await follow(jane), await follow(jane)]
  t.deepEqual(
    open.map(({ status: code }) => code),
    [200, 200, 200, 200],
  )
  t.is((await follow(jane)).status, 503)
  sends[0]?.('rows', 'one\ntwo\rthree\r\n\r\nevent: forged')
  dashboard.access.change({ operatorsChanged: ['jane'] })
  const [first = ''] = await Promise.all(open.map(({ ended }) => ended))
  t.is(
    first,
    'retry: 5000\n\nevent: rows\ndata: one\ndata: two\ndata: three\ndata: \ndata: event: forged\n\n',
  )

  const joe = (await dashboard.loggedIn('joe')).cookies.get('__Host-portcullis') ?? ''
  const limited = await follow(joe)
  dashboard.access.set(operator('jane'), operator('joe', { sites: ['acme'] }))
  sends.at(-1)?.('rows', 'not for joe any more')
  t.notRegex(await limited.ended, /not for joe/)
})

test('text is escaped in templates, wherever it stands', t => {
  const evil = `<script>"'&`
  t.is(
    html`<p title="${evil}">${[evil, null, false, 0, html`<b>${evil}</b>`]}</p>`.toString(),
    '<p title="&lt;script&gt;&quot;&#39;&amp;">&lt;script&gt;&quot;&#39;&amp;0<b>&lt;script&gt;&quot;&#39;&amp;</b></p>',
  )
})

test('texts of clients, servers and files stay text on every page that shows a status', async t => {
  const evil = `<img src=x onerror=alert(1)>"'`
  const trial = { stages: ['country', evil], sites: [evil], listeners: [evil], line: evil }
  const hostile = testStatus(NOW, {
    invitations: [invitation(evil)],
    connections: [{ ...connection(evil, evil), address: evil, name: evil, country: evil, state: evil }],
    clients: [
      {
        ...client(evil, evil, evil),
        publicAddress: evil,
        realAddress: evil,
        version: evil,
        services: [{ name: evil, kind: 'tcp' }],
      },
    ],
    sessions: [{ ...session(evil, evil), operator: evil, service: evil, address: evil }],
    upstreams: [
      {
        group: evil,
        member: evil,
        origin: evil,
        state: 'down',
        sinceMs: NOW,
        lastProblem: evil,
        serving: false,
        openRequests: 0,
      },
    ],
    certificates: [
      {
        name: evil,
        subject: evil,
        keyType: evil,
        validToMs: NOW,
        sha256: evil,
        file: evil,
        development: false,
      },
    ],
    heartbeats: [
      {
        listener: evil,
        upstream: evil,
        flows: 1,
        sources: 1,
        heartbeats: 1,
        replies: 0,
        lastHeartbeatMs: NOW,
        lastReplyMs: null,
        silent: true,
        connector: null,
        sites: [
          {
            site: evil,
            heartbeats: 1,
            replies: 0,
            lastHeartbeatMs: NOW,
            lastReplyMs: null,
            lossPercent: 100,
            senders: { present: 0, late: 1, gone: 1 },
          },
        ],
        allGone: false,
      },
    ],
    policy: {
      trials: [{ ...trial, expiresMs: Date.UTC(2026, 11, 12) }],
      ...status.policy,
      warnings: [evil],
      rejected: { atMs: NOW, problems: [evil] },
    },
  })
  const event = {
    id: 1,
    timeMs: NOW,
    name: evil,
    severity: 'info',
    address: evil,
    site: evil,
    class: evil,
    reason: evil,
    reference: evil,
    fields: { [evil]: evil, operator: evil, list: [evil], deep: { [evil]: evil } },
  } as const
  const entry = {
    id: 1,
    kind: 'ban',
    range: evil,
    classes: null,
    reason: evil,
    owner: evil,
    createdMs: NOW,
    expiresMs: null,
  } as const
  const flush = (): Promise<void> => Promise.resolve()
  const facts: GateFacts = {
    ...healthy,
    status: hostile,
    names: [evil],
    listeners: [{ listener: evil, host: evil, port: 1 }],
  }
  const routes = [
    overviewRoute({
      facts: () => facts,
      countsByReason: () => Promise.resolve([]),
      tried: () => Promise.resolve({ addresses: 7, agents: 3, sites: 2 }),
    }),
    ...eventRoutes({ sites: () => [{ id: evil, name: evil }], flush, clock: () => NOW }),
    connectionRoute(),
    ...clientRoutes({ keys: () => [{ name: evil, maxClients: 1, createdMs: NOW }] }),
    upstreamRoute(),
    certificateRoute({ names: () => [evil, 'other'] }),
    ...standingRoutes({
      entries: () => Promise.resolve([entry]),
      addEntry: () => Promise.resolve(entry),
      removeEntries: () => Promise.resolve([entry]),
      policyEntries: () => [{ ...entry, line: evil }],
      sitesWithin: () => [evil],
    }),
    auditRoute(flush),
  ]
  const sources = {
    status: () => hostile,
    findEvents: () => Promise.resolve([event]),
    searchEvents: () => Promise.resolve({ events: [event], olderMs: NOW - DAY_MS }),
    eventsByReference: () => Promise.resolve([event]),
  }
  const dashboard = await startDashboard(t, { routes, sources })
  const jane = await dashboard.loggedIn('jane')
  const front = (await jane.get('/')).body
  t.regex(front, /3 addresses with agents at\s+2 recorded sites would be refused, of\s+7 addresses/)
  t.regex(front, /until\s+<time datetime="2026-12-12T00:00:00/)
  const paths = [
    '/',
    '/events',
    link`/events?address=${evil}`,
    '/references/X',
    '/connections',
    '/clients',
    link`/clients?q=${evil}`,
    '/connectors',
    '/upstreams',
    '/certificates',
    '/standing',
    link`/standing?range=${evil}`,
    '/audit',
    link`/audit?who=${evil}`,
  ]
  for (const path of paths) {
    const { body } = await jane.get(path)
    t.true(body.includes('&lt;img src=x onerror=alert(1)&gt;'), path)
    t.false(body.includes('<img src=x'), path)
    t.false(body.includes(`alert(1)>`), path)
  }
  t.deepEqual(dashboard.problems, [])
})
