// PURE: hand-made TLS alerts, sent in place of a ServerHello so that the client's own log says why.
import { TLS_ALERTS, type TlsAlert } from '../policy/reason-definition.ts'

/**
 * The record of one fatal alert (RFC 8446 section 6), in the version that the client put into its hello.
 * @param clientVersion two-byte version code of the ClientHello; anything outside SSL 3.0 to TLS 1.2 is brought into that range
 */
export function tlsAlertRecord(alert: TlsAlert, clientVersion: number): Uint8Array {
  const minor = Math.min(Math.max(clientVersion, 0x0300), 0x0303) & 0xff
  return Uint8Array.of(21, 3, minor, 0, 2, 2, TLS_ALERTS[alert])
}
