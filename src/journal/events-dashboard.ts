// Fields of the events of the dashboard, which together are its audit log; catalogue/dashboard.ts has their words.

/** Fields by event name. */
export type DashboardEventFields = {
  'dashboard.login': { readonly operator: string; readonly address: string; readonly handle: string }
  'dashboard.login-refused': {
    /** Null: there is no operator of that name; what was typed might be a password. */
    readonly operator: string | null
    readonly address: string
    readonly why: 'wrong' | 'held' | 'busy'
  }
  'dashboard.session-ended': {
    readonly operator: string
    readonly address: string
    readonly handle: string
    readonly why: string
    readonly durationMs: number
  }
  'dashboard.changed': {
    readonly operator: string
    readonly address: string
    readonly action: string
    /** What it was done to; empty: nothing in particular. */
    readonly target: string
    /** `refused`: the form was not right, nothing has changed. `failed`: a bug; see the error before it. */
    readonly outcome: 'done' | 'refused' | 'failed'
  }
  'dashboard.refused': {
    readonly operator: string
    readonly address: string
    /** `GET /audit`. */
    readonly what: string
    readonly why: 'role' | 'reach' | 'site' | 'token' | 'origin' | 'password'
  }
}
