// What a policy says of connectors: which client counts as which, what proves that it is the same one, and how many may attach.
import type { SourceLine } from './source-line.ts'

/** A service of an attached client, as policies name it. */
export type ConnectorVia = {
  /** Name in the policy. */
  readonly connector: string
  /** Name that the client gives itself, and name of the gateway key that it must have attached with. */
  readonly client: string
  readonly key: string
  readonly service: string
}

/** What the gate wants of identities: `off` nothing, `pin` the same one again, `require` one from every client. */
export type IdentityMode = 'off' | 'pin' | 'require'

/** Why an identity was refused. */
export type IdentityRefusal = 'policy' | 'missing' | 'invalid' | 'other' | 'attached'

/** An identity in writing: the kind of the key, and the public key in base64url. */
export const IDENTITY_TEXT = /^ed25519\/[A-Za-z0-9_-]{43}$/

/** A connector that the policy knows. */
export type KnownConnector = {
  readonly name: string
  readonly client: string
  readonly key: string
  /** The one identity that it may attach with; null: whatever `identity` of the gateway says. */
  readonly identity: string | null
  readonly at: SourceLine
}

/** Connectors that upstreams may go through, and how many connections may attach. */
export type GatewayPolicy = {
  readonly connectors: ReadonlyMap<string, KnownConnector>
  readonly identity: IdentityMode
  readonly attachments: number
  readonly attachmentsPerSource: number
}
