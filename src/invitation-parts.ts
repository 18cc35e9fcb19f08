// Forwards for invitations, put together: who may have one, its public port, its end, and what outlives a restart.
import { lookup as lookUp } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { InvitationAnswer, InvitationRequest } from './admin/invitation-routes.ts'
import { createTurns } from './edge/turns.ts'
import { INVITATION_FILE, readInvitationFile, writeInvitationFile } from './invitation-file.ts'
import { createInvitationRelays, type InvitationRelays } from './invitation-relays.ts'
import type { ForwardFields } from './journal/events-invitations.ts'
import { messageOf } from './own-events.ts'
import { parseAddress } from './net/address.ts'
import { ForwardTable, NO_FORWARDS, type SavedForwards } from './policy/forward-table.ts'
import {
  forwardProblem,
  serverHosts,
  SHORTEST_FORWARD_MS,
  sourcesText,
  targetProblem,
  targetText,
  type InvitationForward,
  type NoTargets,
} from './policy/invitations.ts'
import type { ForwardState, InvitationStatus } from './policy/running-state.ts'
import type { Snapshot } from './policy/snapshot.ts'
import type { StreamPartsOptions } from './stream-parts.ts'

/** What the composition root gives. */
export type InvitationPartsOptions = StreamPartsOptions & {
  readonly stateDir: string
  /** Addresses of this machine; default: those of its network interfaces. */
  readonly ownAddresses?: () => readonly string[]
  /** Addresses of a name; none: there is no such name. Default: the resolver of this machine. @throws when it is not known */
  readonly resolve?: (name: string) => Promise<readonly string[]>
}

/** The forwards of a running gate. */
export type InvitationParts = Pick<InvitationRelays, 'addresses' | 'connections' | 'cutRefused' | 'drain'> & {
  readonly list: () => readonly InvitationStatus[]
  /** The same, when those have been closed whose time is over. */
  readonly listNow: () => Promise<readonly InvitationStatus[]>
  readonly open: (request: InvitationRequest) => Promise<InvitationAnswer>
  /** Ends the forward of a port; null: there is none. */
  readonly end: (port: number, who: string) => Promise<InvitationStatus | null>
  /** Takes the policy in force; the first time, opens again what was open before the restart. */
  readonly apply: (snapshot: Snapshot) => Promise<void>
  /** Closes sockets; the forwards outlive the gate. */
  readonly close: () => Promise<void>
}

const TICK_MS = 1_000
const RESOLVE_MS = 2_000
/** Ports that are tried when others cannot be opened. */
const MAX_TRIES = 5

/** Makes the forwards. Nothing is open until `apply`. */
export function createInvitationParts(options: InvitationPartsOptions): InvitationParts {
  const { current, reporter, clock, resolve = resolveName } = options
  const ownAddresses = options.ownAddresses ?? addressesOfMachine
  const file = join(options.stateDir, INVITATION_FILE)
  const relays = createInvitationRelays(options)
  const table = new ForwardTable(readSaved())
  const inTurn = createTurns()
  let isRestored = false
  let isUnsaved = false

  function readSaved(): SavedForwards {
    try {
      return readInvitationFile(file)
    } catch (cause) {
      reporter.report('invitation.file-failed', { file, what: 'read', problem: messageOf(cause) })
      return NO_FORWARDS
    }
  }

  /** @returns whether everything that is open, and nothing else, will be open after a restart */
  const save = (): string | null => {
    try {
      writeInvitationFile(file, table.saved())
      isUnsaved = false
      return null
    } catch (cause) {
      const problem = messageOf(cause)
      if (!isUnsaved) reporter.report('invitation.file-failed', { file, what: 'write', problem })
      isUnsaved = true
      return problem
    }
  }

  const list = (): readonly InvitationStatus[] => {
    const states = relays.states()
    return table.list().map(forward => ({ ...forward, ...(states.get(forward.port) ?? NOT_OPEN) }))
  }
  const find = (port: number): InvitationStatus | null => list().find(entry => entry.port === port) ?? null

  /** Takes forwards out and cuts off who is connected. */
  const endAll = async (forwards: readonly InvitationForward[]): Promise<ReadonlyMap<number, number>> => {
    for (const { port } of forwards) table.end(port, clock())
    const cut = await relays.apply(table.list())
    save()
    return cut
  }

  const expire = async (): Promise<void> => {
    if (table.meetClock(clock())) isUnsaved = true
    const over = table.expired(clock())
    if (over.length === 0) return
    const cut = await endAll(over)
    for (const forward of over)
      reporter.report('invitation.expired', { ...fieldsOf(forward), cut: cut.get(forward.port) ?? 0 })
  }

  /** What can never be a target. Names that nobody knows lead nowhere. @throws when a name cannot be looked up */
  const noTargets = async (snapshot: Snapshot, isStrict: boolean): Promise<NoTargets> => {
    const found = [...serverHosts(snapshot)].map(async host => {
      const address = parseAddress(host)
      if (address !== undefined) return [address.text]
      try {
        return (await resolve(host)).flatMap(text => parseAddress(text)?.text ?? [])
      } catch (cause) {
        if (isStrict) throw new UnknownServer(host, messageOf(cause))
        return []
      }
    })
    return {
      own: new Set(ownAddresses().flatMap(text => parseAddress(text.split('%', 1)[0] ?? '')?.text ?? [])),
      servers: new Set((await Promise.all(found)).flat()),
    }
  }

  const refuse = (request: InvitationRequest, code: string, problem: string, remedy: string) => {
    reporter.report('invitation.refused', { owner: request.owner, code, problem })
    return { ok: false, code, problem, remedy } as const
  }

  const openNow = async (request: InvitationRequest): Promise<InvitationAnswer> => {
    await expire()
    const { snapshot } = current()
    const policy = snapshot.invitations
    if (policy === null)
      return refuse(
        request,
        'invitations-off',
        'the policy has no section invitations, so no port is ever forwarded to a PC',
        'Add `invitations: { address: "0.0.0.0:51000-51099", targets: [10.0.0.0/24] }` with the network of the PCs, or use --no-forward and the firewall.',
      )
    const { target, forMs, port: wanted, from, owner } = request
    if (forMs < SHORTEST_FORWARD_MS || forMs > policy.longestMs)
      return refuse(
        request,
        'invitation-duration',
        `a forward lasts from ${SHORTEST_FORWARD_MS / 60_000} minute to ${policy.longestMs / 60_000} minutes (invitations.longest)`,
        'Choose another --for; a new invitation can be made at any time.',
      )
    const site = from?.sites.find(id => !snapshot.sites.some(entry => entry.id === id))
    if (site !== undefined)
      return refuse(request, 'invitation-site', `there is no site ${site}`, 'See `portcullis sites`.')
    const address = parseAddress(target.host)
    if (address === undefined)
      return refuse(request, 'invitation-target', `${target.host} is no address`, TARGET_REMEDY)
    let never
    try {
      never = await noTargets(snapshot, true)
    } catch (cause) {
      return refuse(
        request,
        'invitation-servers',
        messageOf(cause),
        'Repair the name service of this machine.',
      )
    }
    const problem = targetProblem(address, target.port, policy, never)
    if (problem !== null)
      return refuse(request, 'invitation-target', `${address.text} ${problem}`, TARGET_REMEDY)

    const unusable = new Set<number>()
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const nowMs = clock()
      const range = wanted === null ? policy.ports : { first: wanted, last: wanted }
      if (range.first < policy.ports.first || range.last > policy.ports.last)
        return refuse(
          request,
          'invitation-port',
          `port ${range.first} is not among the ports ${policy.ports.first}-${policy.ports.last} of invitations`,
          'Leave the port away: the gate chooses one.',
        )
      const choice = table.choose(range, nowMs, unusable)
      if (choice.port === null) {
        if (unusable.size > 0) break
        const free =
          choice.freeMs === null
            ? ''
            : `; one is free at ${new Date(choice.freeMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
        return refuse(
          request,
          'invitation-ports-taken',
          `${wanted === null ? `all ${policy.ports.last - policy.ports.first + 1} ports of invitations are in use, or rest` : `port ${wanted} is in use, or rests`} so that an old ticket meets nobody new${free}`,
          'End a forward that is over with `portcullis invitations end <port>`, or give invitations.address more ports.',
        )
      }
      const forward: InvitationForward = {
        port: choice.port,
        target: { host: address.text, port: target.port },
        from,
        owner,
        openedMs: nowMs,
        expiresMs: nowMs + forMs,
      }
      table.put(forward)
      await relays.apply(table.list())
      const opened = find(forward.port)
      if (opened === null || !opened.tcp || !opened.udp) {
        table.drop(forward.port)
        await relays.apply(table.list())
        unusable.add(forward.port)
        continue
      }
      const unsaved = save()
      if (unsaved !== null) {
        table.drop(forward.port)
        await relays.apply(table.list())
        return refuse(
          request,
          'invitation-unsaved',
          `the forward was closed again, because it cannot be written down: ${unsaved}`,
          `Look at the disk and the owner of ${options.stateDir}.`,
        )
      }
      reporter.report('invitation.opened', fieldsOf(forward))
      return { ok: true, forward: opened, publicHost: policy.publicHost }
    }
    return refuse(
      request,
      'invitation-port-held',
      `port ${[...unusable].join(', ')} cannot be opened for TCP and UDP`,
      '`portcullis events` says who holds it. Give invitations.address other ports.',
    )
  }

  const applyNow = async (snapshot: Snapshot): Promise<void> => {
    const isStart = !isRestored
    isRestored = true
    if (table.size === 0) return
    await expire()
    const never = await noTargets(snapshot, false)
    const closed: { readonly forward: InvitationForward; readonly problem: string }[] = []
    for (const forward of table.list()) {
      const problem = forwardProblem(forward, snapshot, never)
      if (problem !== null) closed.push({ forward, problem })
      else if (snapshot.invitations !== null) {
        // Never from a time that is still to come: the file may be damaged, and clocks are set back.
        const latestMs = Math.min(forward.openedMs, clock()) + snapshot.invitations.longestMs
        if (forward.expiresMs > latestMs) table.put({ ...forward, expiresMs: latestMs })
      }
    }
    const cut = await endAll(closed.map(({ forward }) => forward))
    for (const { forward, problem } of closed)
      reporter.report('invitation.closed', {
        ...fieldsOf(forward),
        why: 'policy',
        who: '',
        problem,
        cut: cut.get(forward.port) ?? 0,
      })
    await expire()
    if (isStart) for (const forward of table.list()) reporter.report('invitation.restored', fieldsOf(forward))
  }

  const timer = setInterval(() => {
    if (!isRestored) return
    if (table.meetClock(clock())) isUnsaved = true
    if (table.expired(clock()).length > 0)
      inTurn(expire).catch((cause: unknown) =>
        reporter.report('gate.internal-error', {
          where: 'invitations',
          problem: messageOf(cause),
          stack: '',
        }),
      )
    else if (isUnsaved) save()
  }, TICK_MS)
  timer.unref()

  return {
    list,
    listNow: () =>
      inTurn(async () => {
        await expire()
        return list()
      }),
    open: request => inTurn(() => openNow(request)),
    end: (port, who) =>
      inTurn(async () => {
        await expire()
        const forward = table.get(port)
        if (forward === undefined) return null
        const last = find(port)
        const cut = await endAll([forward])
        reporter.report('invitation.closed', {
          ...fieldsOf(forward),
          why: 'operator',
          who,
          problem: '',
          cut: cut.get(port) ?? 0,
        })
        return last
      }),
    apply: snapshot => inTurn(() => applyNow(snapshot)),
    addresses: relays.addresses,
    connections: relays.connections,
    cutRefused: relays.cutRefused,
    drain: relays.drain,
    close: async () => {
      clearInterval(timer)
      await inTurn(() => Promise.resolve())
      await relays.close()
    },
  }
}

const TARGET_REMEDY =
  'Forwards lead to PCs in invitations.targets only. For anything else use a stream, or `portcullis connect`.'

const NOT_OPEN: ForwardState = { tcp: false, udp: false, connections: 0, flows: 0, bytesIn: 0, bytesOut: 0 }

class UnknownServer extends Error {
  constructor(host: string, problem: string) {
    super(`${host} cannot be looked up (${problem}), so nobody knows whether the PC is that server`)
  }
}

function fieldsOf({ port, target, from, owner, expiresMs }: InvitationForward): ForwardFields {
  return { port, target: targetText(target), from: sourcesText(from), owner, expiresMs }
}

function addressesOfMachine(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap(list => list?.map(({ address }) => address) ?? [])
}

async function resolveName(name: string): Promise<readonly string[]> {
  const late = wait(RESOLVE_MS, undefined, { ref: false }).then(() => {
    throw new Error('no answer in time')
  })
  try {
    const found = await Promise.race([lookUp(name, { all: true }), late])
    return found.map(({ address }) => address)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOTFOUND') return []
    throw cause
  }
}
