// What a reload is asked for and what came of it: `POST /v1/reload`.

/** What a reload is asked for. */
export type ReloadOptions = {
  /** Also close open connections that the new policy refuses. */
  readonly closeRefused?: boolean
  readonly who?: string
  readonly why?: string
  /** Watch the fleet afterwards and take the change back when agents stop coming. */
  readonly guard?: { readonly windowMs: number; readonly windows: number }
}

/** A reload either took the policy or kept the old one. */
export type ReloadResult =
  | {
      readonly ok: true
      readonly id: string
      /** Number in the history; null: it could not be written down. */
      readonly version: number | null
      /** In sentences; empty when nothing changed. */
      readonly changes: readonly string[]
      readonly warnings: readonly string[]
      /** Whether the guard watches what follows. */
      readonly guarded: boolean
      /** Connections closed because the new policy refuses them. */
      readonly closed: number
    }
  | { readonly ok: false; readonly problems: readonly string[]; readonly keptId: string }
