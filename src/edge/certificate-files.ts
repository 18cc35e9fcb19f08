// Finds, reads and validates certificate files before anything uses them.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'

/** Files of one certificate chain and its key, both PEM. */
export type CertificateFiles = { readonly certFile: string; readonly keyFile: string }

/** One certificate that may be used: its key matches, it covers the name, and the TLS library takes it. */
export type ValidCertificate = CertificateFiles & {
  readonly cert: string
  readonly key: string
  readonly fingerprint: string
  readonly subject: string
  readonly validToMs: number
  /** `ec`, `rsa`, `ed25519`. */
  readonly keyType: string
}

/** A certificate, or why it must not be used. */
export type CertificateCheck =
  | { readonly ok: true; readonly certificate: ValidCertificate }
  | { readonly ok: false; readonly problem: string }

const MAX_FILE_BYTES = 1 << 20
const SUFFIXES = ['', '.ecdsa', '.rsa'] as const

/**
 * The files in `directory` that belong to a host: `<host>.crt` and `.key`, beside them `<host>.ecdsa.crt` and `<host>.rsa.crt`.
 * A `*` is written as `_`; a host without files of its own uses those of its wildcard (`_.example.com.crt`).
 * @param entries names of the files in the directory
 */
export function findCertificateFiles(
  directory: string,
  entries: ReadonlySet<string>,
  host: string,
): readonly CertificateFiles[] {
  const dot = host.indexOf('.')
  const bases = [host.replaceAll('*', '_'), ...(dot > 0 ? [`_${host.slice(dot)}`] : [])]
  for (const base of bases) {
    const found = SUFFIXES.filter(suffix => entries.has(`${base}${suffix}.crt`))
    if (found.length > 0) {
      return found.map(suffix => ({
        certFile: join(directory, `${base}${suffix}.crt`),
        keyFile: join(directory, `${base}${suffix}.key`),
      }))
    }
  }
  return []
}

/**
 * Reads and validates one certificate. An expired one passes here: whether it is better than nothing is for the caller to say.
 * @param host the name that it must cover; a wildcard name must be covered as a wildcard
 */
export async function loadCertificate(
  files: CertificateFiles,
  host: string,
  nowMs: number,
): Promise<CertificateCheck> {
  let cert: string
  let key: string
  try {
    cert = await readBounded(files.certFile)
    key = await readBounded(files.keyFile)
  } catch (error) {
    return refuse(`cannot be read: ${messageOf(error)}`)
  }
  try {
    const parsed = new X509Certificate(cert)
    const privateKey = createPrivateKey(key)
    if (!parsed.checkPrivateKey(privateKey))
      return refuse(`the key in ${files.keyFile} is for another certificate`)
    if (!covers(parsed, host))
      return refuse(`it does not cover ${host}, only ${parsed.subjectAltName ?? 'nothing'}`)
    if (Date.parse(parsed.validFrom) > nowMs) return refuse(`it is not valid before ${parsed.validFrom}`)
    // The TLS library has the last word, for example on keys that are too short.
    createSecureContext({ cert, key })
    return {
      ok: true,
      certificate: {
        ...files,
        cert,
        key,
        fingerprint: parsed.fingerprint256,
        subject: parsed.subject.replaceAll('\n', ', '),
        validToMs: Date.parse(parsed.validTo),
        keyType: parsed.publicKey.asymmetricKeyType ?? 'unknown',
      },
    }
  } catch (error) {
    return refuse(messageOf(error))
  }
}

function covers(certificate: X509Certificate, host: string): boolean {
  if (isIP(host) !== 0) return certificate.checkIP(host) !== undefined
  // Any label stands for all that a wildcard must match.
  const sample = host.startsWith('*.') ? `any-label${host.slice(1)}` : host
  return certificate.checkHost(sample, { subject: 'never' }) !== undefined
}

async function readBounded(file: string): Promise<string> {
  const text = await readFile(file, 'latin1')
  if (text.length > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`)
  return text
}

function refuse(problem: string): CertificateCheck {
  return { ok: false, problem }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
