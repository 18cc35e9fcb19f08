// Where the pages of customers, rules and policies get their data and what their forms call; the composition root gives it.
import type { RuleInfo } from '../../../ips/rule-set.ts'
import type { NewOverlayEntry, OverlayEntry, OverlayKind } from '../../../journal/store-overlay.ts'
import type { StoreReading } from '../../../journal/store-reading.ts'
import type { StoredEvent } from '../../../journal/store-events.ts'
import type { TrafficClass } from '../../../policy/classes.ts'
import type { ListedException } from '../../../policy/expiring.ts'
import type { Snapshot } from '../../../policy/snapshot.ts'

/** What a diagnosis says of one address: the same words as `portcullis diagnose`. */
export type AddressDiagnosis = {
  readonly address: string
  readonly healthy: boolean
  readonly cause: string
  readonly sentence: string
  readonly steps: readonly string[]
  readonly yaml: string | null
}

/** The narrowest exception for one refusal or detection, or why there is none. */
export type ProposedException =
  | { readonly ok: true; readonly yaml: string; readonly opens: string; readonly stays: string }
  | { readonly ok: false; readonly code: string; readonly problem: string; readonly remedy: string }

/** How an exception is asked for. */
export type ExceptionWish = {
  readonly reason: string
  readonly owner: string
  readonly spanMs: number
  /** For a refusal before any request: what is to be let in; null: what agents use. */
  readonly classes: readonly TrafficClass[] | null
  readonly evenVirtualPatch: boolean
}

/** What became of a change of the policy. */
export type PolicyChange =
  | {
      readonly ok: true
      readonly version: number | null
      readonly changes: readonly string[]
      /** Whether the guard watches what follows. */
      readonly guarded: boolean
    }
  | { readonly ok: false; readonly problems: readonly string[] }

/** A policy that was in force. */
export type PastPolicy = {
  readonly number: number
  readonly atMs: number
  readonly who: string
  readonly why: string
  readonly changes: readonly string[]
}

/** Text of a policy file in two versions; null: not there. */
export type ChangedFile = {
  readonly name: string
  readonly before: string | null
  readonly after: string | null
}

/** One source that a candidate policy would treat otherwise. */
export type PlanChange = {
  readonly kind: 'lost' | 'gained'
  readonly address: string
  readonly site: string | null
  readonly country: string
  readonly class: string | null
  readonly reason: string
  readonly saw: string
  readonly line: string
  readonly count: number
  readonly lastMs: number
  readonly activeAgent: boolean
}

/** The outcome of a plan. */
export type PlanOutcome =
  | { readonly kind: 'invalid'; readonly problems: readonly string[] }
  | { readonly kind: 'failed'; readonly problem: string }
  | {
      readonly kind: 'done'
      readonly changes: readonly string[]
      /** Null: nothing has been recorded yet. */
      readonly replay: {
        readonly rows: number
        readonly sources: number
        readonly agents: number
        readonly lostAgents: number
        readonly changes: readonly PlanChange[]
        /** Changes that are not listed. */
        readonly more: number
      } | null
      readonly rules: readonly {
        readonly ruleId: string
        readonly hits: number
        readonly sourceCount: number
        readonly knownAgents: number
      }[]
    }

/** What may be planned, and put in force afterwards. */
export type PlanCandidate =
  | { readonly kind: 'directory'; readonly directory: string }
  /** Text of the main file; the other files stay. */
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'version'; readonly number: number }
  /** YAML to be merged into the main file. */
  | {
      readonly kind: 'patch'
      readonly yaml: string
      /** What it is, such as `an exception for P7F3-K9QX-M2A`. */
      readonly subject: string
      /** What it opens and what stays as it is. */
      readonly meaning: readonly string[]
      readonly reason: string
    }

/** A plan that runs or has run. */
export type PlanJob = {
  readonly id: number
  readonly who: string
  /** What was asked: `directory /etc/candidate`, `pasted text`, `version 3`. */
  readonly subject: string
  readonly kind: PlanCandidate['kind']
  readonly startedMs: number
  readonly progress: string
  readonly endedMs: number | null
  readonly outcome: PlanOutcome | null
  /** Files that differ from those in use. */
  readonly files: readonly ChangedFile[]
  readonly meaning: readonly string[]
  /** The reason as far as it is known. */
  readonly reason: string
  /** It can be put in force: it was not yet, and it is fresh. */
  readonly isOpen: boolean
}

/** How a planned change is put in force. */
export type PlanAgreement = {
  readonly who: string
  readonly why: string
  /** For how long the guard watches; null: not at all. */
  readonly guardMs: number | null
  /** Sources with active agents whose loss is accepted. */
  readonly acceptedLoss: number
}

/** Everything that these pages need. */
export type PageSources = {
  /** Questions to the store, answered by a thread of its own. */
  readonly ask: StoreReading['ask']
  /** Resolves when everything reported so far can be read from the store. */
  readonly flush: () => Promise<void>
  readonly snapshot: () => Snapshot
  readonly overlay: () => Promise<readonly OverlayEntry[]>
  readonly addEntry: (entry: NewOverlayEntry) => Promise<unknown>
  readonly removeEntries: (
    kind: OverlayKind,
    range: string,
    owner: string,
  ) => Promise<readonly OverlayEntry[]>
  /** Null: not known yet, ask again soon. Every answer is the one of `portcullis diagnose`. */
  readonly diagnose: (
    addresses: readonly string[],
    /** For an operator of single sites: nothing about the whole gate. */
    limited: boolean,
  ) => Promise<readonly AddressDiagnosis[] | null>
  /** The rule as its file states it; null: the file cannot be read or has changed. */
  readonly ruleText: (rule: RuleInfo) => Promise<string | null>
  /** The answer of `portcullis allow --from`. */
  readonly exceptionFor: (event: StoredEvent, wish: ExceptionWish) => ProposedException
  /** Those that end soonest first. */
  readonly exceptions: () => Promise<readonly ListedException[]>
  readonly plan: {
    /** False: one runs already. */
    readonly start: (candidate: PlanCandidate, who: string) => boolean
    readonly state: () => PlanJob | null
    readonly stop: () => Promise<void>
    /** Puts in force what was planned, exactly. */
    readonly apply: (id: number, agreement: PlanAgreement) => Promise<PolicyChange>
  }
  readonly history: {
    /** Newest first. */
    readonly list: () => Promise<readonly PastPolicy[]>
    /** What changed in files from the version before. @throws PortcullisError `no-version` */
    readonly files: (number: number) => Promise<readonly ChangedFile[]>
  }
}
