// What the policy says of the dashboard.
import type { ConnectorVia } from './gateway-policy.ts'
import type { OnlyFrom } from './only-from.ts'
import type { ClassPolicy, Endpoint } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'

/** The dashboard's own address. */
export type DashboardPolicy = {
  readonly endpoint: Endpoint
  /** Host names that it answers to, beside addresses and `localhost`; lower case. */
  readonly names: readonly string[]
  /** Files of certificate chain and key (PEM), absolute; null: found by name in certs/, or made for development. */
  readonly certificate: { readonly certFile: string; readonly keyFile: string } | null
  /** Host name of the gate's own listeners at which it is served, too, and to whom; null: at none. */
  readonly published: (Pick<OnlyFrom, 'sites' | 'ranges'> & { readonly host: string }) | null
  readonly at: SourceLine
}

/** A name of the gate's listeners that serves the dashboard. */
export type PublishedDashboard = {
  /** Nobody else learns that the name is served. */
  readonly onlyFrom: OnlyFrom
  /** Holds instead of the policy of the class. */
  readonly policy: ClassPolicy
}

/** The way to the dashboard within the gate. No gateway key has an empty name: no connector can stand in for it. */
export const DASHBOARD_VIA: ConnectorVia = {
  connector: 'this-gate',
  client: '',
  key: '',
  service: 'dashboard',
}
