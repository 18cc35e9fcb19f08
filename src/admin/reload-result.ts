// What came of a reload: the answer of `POST /v1/reload`.

/** A reload either took the policy or kept the old one. */
export type ReloadResult =
  | {
      readonly ok: true
      readonly id: string
      /** In sentences; empty when nothing changed. */
      readonly changes: readonly string[]
      readonly warnings: readonly string[]
      /** Connections closed because the new policy refuses them. */
      readonly closed: number
    }
  | { readonly ok: false; readonly problems: readonly string[]; readonly keptId: string }
