// Fields of the events about clients with a good key: who a name belongs to, and who breaks the protocol; catalogue/client-identity.ts has their words.
import type { IdentityRefusal } from '../policy/gateway-policy.ts'

type Who = {
  readonly client: string
  /** Name of the gateway key. */
  readonly key: string
  readonly publicAddress: string
}

/** Fields by event name. */
export type ClientIdentityEventFields = {
  'client.identity-pinned': Who & { readonly identity: string }
  /** Another identity than before, for a name whose identity had not proven to last. */
  'client.identity-changed': Who & { readonly identity: string }
  /** Let in, and the name does not belong to anybody. */
  'client.identity-unpinned': Who & { readonly why: 'unproven' | 'full' }
  'client.identity-refused': Who & {
    readonly realAddress: string
    /** Shown and proven; null: none. */
    readonly identity: string | null
    /** What the name belongs to; null: to nobody, and the policy wants an identity from everybody. */
    readonly pinned: string | null
    readonly why: IdentityRefusal
  }
  'client.identity-forgotten': { readonly client: string; readonly key: string; readonly identity: string }
  /** A client with a good key broke the protocol of the tunnel, or flooded. */
  'client.protocol-broken': Who & { readonly why: string }
  /** The file of identities cannot be used as it should. */
  'client.identities-trouble': { readonly file: string; readonly problem: string }
}
