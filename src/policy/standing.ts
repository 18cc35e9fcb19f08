// The results of decisions: who a source is under a snapshot, and the verdict of each phase.
import type { RuleHit } from '../ips/rule-set.ts'
import type { TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from './classes.ts'
import type { SourceFacts } from './facts.ts'
import type {
  AllowEntry,
  BanEntry,
  ClassPolicy,
  Listener,
  Name,
  Overlay,
  Site,
  Snapshot,
  Stated,
  TlsProfileName,
} from './snapshot.ts'
import type { SourceLine } from './source-line.ts'
import type { WouldBe } from './trial.ts'
import type { Refusal } from './verdict.ts'

/** The country of a source after overrides, or why it has none. */
export type ResolvedCountry =
  | {
      readonly kind: 'country'
      readonly code: string
      /** The second database's differing answer; null: it agrees or has none. */
      readonly disagrees: string | null
      /** The override that decided; null: the database did. */
      readonly override: SourceLine | null
    }
  | {
      readonly kind: 'network'
      readonly network: 'private' | 'cgnat' | 'loopback' | 'link-local' | 'reserved'
    }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'unavailable' }

/** Who a source is under one snapshot: computed once per connection, again when the snapshot or overlay changes. */
export type Standing = {
  readonly snapshot: Snapshot
  readonly overlay: Overlay
  readonly source: SourceFacts
  readonly site: Site | null
  /** Allows that cover the source, temporary before stated, most specific first; expiry and classes are asked again at each request. */
  readonly allows: readonly AllowEntry[]
  readonly bans: readonly BanEntry[]
  /** The allow that the accept phase goes by: one for every class if there is one, else the first. */
  readonly allow: AllowEntry | null
  readonly ban: BanEntry | null
  readonly country: ResolvedCountry
  /** The entry that makes the source trusted; null: it is not. */
  readonly trusted: Stated<string> | null
}

/** Verdict of the accept phase. */
export type AcceptVerdict =
  | {
      readonly allow: true
      readonly standing: Standing
      /** What enforcing would refuse it for; null: nothing that is on trial. */
      readonly wouldBe: WouldBe | null
    }
  | { readonly allow: false; readonly standing: Standing; readonly refusal: Refusal }

/** Verdict of the hello phase. */
export type HelloVerdict =
  | {
      readonly allow: true
      readonly name: Name
      readonly tlsProfile: TlsProfileName
      readonly wouldBe: WouldBe | null
      /** Detections that did not refuse. */
      readonly hits: readonly RuleHit[]
    }
  | {
      readonly allow: false
      readonly name: Name | null
      readonly refusal: Refusal
      readonly hits: readonly RuleHit[]
    }

/** What the request phase needs to know of the connection. */
export type ConnectionFacts = {
  readonly standing: Standing
  readonly listener: Listener
  /** Name chosen at hello. */
  readonly name: Name
  /** SNI as sent; null when the client sent none. */
  readonly serverName: string | null
  readonly tlsVersion: TlsVersion
}

/** Verdict of the request phase (head) and of the body phase. */
export type RequestVerdict =
  | {
      readonly allow: true
      readonly class: TrafficClass
      readonly name: Name
      readonly policy: ClassPolicy
      /** What enforcing would refuse it for, in this phase or in one before; null: nothing that is on trial. */
      readonly wouldBe: WouldBe | null
      /** Detections that did not refuse. */
      readonly hits: readonly RuleHit[]
    }
  | {
      readonly allow: false
      /** Null when the request never got as far as having a class. */
      readonly class: TrafficClass | null
      readonly refusal: Refusal
      readonly hits: readonly RuleHit[]
    }
