// Fields of the events about forwards for invitations.

/** Fields of every event about a forward. */
export type ForwardFields = {
  readonly port: number
  /** `10.0.0.5:3389`. */
  readonly target: string
  /** Who may connect, besides what the policy asks: `site acme, 198.51.100.7`; empty: everybody whom the policy lets in. */
  readonly from: string
  readonly owner: string
  readonly expiresMs: number
}

/** Fields by event name. */
export type InvitationEventFields = {
  'invitation.opened': ForwardFields
  /** Open again after a restart of the gate. */
  'invitation.restored': ForwardFields
  /** Ended before its time. */
  'invitation.closed': ForwardFields & {
    readonly why: 'operator' | 'policy'
    /** Who ended it; empty: nobody in person. */
    readonly who: string
    /** What the policy has against it; empty: nothing. */
    readonly problem: string
    readonly cut: number
  }
  'invitation.expired': ForwardFields & { readonly cut: number }
  'invitation.refused': {
    readonly owner: string
    readonly code: string
    readonly problem: string
  }
  'invitation.file-failed': {
    readonly file: string
    readonly what: 'read' | 'write'
    readonly problem: string
  }
}
