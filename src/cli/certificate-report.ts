// Looks at certificate files, with or without a running gate: what may be used, and what may not and why.
import { readdir } from 'node:fs/promises'
import type { CertificateState } from '../admin/status.ts'
import { findCertificateFiles, loadCertificate } from '../edge/certificate-files.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import type { Terminal } from './terminal.ts'

const DAY_MS = 86_400_000

/** A file that the gate does not use. */
export type CertificateProblem = { readonly name: string; readonly file: string; readonly problem: string }

/** What lies in the files. */
export type CertificateReport = {
  /** What a gate would load now. */
  readonly certificates: readonly CertificateState[]
  readonly problems: readonly CertificateProblem[]
}

/** Reads and checks the certificate files of every name. */
export async function inspectCertificates(snapshot: Snapshot, nowMs: number): Promise<CertificateReport> {
  const { certs } = snapshot.directories
  const entries = new Set(await readdir(certs).catch(() => []))
  const certificates: CertificateState[] = []
  const problems: CertificateProblem[] = []
  for (const name of snapshot.names) {
    const files = name.certificates ?? findCertificateFiles(certs, entries, name.host)
    for (const file of files) {
      const check = await loadCertificate(file, name.host, nowMs)
      if (!check.ok) {
        problems.push({ name: name.host, file: file.certFile, problem: check.problem })
        continue
      }
      const { certificate } = check
      certificates.push({
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
  return { certificates, problems }
}

/** `396 days left`, in the colour of its urgency. */
export function daysLeft({ validToMs }: CertificateState, nowMs: number, terminal: Terminal): string {
  if (validToMs <= nowMs) return terminal.tone('bad', 'ended')
  const days = Math.floor((validToMs - nowMs) / DAY_MS)
  const tone = days < 14 ? 'bad' : days < 30 ? 'warn' : 'good'
  return terminal.tone(tone, days === 0 ? 'ends today' : `${days} day${days === 1 ? '' : 's'} left`)
}
