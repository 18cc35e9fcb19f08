// What a policy says of connectors: which client counts as which, and how many may attach.
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

/** Connectors that upstreams may go through, and how many connections may attach. */
export type GatewayPolicy = {
  readonly connectors: ReadonlyMap<
    string,
    { readonly name: string; readonly client: string; readonly key: string; readonly at: SourceLine }
  >
  readonly attachments: number
  readonly attachmentsPerSource: number
}
