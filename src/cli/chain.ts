// Whether a certificate file holds the whole chain: one without its intermediate works in browsers and on Windows, and nowhere else.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'

const MAX_FILE_BYTES = 1 << 20

/**
 * Issuer of a certificate that stands alone in its file although an intermediate authority signed it; null: nothing is missing, or
 * nobody can tell. Public authorities say where their own certificate lies (RFC 5280, section 4.2.2.1) and never sign with the root.
 */
export function missingIntermediate(file: string): string | null {
  try {
    const text = readFileSync(file, 'latin1')
    if (text.length > MAX_FILE_BYTES || (text.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0) !== 1)
      return null
    const { issuer, subject, infoAccess } = new X509Certificate(text)
    if (issuer === subject || infoAccess?.includes('CA Issuers') !== true) return null
    return /(?:^|\n)CN=(.+)/.exec(issuer)?.[1] ?? issuer.replaceAll('\n', ', ')
  } catch {
    return null
  }
}
