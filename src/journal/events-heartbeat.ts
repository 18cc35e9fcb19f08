// Fields of the events about heartbeats over UDP; catalogue/heartbeats.ts and catalogue/heartbeat-tunnels.ts say the rest of them.
import type { TrafficClass } from '../policy/classes.ts'
import type { ClientFields, RefusalFields } from './events.ts'

/** A site; or an address, when it is of no recorded site. */
type HeartbeatPlace = {
  readonly listener: string
  readonly site: string | null
  readonly address: string | null
}

/** Fields of every event about a source of datagrams. */
export type DatagramFields = ClientFields & {
  /** Class of the datagrams, where they are no heartbeats; absent: heartbeat. */
  readonly class?: TrafficClass
}

/** Why a flow ended. `over`: its listener was there for a while only. */
export type FlowEnding =
  'idle' | 'displaced' | 'refused' | 'failed' | 'connector-away' | 'reload' | 'over' | 'shutdown'

/** Events of heartbeats over UDP. */
export type HeartbeatEventFields = {
  'heartbeat.refused': DatagramFields &
    Omit<RefusalFields, 'reference'> & {
      /** Datagrams; the first of a source is reported at once, the others of a minute together. */
      readonly count: number
    }
  'heartbeat.opened': DatagramFields
  /** What a flow did since its last report, about every 20 s and at its end. */
  'heartbeat.counted': DatagramFields & {
    readonly heartbeats: number
    readonly replies: number
    readonly bytesIn: number
    readonly bytesOut: number
    /** False: replies were expected, and none came. */
    readonly answered: boolean
    /** Beats of a sender with a rhythm that came, and that should have come and did not. */
    readonly kept: number
    readonly missed: number
  }
  'heartbeat.closed': DatagramFields & {
    readonly heartbeats: number
    readonly replies: number
    readonly bytesIn: number
    readonly bytesOut: number
    /** Replies that were kept back, because the sender had not sent enough for them. */
    readonly withheld: number
    readonly durationMs: number
    readonly lastHeartbeatMs: number
    readonly lastReplyMs: number | null
    readonly ending: FlowEnding
  }
  'heartbeat.unanswered': {
    readonly listener: string
    readonly upstream: string
    readonly heartbeats: number
    readonly sinceMs: number
    /** The machine of the server said that nothing listens there. */
    readonly portClosed: boolean
    /** What is wrong with the connector that it goes through; null: nothing, or it goes through none. */
    readonly connector: 'away' | 'not-offered' | null
  }
  'heartbeat.port-closed': {
    readonly listener: string
    readonly upstream: string
    readonly awayMs: number
    readonly connector: 'away' | 'not-offered'
  }
  'heartbeat.port-opened': { readonly listener: string; readonly upstream: string; readonly awayMs: number }
  /** Datagrams of about a minute that the tunnel of a connector did not carry. */
  'heartbeat.dropped': {
    readonly listener: string
    readonly upstream: string
    /** They had waited for 2 s. */
    readonly aged: number
    /** Too many waited. */
    readonly overflow: number
    /** Nothing carried them: the connector was away. */
    readonly away: number
    /** They came from the connector for contexts that never were. */
    readonly forged: number
  }
  /** Sources that the connector did not take, of about a minute. */
  'heartbeat.context-refused': {
    readonly listener: string
    readonly upstream: string
    readonly count: number
  }
  /** The system dropped datagrams, because the gate did not take them from its socket in time; of a minute. */
  'heartbeat.overrun': { readonly listener: string; readonly port: number; readonly datagrams: number }
  /** More new flows per second than may be opened; of a second, then of a minute each. */
  'heartbeat.flood': {
    readonly listener: string
    /** Datagrams that would have opened a flow, and did not. */
    readonly datagrams: number
    /** What may be opened per second. */
    readonly newFlows: number
    /** Flows that are open. */
    readonly flows: number
  }
  /** Some senders of a place have been silent for three times the expected interval; `places` over 1: of so many more places. */
  'heartbeat.senders-gone': HeartbeatPlace & {
    readonly gone: number
    readonly known: number
    readonly places: number
    readonly everyMs: number
    /** The newest heartbeat of those who are gone. */
    readonly lastMs: number
  }
  /** All senders of a site, or behind an address of none, are gone. */
  'heartbeat.site-gone': HeartbeatPlace & {
    readonly known: number
    /** Agents of other places that are heard. */
    readonly others: number
    readonly everyMs: number
    readonly lastMs: number
  }
  /** (Nearly) all senders of a listener are gone, of several places. */
  'heartbeat.all-gone': {
    readonly listener: string
    readonly gone: number
    readonly known: number
    readonly places: number
    readonly everyMs: number
    readonly lastMs: number
  }
  /** Senders that were reported as gone are back; no site and no address: those of the whole gate. */
  'heartbeat.back': HeartbeatPlace & {
    readonly gone: number
    readonly known: number
    readonly sinceMs: number
  }
  'heartbeat.answered': { readonly listener: string; readonly upstream: string }
}
