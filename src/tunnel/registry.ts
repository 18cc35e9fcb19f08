// Who is attached now: one entry per connector process, the newest of a name in force, everything bounded and evented.
import type { Client } from '../policy/running-state.ts'
import type { Duplex } from 'node:stream'
import type { ClientFields, Reporter } from '../journal/events.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Clients, LiveClient } from './client.ts'
import { gone, type GateSession, type TunnelStream } from './h2/gate-session.ts'
import type { Identity } from './identity.ts'

/** What the registry needs. */
export type RegistryOptions = {
  readonly reporter: Reporter
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly newId: () => string
}

/** Who asks for a place. */
export type Applicant = {
  readonly identity: Identity
  /** The identity that it has proven; null: none. */
  readonly proven: string | null
  readonly key: string
  readonly from: ClientFields
}

/** One connection of a client. */
export type Link = {
  readonly protocol: 'tcp' | 'udp'
  /** Ends it at once; the reason goes to the other side. */
  readonly detach: (why: string) => void
}

/** The place of one connector process. A connection that joins must leave exactly once. */
export type Place = {
  readonly client: Client
  /** A connection begins. It counts for nothing until `ready`. */
  readonly join: (link: Link) => Joined
}

/** A connection in its place. */
export type Joined = {
  /** The other side has answered: the client is attached, and takes the place of an older process of the same name. */
  readonly ready: (session: GateSession | null) => void
  /** It takes nothing new: the client counts as gone unless it has another connection that does. */
  readonly fade: () => void
  readonly leave: () => void
}

/** The registry of attached clients. */
export type Registry = Clients & {
  /** Whether one more client of the key may attach under this name. @param maxClients null: any number */
  readonly hasRoom: (key: string, name: string, maxClients: number | null) => boolean
  /** Gives a place. */
  readonly apply: (applicant: Applicant) => Place
  /** Opens a stream to a service of a client that attached with this key. @throws PortcullisError as LiveClient.open */
  readonly stream: (key: string, name: string, service: string) => TunnelStream
  /** Connections in all and from one address, ready or not. */
  readonly connections: (address?: string) => number
  /** Ends the UDP connections of clients that do not fit any more. */
  readonly detachUdp: (fits: (client: string, key: string) => boolean, why: string) => void
  /** Detaches every client of a key. */
  readonly detachKey: (key: string, why: string) => void
  readonly detachAll: (why: string) => void
}

type Entry = {
  readonly slot: string
  readonly applicant: Applicant
  readonly live: LiveClient
  readonly links: Set<Link>
  /** Newest first. */
  readonly sessions: GateSession[]
  /** Connections that take something new. */
  usable: number
  isCurrent: boolean
}

/** Makes an empty registry. */
export function createRegistry(options: RegistryOptions): Registry {
  const { reporter, clock, newId } = options
  /** Every process that has a connection, by key, name and instance. */
  const entries = new Map<string, Entry>()
  /** The process in force, by key and name. */
  const current = new Map<string, Entry>()
  const listeners = new Set<Parameters<Clients['onChange']>[0]>()
  const perSource = new Map<string, number>()
  let connections = 0

  const tell = (entry: Entry, change: 'attached' | 'detached'): void => {
    const { from, identity } = entry.applicant
    if (change === 'attached') reporter.report('client.connected', { ...from, client: identity.name })
    else {
      const durationMs = clock() - entry.live.sinceMs
      reporter.report('client.disconnected', { ...from, client: identity.name, durationMs })
    }
    for (const listener of listeners) listener(entry.live, change)
  }

  const detach = (entry: Entry, why: string): void => {
    for (const link of entry.links) link.detach(why)
  }

  const retire = (entry: Entry): void => {
    if (!entry.isCurrent) return
    entry.isCurrent = false
    if (current.get(entry.slot) === entry) current.delete(entry.slot)
    tell(entry, 'detached')
  }

  const takeOver = (entry: Entry): void => {
    if (entry.isCurrent) return
    const before = current.get(entry.slot)
    entry.isCurrent = true
    current.set(entry.slot, entry)
    // The newcomer serves before the old one is told to go: nothing in between finds nobody (trap 32).
    if (before !== undefined) {
      before.isCurrent = false
      tell(before, 'detached')
      detach(before, REPLACED)
    }
    tell(entry, 'attached')
  }

  const count = (address: string, by: 1 | -1): void => {
    connections += by
    const left = (perSource.get(address) ?? 0) + by
    if (left === 0) perSource.delete(address)
    else perSource.set(address, left)
  }

  const open = (entry: Entry, service: string): TunnelStream => {
    if (entry.live.services.find(offered => offered.name === service)?.kind !== 'tcp')
      throw unknownService(entry.live.name, service)
    const session = entry.sessions.find(candidate => candidate.isOpen())
    if (session === undefined) throw gone()
    return session.open(service)
  }

  const makeEntry = (applicant: Applicant, slot: string): Entry => {
    const { identity, from, key, proven } = applicant
    const entry: Entry = {
      slot,
      applicant,
      links: new Set(),
      sessions: [],
      usable: 0,
      isCurrent: false,
      live: {
        id: newId(),
        name: identity.name,
        key,
        publicAddress: from.address,
        realAddress: identity.realAddress,
        site: from.site,
        country: from.country,
        version: identity.version,
        identity: proven,
        sinceMs: clock(),
        services: identity.services,
        open: (service, signal) => connected(() => open(entry, service), signal),
        detach: why => detach(entry, why),
      },
    }
    return entry
  }

  const join = (id: string, entry: Entry, link: Link): Joined => {
    const { address } = entry.applicant.from
    entries.set(id, entry)
    entry.links.add(link)
    count(address, 1)
    let session: GateSession | null = null
    let hasLeft = false
    let isUsable = false
    const fade = (): void => {
      if (!isUsable) return
      isUsable = false
      entry.usable--
      if (entry.usable === 0) retire(entry)
    }
    return {
      ready: opened => {
        if (hasLeft) return
        session = opened
        if (opened !== null) {
          // New streams go to the newest; what runs on an older connection ends there in its own time.
          for (const older of entry.sessions) older.finish('a newer connection has taken over')
          entry.sessions.unshift(opened)
        }
        isUsable = true
        entry.usable++
        takeOver(entry)
      },
      fade,
      leave: () => {
        if (hasLeft) return
        hasLeft = true
        fade()
        count(address, -1)
        entry.links.delete(link)
        if (session !== null) entry.sessions.splice(entry.sessions.indexOf(session), 1)
        if (entry.links.size === 0 && entries.get(id) === entry) entries.delete(id)
      },
    }
  }

  return {
    list: () => [...current.values()].map(entry => entry.live),
    find: (key, name) => current.get(slotOf(key, name))?.live,
    onChange: listener => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    hasRoom: (key, name, maxClients) => {
      if (maxClients === null) return true
      const slots = new Set<string>()
      for (const entry of entries.values()) if (entry.applicant.key === key) slots.add(entry.slot)
      return slots.has(slotOf(key, name)) || slots.size < maxClients
    },
    apply: applicant => {
      const { identity, key } = applicant
      const slot = slotOf(key, identity.name)
      const id = `${slot}\0${identity.instance}`
      const entry = entries.get(id) ?? makeEntry(applicant, slot)
      return { client: entry.live, join: link => join(id, entry, link) }
    },
    stream: (key, name, service) => {
      const entry = current.get(slotOf(key, name))
      if (entry === undefined) throw gone()
      return open(entry, service)
    },
    connections: address => (address === undefined ? connections : (perSource.get(address) ?? 0)),
    detachUdp: (fits, why) => {
      for (const { applicant, links } of entries.values()) {
        if (fits(applicant.identity.name, applicant.key)) continue
        for (const link of links) if (link.protocol === 'udp') link.detach(why)
      }
    },
    detachKey: (key, why) => {
      for (const entry of entries.values()) {
        if (entry.applicant.key !== key) continue
        // At once: what follows from a removed key must not wait for sockets to close.
        retire(entry)
        detach(entry, why)
      }
    },
    detachAll: why => {
      for (const entry of entries.values()) detach(entry, why)
    },
  }
}

/** Why an older process was detached; a connector that reads this waits long before it tries again. */
export const REPLACED = 'another connector with the same name and key has attached'

function slotOf(key: string, name: string): string {
  return `${key}\0${name}`
}

function unknownService(client: string, service: string): PortcullisError {
  return new PortcullisError(`client ${client} offers no TCP service ${service}`, {
    code: 'service-unknown',
    side: 'upstream',
    retry: true,
    status: 502,
    remedy: 'Add it under services in the file of the connector, and restart the connector.',
  })
}

/** Waits until a stream stands. */
function connected(open: () => TunnelStream, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const stream = open()
    const abort = (): void => {
      stream.off('connect', stand)
      stream.resetAndDestroy()
      reject(signal.reason instanceof Error ? signal.reason : new Error('given up'))
    }
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', abort)
      reject(error)
    }
    const stand = (): void => {
      signal.removeEventListener('abort', abort)
      stream.off('error', fail)
      // Whoever takes the stream adds its own listeners; an error before that must not end the process.
      stream.on('error', () => undefined)
      resolve(stream)
    }
    signal.addEventListener('abort', abort, { once: true })
    stream.once('connect', stand)
    stream.once('error', fail)
  })
}
