// The servers of one service: which member takes a new stream, failover, and who keeps to which server (S2).
import type { Duplex } from 'node:stream'
import { GroupHealth, unknownMember, type HealthChange, type HealthFact } from '../../forward/health-state.ts'
import type { Reporter } from '../../journal/events.ts'
import type { StreamMemberState } from '../../policy/running-state.ts'
import type { StreamMember } from '../../policy/streams.ts'
import type { OpenThrough } from '../../forward/upstream-socket.ts'
import { dial, type Dialled } from './dial.ts'
import { localHeader } from './proxy-header.ts'

/** What a group needs. */
export type StreamGroupOptions = {
  /** Name in events: `stream/<listener>`, with a number for further services. */
  readonly id: string
  readonly members: readonly StreamMember[]
  readonly proxyProtocol: boolean
  readonly returnAfterMs: number
  /** Port that probes use for targets without one. */
  readonly probePort: number
  /** False: servers are never probed and never held to be down, each stream tries anew. */
  readonly probes: boolean
  readonly reporter: Reporter
  readonly nowMs: () => number
  readonly openThrough: OpenThrough
}

/** One stream to be opened. */
export type StreamOpening = {
  /** All sockets of one client have the same key. */
  readonly client: string
  readonly port: number
  readonly header: Uint8Array | null
  readonly partner: Duplex | null
  readonly connectMs: number
  readonly keepAliveMs: number
}

/** What became of it. `release` is to be called once, when the stream has ended. */
export type StreamOpened =
  | {
      readonly ok: true
      readonly socket: Duplex
      readonly member: StreamMember
      readonly text: string
      readonly release: () => void
    }
  | { readonly ok: false; readonly problem: string }

/** Where the sockets of a client go, until the last of them is closed. */
type Kept = { member: number; address: string | null; sockets: number }

/** A server that is down is looked at often: clients are being sent away. */
const PROBE_DOWN_MS = 2_000
const PROBE_MS = 10_000
const PROBE_TIMEOUT_MS = 4_000

/** The members of one service. */
export class StreamGroup {
  readonly #options: StreamGroupOptions
  readonly #health: GroupHealth
  readonly #kept = new Map<string, Kept>()
  readonly #probedMs: number[]
  readonly #probing = new Map<number, () => void>()

  constructor(options: StreamGroupOptions) {
    this.#options = options
    const nowMs = options.nowMs()
    const records = options.members.map(() => unknownMember(nowMs, options.returnAfterMs))
    this.#health = new GroupHealth(records, options.returnAfterMs)
    this.#probedMs = options.members.map(() => nowMs)
  }

  /** Opens a connection: to where the client's other sockets go, else to the member in force; elsewhere when that fails. */
  open(opening: StreamOpening, done: (result: StreamOpened) => void): () => void {
    const tried = new Set<number>()
    let cancel = (): void => undefined
    let problem = 'every server is down'
    const attempt = (): void => {
      const kept = this.#kept.get(opening.client)
      const index = this.#choose(kept, tried)
      const member = index === null ? undefined : this.#options.members[index]
      if (index === null || member === undefined) {
        done({ ok: false, problem })
        return
      }
      tried.add(index)
      const address = kept?.member === index ? kept.address : null
      const held = this.#keep(opening.client, index, address)
      const giveUp = dial({ ...opening, member, address }, this.#options.openThrough, result => {
        if (!result.ok) {
          this.#release(opening.client, held)
          problem = `${member.id}: ${result.problem}`
          if (result.own) {
            done({ ok: false, problem })
            return
          }
          this.#take(index, { kind: 'live-failed', problem: result.problem })
          attempt()
          return
        }
        held.address = result.address
        this.#take(index, { kind: 'probe-ok' })
        done(this.#opened(opening.client, held, member, result))
      })
      cancel = () => {
        giveUp()
        this.#release(opening.client, held)
      }
    }
    attempt()
    return () => cancel()
  }

  /** Looks at members that are down or have to prove themselves. To be called about once a second. */
  tick(nowMs: number): void {
    if (!this.#options.probes) return
    for (const [index, record] of this.#health.records.entries()) {
      const isDown = record.state === 'down' || record.strikes > 0
      const isStandby = record.state === 'returning' || this.#health.serving !== index
      if ((!isDown && !isStandby) || this.#probing.has(index)) continue
      if (nowMs - (this.#probedMs[index] ?? 0) < (isDown ? PROBE_DOWN_MS : PROBE_MS)) continue
      this.#probedMs[index] = nowMs
      this.#probe(index)
    }
  }

  /**
   * A client has attached, or is gone. Whoever comes next must not be turned away from a connector that is there again, nor
   * have to find out that it is not; the service behind it is asked at once.
   */
  clientChanged(key: string, client: string, isAttached: boolean): void {
    for (const [index, { target }] of this.#options.members.entries()) {
      if (target.kind !== 'connector' || target.via.key !== key || target.via.client !== client) continue
      if (!isAttached)
        this.#take(index, { kind: 'live-failed', problem: `connector ${target.via.connector} is gone` })
      else if (this.#health.records[index]?.state === 'down') this.#take(index, { kind: 'probe-ok' })
      if (this.#options.probes && !this.#probing.has(index)) {
        this.#probedMs[index] = this.#options.nowMs()
        this.#probe(index)
      }
    }
  }

  states(): readonly StreamMemberState[] {
    return this.#options.members.map((member, index) => {
      const { state = 'unknown', sinceMs = 0, lastProblem = null } = this.#health.records[index] ?? {}
      return { member: member.id, state, serving: this.#health.serving === index, sinceMs, lastProblem }
    })
  }

  /** Clients that are remembered: none without a live socket. */
  get clients(): number {
    return this.#kept.size
  }

  close(): void {
    for (const cancel of this.#probing.values()) cancel()
    this.#probing.clear()
  }

  #choose(kept: Kept | undefined, tried: ReadonlySet<number>): number | null {
    if (kept !== undefined && !tried.has(kept.member) && this.#health.records[kept.member]?.state !== 'down')
      return kept.member
    if (!this.#options.probes) {
      const next = this.#options.members.findIndex((_, member) => !tried.has(member))
      return next < 0 ? null : next
    }
    return this.#health.pick(member => tried.has(member))
  }

  #keep(client: string, member: number, address: string | null): Kept {
    const known = this.#kept.get(client)
    if (known?.member === member) {
      known.sockets++
      return known
    }
    // The member that this client kept to is gone: from here on it keeps to the next one.
    const kept: Kept = { member, address, sockets: 1 }
    this.#kept.set(client, kept)
    return kept
  }

  #release(client: string, kept: Kept): void {
    kept.sockets--
    if (kept.sockets === 0 && this.#kept.get(client) === kept) this.#kept.delete(client)
  }

  #opened(
    client: string,
    kept: Kept,
    member: StreamMember,
    { socket, text }: Dialled & { readonly ok: true },
  ): StreamOpened {
    let isHeld = true
    const release = (): void => {
      if (!isHeld) return
      isHeld = false
      this.#release(client, kept)
    }
    return { ok: true, socket, member, text, release }
  }

  #probe(index: number): void {
    const member = this.#options.members[index]
    if (member === undefined) return
    const request = {
      member,
      port: this.#options.probePort,
      address: null,
      header: this.#options.proxyProtocol ? localHeader() : null,
      partner: null,
      connectMs: PROBE_TIMEOUT_MS,
      keepAliveMs: PROBE_MS,
    }
    let isDone = false
    const cancel = dial(request, this.#options.openThrough, result => {
      isDone = true
      this.#probing.delete(index)
      if (result.ok) {
        result.socket.on('error', () => undefined)
        result.socket.destroy()
        this.#take(index, { kind: 'probe-ok' })
      } else if (!result.own) this.#take(index, { kind: 'probe-failed', problem: result.problem })
    })
    if (!isDone) this.#probing.set(index, cancel)
  }

  #take(member: number, fact: HealthFact): void {
    if (!this.#options.probes) return
    for (const change of this.#health.take(member, fact, this.#options.nowMs())) this.#report(change)
  }

  #report(change: HealthChange): void {
    const { id: group, reporter, members } = this.#options
    const nameOf = (index: number | null): string | null =>
      index === null ? null : (members[index]?.id ?? null)
    switch (change.kind) {
      case 'suspected':
        // Asked again at once: the next client should not have to find out.
        this.#probedMs[change.member] = -Infinity
        return
      case 'down':
        reporter.report('upstream.down', {
          group,
          member: nameOf(change.member) ?? '',
          problem: change.problem,
        })
        return
      case 'up':
        reporter.report('upstream.up', { group, member: nameOf(change.member) ?? '', downMs: change.downMs })
        return
      case 'switched':
        reporter.report('upstream.switched', {
          group,
          from: nameOf(change.from),
          to: nameOf(change.to),
          why: change.why,
        })
    }
  }
}
