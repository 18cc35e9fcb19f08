// What a peer of the comparison is: a way to start it in front of the bench's upstream, with the same certificate and the same work.

/** Where a peer runs and what it finds there. */
export type Stage = {
  /** Own empty directory of this start. */
  readonly dir: string
  /** Port to listen on, on PROXY_ADDRESS or every address. */
  readonly port: number
  readonly upstream: { readonly host: string; readonly port: number }
  readonly certFile: string
  readonly keyFile: string
  /** Country database that every peer with GeoIP uses. */
  readonly geoFile: string
  readonly homeCountry: string
}

/** The command that runs the peer in the foreground. */
export type Launch = {
  readonly argv: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** A program that the bench compares. */
export type Peer = {
  readonly id: string
  /** One line: what it does of the work. */
  readonly work: string
  /** What it must refuse; checked before it is measured, so that nobody wins by not working. */
  readonly refuses: { readonly foreignCountry: boolean; readonly attack: boolean }
  /** Version as the program prints it; undefined: not installed, or not usable here. */
  readonly version: () => string | undefined
  /** Writes its configuration into `stage.dir`. */
  readonly prepare: (stage: Stage) => Promise<Launch> | Launch
  /** Takes part only in the rows that ask what rules cost. */
  readonly rulesOnly?: boolean
  /** Rows that it cannot take part in, with the reason. */
  readonly leavesOut?: Readonly<Record<string, string>>
}
