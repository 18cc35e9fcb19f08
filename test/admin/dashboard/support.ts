// A dashboard on a free port with accounts of its own and data that a test gives, and a client that speaks to it like a browser.
import { request as httpsRequest } from 'node:https'
import type { IncomingHttpHeaders } from 'node:http'
import type { ExecutionContext } from 'ava'
import type { Access, AccessChange, Operator, OperatorCheck } from '../../../src/access/access.ts'
import { loadAssets } from '../../../src/admin/dashboard/assets.ts'
import { createDashboardHandler } from '../../../src/admin/dashboard/handler.ts'
import { html } from '../../../src/admin/dashboard/html.ts'
import type { PageRoute } from '../../../src/admin/dashboard/page.ts'
import { openDashboardServer } from '../../../src/admin/dashboard/server.ts'
import type { SessionLimits } from '../../../src/admin/dashboard/sessions.ts'
import type { ViewSources } from '../../../src/admin/dashboard/view.ts'
import type { GateStatus } from '../../../src/admin/status.ts'
import type { EventFields, EventName } from '../../../src/journal/events.ts'
import { testAuthority, testCertificate } from '../../support/certificates.ts'

/** Every operator's password in these tests. */
export const PASSWORD = 'correct horse battery'

/** An operator with all rights unless told. */
export function operator(name: string, more: Partial<Operator> = {}): Operator {
  return { name, role: 'admin', sites: null, keys: null, createdMs: 1, ...more }
}

/** Accounts in memory. */
export type TestAccess = Access & {
  readonly set: (...operators: readonly Operator[]) => void
  readonly change: (change: Partial<AccessChange>) => void
  /** What the next check of an operator answers. */
  readonly answerNext: (answer: OperatorCheck) => void
}

/** Makes accounts. The password of all of them is PASSWORD. */
export function testAccess(...first: readonly Operator[]): TestAccess {
  let operators = first
  let next: OperatorCheck | undefined
  const listeners = new Set<(change: AccessChange) => void>()
  const none: AccessChange = { keysAdded: [], keysRemoved: [], operatorsChanged: [], operatorsRemoved: [] }
  return {
    keys: () => [],
    operators: () => operators,
    operator: name => operators.find(entry => entry.name === name),
    checkKey: () => Promise.resolve({ ok: false, why: 'no-keys', retryAfterMs: null }),
    checkOperator: (name, password) => {
      const answer = next
      next = undefined
      const found = operators.find(entry => entry.name === name)
      return Promise.resolve(
        answer ??
          (found !== undefined && password === PASSWORD
            ? { ok: true, operator: found }
            : { ok: false, why: 'unknown', retryAfterMs: null }),
      )
    },
    reload: () => Promise.resolve(none),
    onChange: listener => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    set: (...now) => {
      operators = now
    },
    change: change => {
      for (const listener of listeners) listener({ ...none, ...change })
    },
    answerNext: answer => {
      next = answer
    },
  }
}

/** A reported event. */
export type Reported = { readonly name: EventName; readonly fields: EventFields[EventName] }

/** Everything of one test. */
export type TestDashboard = {
  readonly port: number
  readonly origin: string
  readonly access: TestAccess
  readonly reported: readonly Reported[]
  readonly problems: readonly unknown[]
  readonly advance: (ms: number) => void
  readonly client: () => TestClient
  /** A client that is logged in. */
  readonly loggedIn: (name: string) => Promise<TestClient>
}

/** An answer. */
export type Got = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string }

/** What a request may carry beside the usual. `null` leaves a header out. */
export type Extra = {
  readonly headers?: Readonly<Record<string, string | null>>
  readonly form?: Readonly<Record<string, string>>
  readonly body?: string
  readonly method?: string
  /** False: the token of the session is not added. */
  readonly csrf?: boolean
}

/** A browser in a few lines: it keeps cookies, sends Origin with forms and the token of the last page. */
export type TestClient = {
  readonly get: (path: string, extra?: Extra) => Promise<Got>
  readonly post: (path: string, extra?: Extra) => Promise<Got>
  readonly logIn: (name: string, password?: string) => Promise<Got>
  readonly cookies: Map<string, string>
}

/** Answers of a gate about which nothing is known. */
export const NO_SOURCES: ViewSources = {
  status: () => {
    throw new Error('this test has no status')
  },
  findEvents: () => Promise.resolve([]),
  searchEvents: () => Promise.resolve({ events: [], olderMs: null }),
  eventsByReference: () => Promise.resolve([]),
}

/** A first page for tests that only need one. */
export const HOME: PageRoute = {
  method: 'GET',
  path: '/',
  role: 'viewer',
  reach: 'sites',
  navigation: { group: 'Now', label: 'Home' },
  run: ({ csrf }) => ({
    kind: 'page',
    title: 'Home',
    body: html`<form method="post" action="/nothing">${csrf}</form>`,
  }),
}

/** Starts a dashboard; it is gone after the test. */
export async function startDashboard(
  t: ExecutionContext,
  options: {
    readonly routes?: readonly PageRoute[]
    readonly operators?: readonly Operator[]
    readonly sources?: ViewSources
    readonly names?: readonly string[]
    readonly sessionLimits?: SessionLimits
  } = {},
): Promise<TestDashboard> {
  const access = testAccess(...(options.operators ?? [operator('jane')]))
  const reported: Reported[] = []
  const problems: unknown[] = []
  let offsetMs = 0
  const handler = createDashboardHandler({
    access,
    sources: options.sources ?? NO_SOURCES,
    routes: options.routes ?? [HOME],
    reporter: { report: (name, fields) => void reported.push({ name, fields }) },
    clock: () => Date.now() + offsetMs,
    version: 'test',
    assets: loadAssets(),
    names: () => new Set(options.names ?? ['gate.example.test']),
    onInternalError: (_where, cause) => void problems.push(cause),
    ...(options.sessionLimits === undefined ? {} : { sessionLimits: options.sessionLimits }),
  })
  const certificate = await testCertificate(['localhost', '127.0.0.1', 'gate.example.test'])
  const server = await openDashboardServer(
    { host: '127.0.0.1', port: 0 },
    {
      handler,
      certificate: () => Promise.resolve(certificate),
      onInternalError: (_where, cause) => void problems.push(cause),
    },
  )
  t.teardown(async () => {
    handler.close()
    await server.close()
  })
  const authority = await testAuthority()
  const { port } = server.endpoint
  const origin = `https://127.0.0.1:${port}`
  const client = (): TestClient => testClient(port, authority)
  return {
    port,
    origin,
    access,
    reported,
    problems,
    advance: ms => {
      offsetMs += ms
    },
    client,
    loggedIn: async name => {
      const made = client()
      const { status } = await made.logIn(name)
      if (status !== 303) throw new Error(`login of ${name}: ${status}`)
      return made
    },
  }
}

/** A client for a dashboard on this port, whose certificate this authority signed. */
export function testClient(port: number, ca: string): TestClient {
  const cookies = new Map<string, string>()
  let token = ''
  const send = async (method: string, path: string, extra: Extra): Promise<Got> => {
    const host = `127.0.0.1:${port}`
    const form = new URLSearchParams({ ...(extra.csrf === false ? {} : { csrf: token }), ...extra.form })
    const body = extra.body ?? (method === 'POST' ? form.toString() : undefined)
    const headers: Record<string, string | null> = {
      host,
      ...(cookies.size === 0 ? {} : { cookie: [...cookies].map(pair => pair.join('=')).join('; ') }),
      ...(body === undefined
        ? {}
        : {
            origin: `https://${host}`,
            'content-type': 'application/x-www-form-urlencoded',
            'content-length': String(Buffer.byteLength(body)),
          }),
      ...extra.headers,
    }
    const sent = Object.fromEntries(
      Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== null),
    )
    const got = await new Promise<Got>((resolve, reject) => {
      const outgoing = httpsRequest(
        {
          host: '127.0.0.1',
          port,
          // A dashboard of a real gate makes its certificate itself: an empty authority trusts it.
          ...(ca === '' ? { rejectUnauthorized: false } : { ca }),
          servername: '',
          agent: false,
          method: extra.method ?? method,
          path,
          headers: sent,
        },
        response => {
          const parts: Buffer[] = []
          response.on('data', (part: Buffer) => parts.push(part))
          response.on('error', reject)
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(parts).toString('utf8'),
            }),
          )
        },
      )
      outgoing.on('error', reject)
      outgoing.end(body)
    })
    for (const cookie of got.headers['set-cookie'] ?? []) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      if (value === '') cookies.delete(name)
      else cookies.set(name, value)
    }
    token = /name="csrf" value="([\w-]+)"/.exec(got.body)?.[1] ?? token
    return got
  }
  const client: TestClient = {
    cookies,
    get: (path, extra = {}) => send('GET', path, extra),
    post: (path, extra = {}) => send('POST', path, extra),
    logIn: async (name, password = PASSWORD) => {
      const got = await client.post('/login', { form: { name, password }, csrf: false })
      if (got.status === 303) await client.get('/')
      return got
    },
  }
  return client
}

/** A status of a healthy gate; parts are replaced. */
export function testStatus(nowMs: number, more: Partial<GateStatus> = {}): GateStatus {
  return {
    version: 'test',
    pid: 1,
    startedMs: nowMs - 3_600_000,
    nowMs,
    policy: {
      id: 'p',
      directory: '/policies',
      loadedMs: nowMs - 60_000,
      model: 'all-traffic',
      home: ['US'],
      rules: 1,
      sites: 2,
      warnings: [],
      rejected: null,
    },
    listeners: [{ listener: 'https', host: '0.0.0.0', port: 8443 }],
    open: { connections: 0, webSockets: 0, max: 20_000 },
    connections: [],
    upstreams: [],
    streams: [],
    invitations: [],
    clients: [],
    sessions: [],
    heartbeats: [],
    certificates: [],
    openings: [],
    databases: [],
    memory: { rssBytes: 1, heapBytes: 1 },
    ...more,
  }
}
