// What the policy says of the dashboard.
import type { Endpoint } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'

/** The dashboard's own address. */
export type DashboardPolicy = {
  readonly endpoint: Endpoint
