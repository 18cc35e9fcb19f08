// Why an agent's attempt failed, in a closed vocabulary, and whether a .NET agent would try its secondary server for it.

/** Why an attempt failed. `alert:...` names the TLS alert that the other side sent (RFC 8446 section 6). */
export type AttemptFailure =
  | 'refused'
  | 'unreachable'
  | 'reset'
  | 'timeout'
  | 'certificate'
  | 'tls'
  | 'bad-answer'
  | `alert:${string}`
  | `http:${number}`
  | `other:${string}`

const BY_CODE: Readonly<Record<string, AttemptFailure>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ECONNABORTED: 'reset',
  HPE_INVALID_CONSTANT: 'bad-answer',
  ETIMEDOUT: 'timeout',
  ABORT_ERR: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ENOTFOUND: 'unreachable',
  EAI_AGAIN: 'unreachable',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'certificate',
  SELF_SIGNED_CERT_IN_CHAIN: 'certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'certificate',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'certificate',
  CERT_HAS_EXPIRED: 'certificate',
  CERT_NOT_YET_VALID: 'certificate',
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate',
}

/** Names the failure behind an error of a socket, a handshake or a request. */
export function failureOf(error: unknown): AttemptFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const known = BY_CODE[code]
  if (known !== undefined) return known
  // OpenSSL names received alerts so: ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION, ERR_SSL_TLSV1_UNRECOGNIZED_NAME.
  const alert = /^ERR_SSL_(?:SSL\/TLS|SSLV3|TLSV1|TLSV13)_(?:ALERT_)?([A-Z_]+)$/.exec(code)?.[1]
  if (alert !== undefined) return `alert:${alert.toLowerCase()}`
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_')) return 'tls'
  return `other:${code === '' ? String(error).slice(0, 80) : code}`
}

/**
 * Whether the agent goes on to its secondary server. An HTTP answer of any kind is an answer: the server is there. Only a failing
 * connection makes an agent change servers.
 */
export function failsOver(failure: AttemptFailure): boolean {
  return !failure.startsWith('http:') && failure !== 'bad-answer'
}
