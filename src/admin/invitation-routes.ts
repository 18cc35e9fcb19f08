// Routes of the admin API about forwards for invitations: validation of what comes in, and the calls behind it.
import { parseCidr } from '../net/cidr.ts'
import type { ForwardSources } from '../policy/invitations.ts'
import { isEntryText } from './routes.ts'
import type { AdminAnswer, AdminRoute } from './server.ts'
import type { InvitationStatus } from '../policy/running-state.ts'

/** A forward that somebody wants. */
export type InvitationRequest = {
  readonly target: { readonly host: string; readonly port: number }
  /** Public port; null: the gate chooses. */
  readonly port: number | null
  readonly forMs: number
  /** Null: everybody whom the policy lets in. */
  readonly from: ForwardSources | null
  readonly owner: string
}

/** What became of it. */
export type InvitationAnswer =
  | { readonly ok: true; readonly forward: InvitationStatus; readonly publicHost: string | null }
  | { readonly ok: false; readonly code: string; readonly problem: string; readonly remedy: string }

/** What the routes do, given by the composition root. */
export type InvitationActions = {
  readonly listNow: () => Promise<readonly InvitationStatus[]>
  readonly open: (request: InvitationRequest) => Promise<InvitationAnswer>
  readonly end: (port: number, who: string) => Promise<InvitationStatus | null>
}

/** Most sites and addresses that one forward may be for. */
const MAX_FORWARD_SOURCES = 50

const SITE_ID = /^[a-z0-9][a-z0-9-]{0,62}$/

/** Routes by `METHOD /path`. */
export function invitationRoutes(actions: InvitationActions): Readonly<Record<string, AdminRoute>> {
  return {
    'GET /v1/invitations': async () => ok({ invitations: await actions.listNow() }),
    'POST /v1/invitations': async ({ body }) => {
      const request = readRequest(body)
      return typeof request === 'string' ? bad(request) : ok(await actions.open(request))
    },
    'DELETE /v1/invitations': async ({ body }) => {
      const port = portOf(field(body, 'port'))
      const owner = field(body, 'owner')
      if (port === undefined || typeof owner !== 'string' || !isEntryText(owner))
        return bad('port and owner are needed')
      return ok({ ended: await actions.end(port, owner) })
    },
  }
}

function readRequest(body: unknown): InvitationRequest | string {
  const target = field(body, 'target')
  const host = field(target, 'host')
  const targetPort = portOf(field(target, 'port'))
  if (typeof host !== 'string' || host.length > 64 || targetPort === undefined)
    return 'target is an address (host) and a port'
  const wanted = field(body, 'port')
  const port = wanted === null || wanted === undefined ? null : portOf(wanted)
  if (port === undefined) return 'port is null or a port'
  const forMs = field(body, 'forMs')
  if (!Number.isInteger(forMs)) return 'forMs is a number of milliseconds'
  const from = sourcesOf(field(body, 'from'))
  if (from === undefined)
    return `from is null, or sites and ranges, 1 to ${MAX_FORWARD_SOURCES} of them together`
  const owner = field(body, 'owner')
  if (typeof owner !== 'string' || !isEntryText(owner)) return 'owner is a text of 1 to 300 characters'
  return { target: { host, port: targetPort }, port, forMs: Number(forMs), from, owner }
}

function sourcesOf(value: unknown): ForwardSources | null | undefined {
  if (value === null || value === undefined) return null
  const sites = field(value, 'sites')
  const ranges = field(value, 'ranges')
  if (!Array.isArray(sites) || !Array.isArray(ranges)) return undefined
  const count = sites.length + ranges.length
  if (count === 0 || count > MAX_FORWARD_SOURCES) return undefined
  const known = sites.filter((id): id is string => typeof id === 'string' && SITE_ID.test(id))
  const read = ranges.flatMap(text => {
    const range = typeof text === 'string' ? parseCidr(text) : 'not-an-address'
    return typeof range === 'string' ? [] : [range.text]
  })
  return known.length + read.length === count ? { sites: known, ranges: read } : undefined
}

function portOf(value: unknown): number | undefined {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535 ? Number(value) : undefined
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined
}

function ok(body: unknown): AdminAnswer {
  return { status: 200, body }
}

function bad(error: string): AdminAnswer {
  return { status: 400, body: { error } }
}
