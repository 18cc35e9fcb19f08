// Every event that Portcullis can report, with its fields. catalogue.ts gives each its sentence, metric and storage.
import type { RuleHit } from '../ips/rule-set.ts'
import type { TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { Reason } from '../policy/reasons.ts'
import type { Stage } from '../policy/verdict.ts'
import type { ClientIdentityEventFields } from './events-client-identity.ts'
import type { DashboardEventFields } from './events-dashboard.ts'
import type { HeartbeatEventFields } from './events-heartbeat.ts'
import type { InvitationEventFields } from './events-invitations.ts'
import type { StreamEventFields } from './events-streams.ts'
import type { TrialEventFields } from './events-trial.ts'

/** How loud an event is. */
export type Severity = 'debug' | 'info' | 'warning' | 'error'

/** Fields that every event about a client carries. */
export type ClientFields = {
  /** Canonical address of the client as the gate saw it ("public" address). */
  readonly address: string
  readonly port: number
  readonly listener: string
  readonly site: string | null
  /** ISO code, `private`, `cgnat`, `loopback`, `unknown` or `unavailable`. */
  readonly country: string
}

/** What the ClientHello said, as far as it was read. */
export type HelloFields = {
  readonly serverName: string | null
  readonly offered: readonly TlsVersion[]
  readonly ja4: string | null
}

/** How one connection, request or stream ended. */
export type Ending =
  | 'complete'
  | 'client-abort'
  | 'client-timeout'
  | 'upstream-abort'
  | 'upstream-timeout'
  | 'upstream-refused'
  | 'upstream-invalid'
  | 'refused'
  | 'limit'
  | 'drain'
  /** Its listener was there for a while only, and the time is over. */
  | 'over'
  | 'internal-error'

/** A refusal as it is reported. */
export type RefusalFields = {
  readonly reference: string
  readonly reason: Reason
  readonly stage: Stage
  readonly saw: string
  /** `file:line:column` that decided. */
  readonly line: string
}

/** Where an operator logs in. */
export type OperatorWay = 'gateway' | 'dashboard'

/** Fields by event name. Names are stable: logs, metrics, stored rows and documents use them. */
export type EventFields = ClientIdentityEventFields &
  DashboardEventFields &
  HeartbeatEventFields &
  StreamEventFields &
  InvitationEventFields &
  TrialEventFields & {
    // The gate itself (N-E1 to N-E9).
    'gate.started': {
      readonly version: string
      readonly platform: string
      readonly maxConnections: number
      readonly pid: number
    }
    'gate.start-failed': { readonly code: string; readonly problem: string; readonly remedy: string }
    'gate.stopped': { readonly uptimeMs: number; readonly connectionsCut: number }
    'gate.internal-error': { readonly where: string; readonly problem: string; readonly stack: string }
    'listener.opened': { readonly listener: string; readonly host: string; readonly port: number }
    'listener.failed': {
      readonly listener: string
      readonly host: string
      readonly port: number
      readonly problem: string
      readonly remedy: string
    }
    'listener.closed': {
      readonly listener: string
      readonly host: string
      readonly port: number
      readonly connectionsKept: number
    }
    'policy.reloading': { readonly trigger: 'file' | 'signal' | 'command' | 'start' | 'guard' }
    'policy.loaded': {
      readonly id: string
      readonly files: number
      readonly changes: readonly string[]
      readonly warnings: readonly string[]
    }
    'rule.promoted': { readonly rule: string; readonly days: number; readonly strangers: number }
    'rule.held-back': { readonly rule: string; readonly days: number; readonly knownAgents: number }
    'policy.kept': { readonly version: number; readonly sources: number }
    'policy.rolled-back': {
      readonly version: number
      readonly to: number
      readonly why: string
      readonly who: string
    }
    'policy.rejected': { readonly problems: readonly string[]; readonly keptId: string }
    'keys.reloaded': {
      readonly keys: number
      /** Names of keys; a key that got another value is in both. */
      readonly added?: readonly string[]
      readonly removed?: readonly string[]
    }
    'operators.reloaded': {
      readonly operators: number
      /** New, or with another password, role or scope. */
      readonly changed: readonly string[]
      readonly removed: readonly string[]
    }
    /** The file of keys and operators cannot be used. */
    'access.rejected': {
      readonly file: string
      readonly problem: string
      /** Whether keys and operators of before stay in force; false: nobody can attach or log in. */
      readonly kept: boolean
    }
    'operator.logged-in': { readonly operator: string; readonly address: string; readonly via: OperatorWay }
    'operator.login-refused': {
      /** As it was given; perhaps nobody's name. */
      readonly operator: string
      readonly address: string
      readonly via: OperatorWay
      readonly why: 'unknown' | 'held' | 'busy'
    }
    // Clients of the gateway (N-E10 to N-E18); reported by the tunnel and by WebSocket agents.
    'client.connected': ClientFields & { readonly client: string }
    'client.disconnected': ClientFields & { readonly client: string; readonly durationMs: number }
    'operator.connected': { readonly operator: string; readonly client: string; readonly address: string }
    'operator.disconnected': {
      readonly operator: string
      readonly client: string
      readonly durationMs: number
    }
    'client.capacity-exceeded': {
      readonly client: string
      readonly realAddress: string
      readonly publicAddress: string
      readonly max: number
    }
    'client.key-refused': {
      readonly client: string
      readonly realAddress: string
      readonly publicAddress: string
    }
    'operator.browse-refused': { readonly publicAddress: string }
    'operator.key-refused': {
      readonly operator: string
      readonly client: string
      readonly publicAddress: string
    }
    'operator.key-mismatch': {
      readonly operator: string
      readonly client: string
      readonly publicAddress: string
    }
    // Connections and requests.
    'connection.refused': ClientFields &
      HelloFields &
      RefusalFields & { readonly phase: 'accept' | 'hello'; readonly hits?: readonly RuleHit[] }
    'connection.silent': ClientFields & { readonly durationMs: number }
    'handshake.failed': ClientFields & HelloFields & { readonly code: string; readonly problem: string }
    'connection.closed': ClientFields &
      HelloFields & {
        readonly negotiated: TlsVersion | null
        readonly cipher: string | null
        readonly resumed: boolean
        readonly tlsProfile: string | null
        readonly requests: number
        readonly bytesIn: number
        readonly bytesOut: number
        readonly durationMs: number
        readonly ending: Ending
      }
    'request.refused': ClientFields &
      HelloFields &
      RefusalFields & {
        readonly host: string
        readonly method: string
        /** Path without query, at most 256 characters, control characters escaped. */
        readonly path: string
        readonly class: TrafficClass | null
        readonly tls: TlsVersion
        readonly status: number
        readonly hits: readonly RuleHit[]
        /** Needed to replay the request through another policy; absent: not an upgrade, no user agent. */
        readonly webSocket?: boolean
        readonly userAgent?: string | null
      }
    'request.closed': ClientFields &
      HelloFields & {
        readonly host: string
        readonly method: string
        readonly path: string
        readonly class: TrafficClass
        readonly tls: TlsVersion
        readonly status: number
        readonly upstream: string
        readonly bytesIn: number
        readonly bytesOut: number
        readonly durationMs: number
        /** Time until the head of the upstream's response; 0 when there was none. */
        readonly upstreamMs: number
        /** From the head of the request until it was handed to the server; -1: it never was. */
        readonly forwardedMs?: number
        /** Of that the gate's own time: without what the client took to send a body that rules wanted to see. */
        readonly gateMs?: number
        readonly ending: Ending
        readonly webSocket: boolean
        readonly userAgent: string | null
        /** Given to the client when the gate itself had to answer (502, 503, 504, 408 ...). */
        readonly reference?: string | null
      }
    'rule.detected': ClientFields & {
      readonly reference: string
      readonly host: string
      readonly method: string
      readonly path: string
      /** Null: in a ClientHello, before there was a request; `host` is the server name, `method` and `path` are empty. */
      readonly class: TrafficClass | null
      readonly hit: RuleHit
    }
    /** Rules wanted to see this and could not see all of it; it was passed on, as the class says. */
    'inspection.incomplete': ClientFields & {
      readonly reference: string
      readonly host: string
      readonly method: string
      readonly path: string
      readonly class: TrafficClass
      readonly what: 'body' | 'message'
      /** `size`: longer than is held. `coding`: unknown, broken or blown up. `memory`: too much is held already. */
      readonly why: 'size' | 'coding' | 'memory'
      /** What was seen, for example `300000 bytes, 131072 looked at`. */
      readonly saw: string
    }
    /** A page of another name asked, and the RMM server did not agree to it: the browser shows a CORS error. */
    'request.cross-origin': ClientFields & {
      readonly host: string
      readonly method: string
      readonly path: string
      readonly class: TrafficClass
      /** `https://old.example.com`, as the browser sent it. */
      readonly origin: string
      readonly status: number
    }
    'rate.held': ClientFields & {
      readonly reference: string
      readonly host: string
      readonly method: string
      readonly path: string
      readonly class: TrafficClass
      /** The rule that counted, its mode and exception. */
      readonly hit: RuleHit
      /** One user or device of the address, or all of it. */
      readonly whom: 'user' | 'source'
      readonly limit: number
      readonly perMs: number
      readonly holdMs: number
      /** Whether requests are refused meanwhile. Not when the rule only detects, has an exception, or would shut out a whole site. */
      readonly acts: boolean
    }
    /** The ledger counts a WebSocket when it opens and adds its bytes when it closes; the hello fields make both one row. */
    'websocket.opened': ClientFields &
      Partial<HelloFields> & {
        readonly host: string
        readonly path: string
        readonly class: TrafficClass
        readonly upstream: string
        readonly tls?: TlsVersion
        readonly userAgent?: string | null
      }
    // Upstream.
    'upstream.down': { readonly group: string; readonly member: string; readonly problem: string }
    'upstream.up': { readonly group: string; readonly member: string; readonly downMs: number }
    'upstream.switched': {
      readonly group: string
      readonly from: string | null
      readonly to: string | null
      readonly why: string
    }
    'upstream.failed': {
      readonly group: string
      readonly member: string
      readonly code: string
      readonly problem: string
    }
    // Certificates.
    'certificate.loaded': {
      readonly name: string
      readonly subject: string
      readonly validToMs: number
      readonly keyType: string
    }
    'certificate.rejected': { readonly name: string; readonly file: string; readonly problem: string }
    'certificate.expiring': { readonly name: string; readonly validToMs: number; readonly daysLeft: number }
    'certificate.held': { readonly name: string; readonly untilMs: number; readonly why: string }
    // Country databases.
    'geo.loaded': {
      readonly file: string
      readonly type: string
      readonly builtMs: number
      readonly role: 'first' | 'second'
    }
    'geo.rejected': { readonly file: string; readonly problem: string; readonly kept: string | null }
    'geo.stale': { readonly file: string; readonly ageDays: number }
    'geo.disagreement': { readonly address: string; readonly first: string; readonly second: string }
    // Standing set by operators.
    'ban.added': {
      readonly range: string
      readonly classes: readonly string[] | null
      readonly reason: string
      readonly owner: string
      readonly expiresMs: number | null
    }
    'ban.removed': { readonly range: string; readonly owner: string; readonly why: string }
    'allow.added': {
      readonly range: string
      readonly classes: readonly string[] | null
      readonly reason: string
      readonly owner: string
      readonly expiresMs: number | null
    }
    'allow.removed': { readonly range: string; readonly owner: string; readonly why: string }
    /** A class was opened to a site (`site:<id>`) or a range for a while. */
    'opening.made': {
      readonly range: string
      readonly classes: readonly string[]
      readonly reason: string
      readonly owner: string
      readonly expiresMs: number
    }
    'opening.ended': { readonly range: string; readonly owner: string; readonly why: string }
    'exception.expiring': {
      readonly what: string
      readonly line: string
      readonly expiresMs: number
      readonly daysLeft: number
    }
    // The journal about itself.
    'journal.dropped': { readonly rows: number; readonly why: string }
    'journal.trimmed': { readonly rows: number; readonly why: string }
    /** The store could not be read: it was moved aside and a fresh one is in use. */
    'journal.store-replaced': {
      readonly file: string
      readonly movedTo: string
      readonly problem: string
      /** Bans and allows that could be carried over. */
      readonly entriesKept: number
    }
    /** The store cannot be used; nothing is stored until it can. */
    'journal.store-failed': { readonly file: string; readonly problem: string; readonly remedy: string }
  }

/** Name of an event. */
export type EventName = keyof EventFields

/** Where adapters report. Never throws, never blocks. */
export type Reporter = { readonly report: <K extends EventName>(name: K, fields: EventFields[K]) => void }
