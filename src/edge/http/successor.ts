// What takes a connection over after an upgrade, as far as the connection still has to know of it.
import type { Ending } from '../../journal/events.ts'

/** The successor of HTTP on a connection. */
export type Successor = {
  readonly bytesIn: number
  readonly bytesOut: number
  /** How it ended; null while nothing has ended it. */
  readonly ending: Ending | null
  /** What it is, for status. */
  readonly state: string
  /** The gate shuts down. */
  readonly drain: () => void
  /** Cuts it. */
  readonly cut: (ending: Ending) => void
}
