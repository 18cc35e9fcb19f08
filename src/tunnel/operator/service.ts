// What operators ask of the gate from other machines: log in, browse the clients of their key, list sessions, and be joined to a service.
import type { Client } from '../../policy/running-state.ts'
import type { Duplex } from 'node:stream'
import { randomUUID } from 'node:crypto'
import type { Access, AccessChange, Operator } from '../../access/access.ts'
import type { ClientFields, Reporter } from '../../journal/events.ts'
import { PortcullisError } from '../../policy/error.ts'
import { TUNNEL_PREFIX, type LiveClient } from '../client.ts'
import type { Registry } from '../registry.ts'
import { joinOperator } from './join-operator.ts'
import { readBearer, readConnect, readLogin, type LoginQuestion } from './read.ts'
import { createSessions, type Sessions } from './sessions.ts'
import { createTokens, type Grant } from './tokens.ts'

/** What the service needs. */
export type OperatorServiceOptions = {
  readonly access: Access
  readonly clients: Pick<Registry, 'list' | 'find' | 'onChange' | 'stream'>
  readonly reporter: Reporter
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly monotonicMs: () => number
  /** Resolves after some milliseconds; tests do not wait. */
  readonly wait: (ms: number) => Promise<void>
}

/** A request, as the edge hands it on. */
export type OperatorRequest = {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly headers: { readonly get: (name: string) => string | undefined }
  readonly client: ClientFields
  readonly body: Buffer
}

/** A small answer. */
export type OperatorReply = {
  readonly status: number
  readonly json: Readonly<Record<string, unknown>>
  readonly retryAfterSeconds?: number
}

/** An upgrade that is accepted. */
export type OperatorSwitch = {
  readonly protocol: string
  readonly headers: readonly string[]
  readonly take: (socket: Duplex, early: Buffer) => { readonly state: string; readonly drain: () => void }
}

/** The service. */
export type OperatorService = {
  readonly request: (request: OperatorRequest) => Promise<OperatorReply>
  readonly upgrade: (request: OperatorRequest, protocol: string) => Promise<OperatorReply | OperatorSwitch>
  readonly sessions: Sessions
  readonly close: () => void
}

/** Paths of the service. */
export const OPERATOR_PREFIX = `${TUNNEL_PREFIX}operator/`
/** What a connection upgrades to: HTTP/2 in which every stream is one CONNECT, as connectors speak it. */
export const OPERATOR_PROTOCOL = 'portcullis-h2'

/**
 * A login that is refused takes at least this long. Passwords and keys that were right before are known without a derivation;
 * the time must not say which of the two was wrong.
 */
const REFUSAL_MS = 250
const MAX_LISTED = 10_000

/** Makes the service. */
export function createOperatorService(options: OperatorServiceOptions): OperatorService {
  const { access, clients, reporter, clock, monotonicMs, wait } = options
  const tokens = createTokens(clock)
  const sessions = createSessions(reporter, clock, randomUUID)

  const login = async (question: LoginQuestion, address: string): Promise<OperatorReply> => {
    // Both are always checked: what the one says must not depend on the other.
    const [person, key] = await Promise.all([
      access.checkOperator(question.operator, question.password, address),
      access.checkKey(question.key, address),
    ])
    if (isBusy(person) || isBusy(key)) return BUSY
    if (!person.ok) {
      const { operator } = question
      reporter.report('operator.login-refused', { operator, address, via: 'gateway', why: person.why })
      return refusedLogin(person.retryAfterMs ?? (key.ok ? null : key.retryAfterMs))
    }
    const { operator } = person
    if (!key.ok || !mayUse(operator, key.key.name)) {
      if (question.client === null) reporter.report('operator.browse-refused', { publicAddress: address })
      else
        reporter.report('operator.key-refused', {
          operator: operator.name,
          client: question.client,
          publicAddress: address,
        })
      return refusedLogin(key.ok ? null : key.retryAfterMs)
    }
    reporter.report('operator.logged-in', { operator: operator.name, address, via: 'gateway' })
    const { token, lifeMs } = tokens.issue({ operator, key: key.key.name, source: address })
    return {
      status: 200,
      json: { token, expiresInSeconds: lifeMs / 1_000, key: key.key.name, role: operator.role },
    }
  }

  const answerLogin = async ({ body, client }: OperatorRequest): Promise<OperatorReply> => {
    const started = monotonicMs()
    const question = readLogin(body)
    if (question === undefined) return BAD_REQUEST
    const reply = await login(question, client.address)
    if (reply.status === 401 || reply.status === 429)
      await wait(Math.max(0, REFUSAL_MS - (monotonicMs() - started)))
    return reply
  }

  const grantOf = ({ headers, client }: OperatorRequest): Grant | undefined => {
    const token = readBearer(headers.get('authorization'))
    return token === undefined ? undefined : tokens.find(token, client.address)
  }

  const list = (grant: Grant): OperatorReply => {
    const own = clients.list().filter(client => isSeenBy(client, grant))
    return {
      status: 200,
      json: {
        clients: own.slice(0, MAX_LISTED).map(shownClient),
        more: Math.max(0, own.length - MAX_LISTED),
      },
    }
  }

  const listSessions = (grant: Grant): OperatorReply => {
    const own = sessions
      .list()
      .filter(session => session.key === grant.key)
      .filter(session => {
        const client = clients.find(session.key, session.client)
        return grant.operator.sites === null || (client !== undefined && isSeenBy(client, grant))
      })
    return { status: 200, json: { sessions: own } }
  }

  const connect = (request: OperatorRequest, grant: Grant): OperatorReply | OperatorSwitch => {
    const question = readConnect(request.query)
    if (question === undefined) return BAD_REQUEST
    const { operator, key } = grant
    if (operator.role === 'viewer') return ROLE_TOO_WEAK
    const { client: name, service } = question
    const client = clients.find(key, name)
    if (client === undefined || !isSeenBy(client, grant)) {
      // The operator is told the same in both cases: whether a name exists under another key is nobody's business (N18).
      if (client === undefined && clients.list().some(other => other.name === name))
        reporter.report('operator.key-mismatch', {
          operator: operator.name,
          client: name,
          publicAddress: request.client.address,
        })
      return noClient(name)
    }
    if (!client.services.some(offered => offered.name === service && offered.kind === 'tcp'))
      return noService(client, service)
    sessions.requireRoom(operator.name)
    const { address } = request.client
    const session = { operator: operator.name, client: client.name, key, service, address }
    return {
      protocol: OPERATOR_PROTOCOL,
      headers: [],
      take: (socket, early) =>
        joinOperator(socket, early, {
          session,
          sessions,
          monotonicMs,
          open: () => clients.stream(key, name, service),
        }),
    }
  }

  const stopListening = [
    access.onChange(change => revoke(change)),
    clients.onChange((client, change) => {
      if (change === 'attached' || clients.find(client.key, client.name) !== undefined) return
      // It may have left for another gate and still carry what runs here (N8); a connection that broke ends its streams itself.
      sessions.finish(
        session => session.key === client.key && session.client === client.name,
        'the client has gone',
      )
    }),
  ]
  const revoke = ({ keysRemoved, operatorsChanged, operatorsRemoved }: AccessChange): void => {
    const changed = [...operatorsChanged, ...operatorsRemoved]
    tokens.revoke(grant => keysRemoved.includes(grant.key) || changed.includes(grant.operator.name))
    sessions.end(({ key }) => keysRemoved.includes(key), 'the gateway key was removed')
    sessions.end(({ operator }) => changed.includes(operator), 'the operator was changed or removed')
  }

  return {
    sessions,
    request: async request => {
      const what = request.path.slice(OPERATOR_PREFIX.length)
      if (what === 'login') return request.method === 'POST' ? answerLogin(request) : BAD_REQUEST
      if (what === 'connect') return UPGRADE_NEEDED
      if (what !== 'clients' && what !== 'sessions') return NOTHING_HERE
      const grant = grantOf(request)
      if (grant === undefined) return LOGIN_NEEDED
      if (request.method !== 'GET' || request.query !== '') return BAD_REQUEST
      return what === 'clients' ? list(grant) : listSessions(grant)
    },
    upgrade: async (request, protocol) => {
      if (request.path !== `${OPERATOR_PREFIX}connect`) return NOTHING_HERE
      if (protocol !== OPERATOR_PROTOCOL) return UPGRADE_NEEDED
      const grant = grantOf(request)
      if (grant === undefined) return LOGIN_NEEDED
      try {
        return connect(request, grant)
      } catch (error) {
        if (!(error instanceof PortcullisError)) throw error
        return refused(error.status ?? 503, error.code, error.message, error.remedy, 5)
      }
    },
    close: () => {
      for (const stop of stopListening) stop()
      sessions.end(() => true, 'the gate shuts down')
    },
  }
}

function isBusy(check: { readonly ok: boolean; readonly why?: string }): boolean {
  return !check.ok && check.why === 'busy'
}

function mayUse(operator: Operator, key: string): boolean {
  return operator.keys === null || operator.keys.includes(key)
}

function isSeenBy(client: Client, { key, operator }: Grant): boolean {
  if (client.key !== key) return false
  return operator.sites === null || (client.site !== null && operator.sites.includes(client.site))
}

/** A client as operators see it: nothing of other keys, nothing that is not theirs to know. */
function shownClient(client: LiveClient): Readonly<Record<string, unknown>> {
  const { name, services, publicAddress, realAddress, site, country, version, identity, sinceMs } = client
  return { name, services, publicAddress, realAddress, site, country, version, identity, sinceMs }
}

function refused(
  status: number,
  code: string,
  message: string,
  remedy: string,
  retryAfterSeconds?: number,
): OperatorReply {
  const json = { status, code, message, remedy }
  return retryAfterSeconds === undefined ? { status, json } : { status, json, retryAfterSeconds }
}

function refusedLogin(retryAfterMs: number | null): OperatorReply {
  if (retryAfterMs !== null)
    return refused(
      429,
      'login-held',
      'Too many wrong logins came from this address.',
      'Wait, and use the right operator name, password and gateway key; others are not held.',
      retryAfterMs / 1_000,
    )
  return refused(
    401,
    'login-refused',
    'Operator name, password and gateway key do not belong together.',
    'The log of the gate says which of them is not right; look the reference up there.',
  )
}

function noClient(name: string): OperatorReply {
  return refused(
    404,
    'client-unknown',
    `No client ${name} is attached with this gateway key.`,
    'See the attached clients with: portcullis clients',
  )
}

function noService(client: LiveClient, service: string): OperatorReply {
  const offered = client.services.filter(entry => entry.kind === 'tcp').map(entry => entry.name)
  return refused(
    404,
    'service-unknown',
    `Client ${client.name} offers no TCP service ${service}.`,
    offered.length === 0
      ? 'It offers none: add it under services in the file of the connector.'
      : `It offers ${offered.join(', ')}.`,
  )
}

const BUSY = refused(
  503,
  'login-busy',
  'Too many logins are being checked.',
  'Try again in a few seconds.',
  2,
)
const BAD_REQUEST = refused(
  400,
  'request-unreadable',
  'The gate cannot read this question.',
  'Command line and gate must be of versions that go together.',
)
const LOGIN_NEEDED = refused(
  401,
  'login-needed',
  'This needs a login that is still valid.',
  'Log in again; the command line does so by itself.',
)
const ROLE_TOO_WEAK = refused(
  403,
  'role-too-weak',
  'A viewer cannot connect to clients.',
  'Ask for the role support: portcullis operators add <name> --role support',
)
const UPGRADE_NEEDED = refused(
  426,
  'upgrade-needed',
  'Operators are joined to clients here with an upgrade.',
  'Use portcullis connect; a proxy in between must let upgrades pass.',
)
const NOTHING_HERE = refused(
  404,
  'path-unknown',
  'The gate has nothing here.',
  'Command line and gate must be of versions that go together.',
)
