// How a connector attaches: its request is read, limited and authenticated, then the socket becomes one of its connections.
import type { Duplex } from 'node:stream'
import type { Access } from '../access/access.ts'
import type { ClientFields, Reporter } from '../journal/events.ts'
import { openGateSession } from './h2/gate-session.ts'
import type { AdmitRequest, Admitted } from './admit-identity.ts'
import { IDENTITY_HEADER, readClaim, type KeyingMaterial } from './client-identity.ts'
import { createConduct, type Conduct } from './conduct.ts'
import { claimedAddress, claimedName, readIdentity, readKey } from './identity.ts'
import type { Place, Registry } from './registry.ts'
import type { AttachUdp } from './udp-attach.ts'

/** Protocols that a connector upgrades to. */
export const H2_PROTOCOL = 'portcullis-h2'
const UDP_PROTOCOL = 'connect-udp'

/** Bounds of attaching. */
export type AttachLimits = {
  /** Connections of all clients, and of one address. */
  readonly connections: number
  readonly connectionsPerSource: number
}

/** What attaching needs. */
export type AttachOptions = {
  readonly access: Pick<Access, 'checkKey'>
  readonly registry: Registry
  readonly reporter: Reporter
  readonly limits: () => AttachLimits
  /** Takes UDP connections over; null: this gate carries none. */
  readonly udp: AttachUdp | null
  /**
   * Name under which the policy knows a client of a key; null: it does not. Only such a client may carry UDP: whoever
   * holds any other key could otherwise take the heartbeats of a server over.
   */
  readonly connectorName: (client: string, key: string) => string | null
  /** Whether the identity of a client lets it have its name. */
  readonly admit: (request: AdmitRequest) => Admitted
  /** Monotonic milliseconds. */
  readonly monotonicMs: () => number
}

/** The request of a connector, as the edge hands it on. */
export type AttachRequest = {
  readonly headers: { readonly get: (name: string) => string | undefined }
  readonly client: ClientFields
  readonly keyingMaterial: KeyingMaterial
  readonly signal: AbortSignal
}

/** A refusal, or the accepted upgrade. */
export type AttachAnswer =
  | {
      readonly status: number
      readonly json: Readonly<Record<string, unknown>>
      readonly retryAfterSeconds?: number
    }
  | {
      readonly protocol: string
      readonly headers: readonly string[]
      readonly take: (socket: Duplex, early: Buffer) => { readonly state: string; readonly drain: () => void }
    }

/** Upgrades whose key is being checked, in all and of one address: hashing a key is slow on purpose. */
const MAX_CHECKING = 64
const MAX_CHECKING_PER_SOURCE = 8

/** Makes the function that answers attaching requests. */
export function createAttach(
  options: AttachOptions,
): (request: AttachRequest, protocol: string) => Promise<AttachAnswer> {
  const { access, registry, reporter, limits } = options
  const conduct = createConduct()
  const checking = new Map<string, number>()
  let checkingInAll = 0

  const checkKey = async (key: string, source: string): ReturnType<Access['checkKey']> => {
    const own = checking.get(source) ?? 0
    if (checkingInAll >= MAX_CHECKING || own >= MAX_CHECKING_PER_SOURCE)
      return { ok: false, why: 'busy', retryAfterMs: 2_000 }
    checkingInAll++
    checking.set(source, own + 1)
    try {
      return await access.checkKey(key, source)
    } finally {
      checkingInAll--
      const left = (checking.get(source) ?? 1) - 1
      if (left === 0) checking.delete(source)
      else checking.set(source, left)
    }
  }

  return async ({ headers, client, keyingMaterial, signal }, protocol) => {
    const source = client.address
    if (protocol !== H2_PROTOCOL && (protocol !== UDP_PROTOCOL || options.udp === null))
      return refused(400, 'protocol-unknown', `The gate does not speak ${protocol}.`, UPDATE)
    const key = readKey(headers)
    const full = (max: number): AttachAnswer => {
      reporter.report('client.capacity-exceeded', { ...named, max })
      return refused(403, 'capacity-exceeded', `The gateway key has ${max} clients already.`, RAISE, 60)
    }
    const named = {
      client: claimedName(headers),
      realAddress: claimedAddress(headers),
      publicAddress: source,
    }
    const { connections, connectionsPerSource } = limits()
    if (registry.connections() >= connections || registry.connections(source) >= connectionsPerSource)
      return refused(503, 'attachments-limit', 'Too many connectors are attached.', RAISE, 30)
    // A blank key is like none, whatever keys there are.
    const check = key === '' ? UNKNOWN : await checkKey(key, source)
    if (!check.ok) {
      if (check.why !== 'busy') reporter.report('client.key-refused', named)
      const seconds = check.retryAfterMs === null ? undefined : check.retryAfterMs / 1_000
      if (check.why === 'busy')
        return refused(503, 'key-check-busy', 'Too many keys are being checked.', LATER, seconds)
      if (check.why === 'held')
        return refused(429, 'key-held', 'Too many wrong keys came from this address.', KEY, seconds)
      return refused(401, 'key-refused', 'The gateway key is not among those of this gate.', KEY)
    }
    const identity = readIdentity(headers)
    if (typeof identity === 'string') return refused(400, 'identity-invalid', `${identity}.`, UPDATE)
    const udpName = protocol === UDP_PROTOCOL ? options.connectorName(identity.name, check.key.name) : null
    if (protocol === UDP_PROTOCOL && udpName === null)
      return refused(
        403,
        'connector-unknown',
        `The policy names no connector ${identity.name} with this key.`,
        NAME_IT,
      )
    if (signal.aborted) return refused(400, 'client-gone', 'The client is gone.', LATER)
    const { name, maxClients } = check.key
    const heldMs = conduct.heldMs(name, source, options.monotonicMs())
    if (heldMs > 0)
      return refused(
        429,
        'conduct-held',
        'Connections from this address with this key broke the protocol again and again.',
        CONDUCT,
        heldMs / 1_000,
      )
    if (!registry.hasRoom(name, identity.name, maxClients)) return full(maxClients ?? 0)
    const claim = readClaim(
      headers.get(IDENTITY_HEADER.toLowerCase()),
      { name: identity.name, instance: identity.instance, protocol },
      keyingMaterial,
    )
    const { realAddress } = identity
    const admitted = options.admit({ key: name, name: identity.name, claim, realAddress, from: client })
    if (!admitted.ok) {
      const { code, message, remedy, retryAfterSeconds } = admitted
      return refused(403, code, message, remedy, retryAfterSeconds)
    }
    const place = registry.apply({ identity, proven: admitted.identity, key: name, from: client })
    return udpName === null
      ? switchToH2(place, { ...named, key: name }, options, conduct)
      : switchToUdp(place, udpName, options)
  }
}

type Who = { readonly client: string; readonly key: string; readonly publicAddress: string }

function switchToH2(
  place: Place,
  { client, key, publicAddress }: Who,
  { monotonicMs, reporter }: AttachOptions,
  conduct: Conduct,
): AttachAnswer {
  return {
    protocol: H2_PROTOCOL,
    headers: [],
    take: (socket, early) => {
      if (early.length > 0) socket.unshift(early)
      const session = openGateSession(socket, {
        nowMs: monotonicMs,
        ready: () => joined.ready(session),
        fading: () => joined.fade(),
        closed: (why, broken) => {
          if (broken) {
            conduct.broke(key, publicAddress, monotonicMs())
            reporter.report('client.protocol-broken', { client, key, publicAddress, why })
          }
          joined.leave()
        },
      })
      const joined = place.join({ protocol: 'tcp', detach: session.end })
      return { state: 'connector', drain: () => session.finish(SHUTDOWN) }
    },
  }
}

function switchToUdp(place: Place, name: string, { udp }: AttachOptions): AttachAnswer {
  return {
    protocol: UDP_PROTOCOL,
    headers: ['Capsule-Protocol', '?1'],
    take: (socket, early) => {
      if (udp === null) throw new Error('UDP connections are not carried')
      const leave = (): void => {
        socket.off('close', leave)
        joined.leave()
        socket.destroy()
      }
      socket.on('close', leave)
      const detach = (why: string): void => attached.detach(why)
      const joined = place.join({ protocol: 'udp', detach })
      const attached = udp({ client: { ...place.client, name }, socket, early, leave })
      joined.ready(null)
      return { state: 'connector udp', drain: () => detach(SHUTDOWN) }
    },
  }
}

const SHUTDOWN = 'the gate shuts down'

const UNKNOWN = { ok: false, why: 'unknown', retryAfterMs: null } as const

const KEY =
  'Give the connector one of the gateway keys of this gate: `portcullis keys list` names them, `portcullis keys add` makes one.'
const UPDATE = 'Connector and gate must be of versions that go together; update the older one.'
const RAISE = 'Raise the limit at the gate, or detach clients that are no longer used.'
const NAME_IT =
  'Add it to the policy of the gate, under gateway.connectors, with the name of its key; TCP services need that only for upstreams.'
const CONDUCT =
  'The event client.protocol-broken at the gate names the client: stop what runs there. What is attached already goes on.'
const LATER = 'Try again a little later.'

function refused(
  status: number,
  code: string,
  message: string,
  remedy: string,
  retryAfterSeconds?: number,
): AttachAnswer {
  const json = { status, code, message, remedy }
  return retryAfterSeconds === undefined ? { status, json } : { status, json, retryAfterSeconds }
}
