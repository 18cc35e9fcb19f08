// What the policy says of the dashboard.
import type { Endpoint } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'

/** The dashboard's own address. */
export type DashboardPolicy = {
  readonly endpoint: Endpoint
  /** Host names that it answers to, beside addresses and `localhost`; lower case. */
  readonly names: readonly string[]
  /** Files of certificate chain and key (PEM), absolute; null: found by name in certs/, or made for development. */
  readonly certificate: { readonly certFile: string; readonly keyFile: string } | null
  readonly at: SourceLine
}
