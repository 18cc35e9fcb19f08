// Looks at certificate files without a running gate.
import { readdir } from 'node:fs/promises'
import type { CertificateState } from '../admin/status.ts'
import { findCertificateFiles, loadCertificate } from '../edge/certificate-files.ts'
import type { Snapshot } from '../policy/snapshot.ts'

/** State of the certificates that a gate would load now; names without usable files are left out. */
export async function inspectCertificates(
  snapshot: Snapshot,
  nowMs: number,
): Promise<readonly CertificateState[]> {
  const { certs } = snapshot.directories
  const entries = new Set(await readdir(certs).catch(() => []))
  const states: CertificateState[] = []
  for (const name of snapshot.names) {
    const files = name.certificates ?? findCertificateFiles(certs, entries, name.host)
    for (const file of files) {
      const check = await loadCertificate(file, name.host, nowMs)
      if (!check.ok) continue
      const { certificate } = check
      states.push({
        name: name.host,
        subject: certificate.subject,
        keyType: certificate.keyType,
        validToMs: certificate.validToMs,
        sha256: certificate.fingerprint,
        file: certificate.certFile,
        development: false,
      })
    }
  }
  return states
}
