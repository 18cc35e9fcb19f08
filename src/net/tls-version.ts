// TLS protocol versions: names as admins write them, wire codes, and order.

/** TLS versions that can be named in a policy, weakest first. */
export const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

/** A TLS version by the name that OpenSSL, Node and administrators use. */
export type TlsVersion = (typeof TLS_VERSIONS)[number]

const BY_CODE: Readonly<Record<number, TlsVersion>> = {
  0x0301: 'TLSv1',
  0x0302: 'TLSv1.1',
  0x0303: 'TLSv1.2',
  0x0304: 'TLSv1.3',
}

/** The version for a two-byte wire code; undefined for SSL 3.0, GREASE and anything unknown. */
export function tlsVersionFromCode(code: number): TlsVersion | undefined {
  return BY_CODE[code]
}

/** Order of a version: 0 is TLS 1.0, 3 is TLS 1.3. */
export function tlsRank(version: TlsVersion): number {
  return TLS_VERSIONS.indexOf(version)
}

/** The strongest of the given versions; undefined for an empty list. */
export function strongestTls(versions: readonly TlsVersion[]): TlsVersion | undefined {
  let best: TlsVersion | undefined
  for (const version of versions) if (best === undefined || tlsRank(version) > tlsRank(best)) best = version
  return best
}
