// Certificates by name: loaded from files, validated before use, replaced while running, the last good one kept.
import { hash } from 'node:crypto'
import { watch, type FSWatcher } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Reporter } from '../journal/events.ts'
import type { Name, Profile, Snapshot } from '../policy/snapshot.ts'
import { certifiedHosts } from '../policy/streams.ts'
import {
  findCertificateFiles,
  loadCertificate,
  type CertificateFiles,
  type ValidCertificate,
} from './certificate-files.ts'
import type { DevAuthority } from './dev-authority.ts'
import { createTurns } from './turns.ts'

/** The certificates that serve one name, usually ECDSA and RSA side by side. A change makes a new object. */
export type CertificateSet = {
  readonly origin: 'configured' | 'directory' | 'development'
  readonly certificates: readonly ValidCertificate[]
  /** Changes exactly when one of the certificates or its chain does. */
  readonly fingerprint: string
}

/** State of one name, for status and diagnosis. */
export type CertificateState = {
  readonly name: string
  readonly set: CertificateSet | null
  /** Why the files as they are now cannot be used; the set in use may be older. */
  readonly problem: string | null
  readonly heldUntilMs: number | null
}

/** The certificates in use. */
export type Certificates = {
  /** Takes over the names of a snapshot and loads their certificates. */
  readonly apply: (snapshot: Snapshot) => Promise<void>
  /** Looks at the files again; also warns of certificates that end soon. */
  readonly reload: () => Promise<void>
  /** The set for a name entry (`Name.host`, wildcards as written). Cheap: asked at every handshake. */
  readonly forHost: (host: string) => CertificateSet | undefined
  readonly states: () => readonly CertificateState[]
  /** Starts to watch the files and to look at them every minute. */
  readonly watch: () => void
  readonly close: () => void
}

/** What the store needs from outside. */
export type CertificatesOptions = {
  readonly reporter: Reporter
  readonly nowMs: () => number
  /** Null: names without a certificate stay without one. */
  readonly development: DevAuthority | null
}

/** Time that agents which pin the certificate need to learn of a change before the next one. */
export const PIN_SPACING_MS = 120_000

const WARN_DAYS = [30, 14, 7, 1, 0] as const
const DAY_MS = 86_400_000
const LOOK_MS = 60_000
const SETTLE_MS = 300

/** What is to be known of a name: those of raw streams have no more than a certificate. */
type CertifiedName = Pick<Name, 'host' | 'certificates'> & {
  readonly profile: Pick<Profile, 'pinsCertificate' | 'product'>
}

type Entry = {
  name: CertifiedName
  set: CertificateSet | null
  changedMs: number | null
  heldUntilMs: number | null
  problems: ReadonlyMap<string, string>
}

/** Creates the store; it is empty until `apply`. */
export function createCertificates(options: CertificatesOptions): Certificates {
  const entries = new Map<string, Entry>()
  const warned = new Map<string, number>()
  const watchers = new Map<string, FSWatcher>()
  const inTurn = createTurns()
  let directory = ''
  let isWatching = false
  let looking: NodeJS.Timeout | undefined
  let settling: NodeJS.Timeout | undefined
  let releasing: NodeJS.Timeout | undefined

  const loadAll = async (): Promise<void> => {
    const listing = await listDirectory(directory)
    for (const entry of entries.values()) {
      const { reporter, nowMs } = options
      await loadEntry(entry, directory, listing, options)
      warnOfEnd(entry, warned, reporter, nowMs())
    }
    holdUntilDue()
    if (isWatching) watchDirectories()
  }

  /** A held change is looked at again when its time has come. */
  const holdUntilDue = (): void => {
    clearTimeout(releasing)
    let dueMs = Infinity
    for (const entry of entries.values()) dueMs = Math.min(dueMs, entry.heldUntilMs ?? Infinity)
    if (dueMs === Infinity) return
    releasing = setTimeout(lookAgain, Math.max(0, dueMs - options.nowMs()) + 1)
    releasing.unref()
  }

  const lookAgain = (): void => {
    inTurn(loadAll).catch(() => undefined)
  }

  const watchDirectories = (): void => {
    const wanted = new Set([directory])
    for (const { name } of entries.values()) {
      for (const { certFile, keyFile } of name.certificates ?? [])
        wanted.add(dirname(certFile)).add(dirname(keyFile))
    }
    for (const [path, watcher] of watchers) {
      if (wanted.has(path)) continue
      watcher.close()
      watchers.delete(path)
    }
    for (const path of wanted) {
      if (watchers.has(path)) continue
      try {
        const watcher = watch(path, { persistent: false }, () => {
          clearTimeout(settling)
          settling = setTimeout(lookAgain, SETTLE_MS)
          settling.unref()
        })
        // A directory that is replaced loses its watcher; the look every minute sets a new one.
        watcher.on('error', () => {
          watcher.close()
          watchers.delete(path)
        })
        watchers.set(path, watcher)
      } catch {
        // Not there yet: the look every minute finds it.
      }
    }
  }

  return {
    apply: snapshot =>
      inTurn(async () => {
        directory = snapshot.directories.certs
        const hosts = certifiedHosts(snapshot)
        for (const host of entries.keys()) if (!hosts.has(host)) entries.delete(host)
        for (const host of hosts) {
          const name = snapshot.names.find(entry => entry.host === host) ?? streamName(host)
          const entry = entries.get(name.host)
          if (entry === undefined)
            entries.set(name.host, {
              name,
              set: null,
              changedMs: null,
              heldUntilMs: null,
              problems: new Map(),
            })
          else entry.name = name
        }
        await loadAll()
      }),
    reload: () => inTurn(loadAll),
    forHost: host => entries.get(host)?.set ?? undefined,
    states: () =>
      [...entries.values()].map(({ name, set, problems, heldUntilMs }) => ({
        name: name.host,
        set,
        problem:
          problems.size === 0 ? null : [...problems].map(([file, text]) => `${file}: ${text}`).join('; '),
        heldUntilMs,
      })),
    watch: () => {
      if (isWatching) return
      isWatching = true
      looking = setInterval(lookAgain, LOOK_MS)
      looking.unref()
      watchDirectories()
    },
    close: () => {
      isWatching = false
      clearInterval(looking)
      clearTimeout(settling)
      clearTimeout(releasing)
      for (const watcher of watchers.values()) watcher.close()
      watchers.clear()
    },
  }
}

function streamName(host: string): CertifiedName {
  return { host, certificates: null, profile: { pinsCertificate: false, product: '' } }
}

async function listDirectory(directory: string): Promise<ReadonlySet<string>> {
  try {
    return new Set(await readdir(directory))
  } catch {
    return new Set()
  }
}

async function loadEntry(
  entry: Entry,
  directory: string,
  listing: ReadonlySet<string>,
  { reporter, nowMs, development }: CertificatesOptions,
): Promise<void> {
  const { name } = entry
  const problems = new Map<string, string>()
  let origin: CertificateSet['origin'] = name.certificates === null ? 'directory' : 'configured'
  let files: readonly CertificateFiles[] =
    name.certificates ?? findCertificateFiles(directory, listing, name.host)
  if (files.length === 0) {
    if (entry.set !== null && entry.set.origin !== 'development') {
      problems.set(directory, 'the files are gone; the certificate that was loaded from them stays in use')
    } else if (development === null) {
      problems.set(directory, `there is no ${name.host.replaceAll('*', '_')}.crt`)
    } else {
      origin = 'development'
      try {
        files = await development.filesFor(name.host)
      } catch (error) {
        problems.set(directory, `no development certificate could be made: ${String(error)}`)
      }
    }
  }
  const certificates = await loadFiles(entry, files, problems, nowMs())
  for (const [file, problem] of problems) {
    if (entry.problems.get(file) !== problem)
      reporter.report('certificate.rejected', { name: name.host, file, problem })
  }
  entry.problems = problems
  if (certificates.length > 0) adopt(entry, origin, certificates, reporter, nowMs())
}

/** Loads each pair; a pair that is bad now keeps its last good certificate. */
async function loadFiles(
  entry: Entry,
  files: readonly CertificateFiles[],
  problems: Map<string, string>,
  nowMs: number,
): Promise<readonly ValidCertificate[]> {
  const usable: ValidCertificate[] = []
  for (const pair of files) {
    const check = await loadCertificate(pair, entry.name.host, nowMs)
    const last = entry.set?.certificates.find(({ certFile }) => certFile === pair.certFile)
    if (!check.ok) {
      problems.set(pair.certFile, check.problem)
      if (last !== undefined) usable.push(last)
    } else if (check.certificate.validToMs <= nowMs) {
      problems.set(
        pair.certFile,
        `it ended on ${new Date(check.certificate.validToMs).toISOString().slice(0, 10)}`,
      )
      // Better an ended certificate than none: clients that pin or do not check still get in, and the rest would fail anyway.
      usable.push(last ?? check.certificate)
    } else usable.push(check.certificate)
  }
  return usable
}

function adopt(
  entry: Entry,
  origin: CertificateSet['origin'],
  certificates: readonly ValidCertificate[],
  reporter: Reporter,
  nowMs: number,
): void {
  const { name } = entry
  // The text has the chain as well: whoever adds a forgotten intermediate certificate wants it served.
  const fingerprint = certificates
    .map(({ fingerprint: own, cert }) => `${own} ${hash('sha256', cert)}`)
    .join(' ')
  const prints = new Set(entry.set?.certificates.map(certificate => certificate.fingerprint))
  const isSame =
    prints.size === certificates.length &&
    certificates.every(certificate => prints.has(certificate.fingerprint))
  const isReplacement = entry.set !== null && !isSame
  if (entry.set?.fingerprint === fingerprint) {
    entry.heldUntilMs = null
    return
  }
  if (isReplacement && name.profile.pinsCertificate && entry.changedMs !== null) {
    const untilMs = entry.changedMs + PIN_SPACING_MS
    if (nowMs < untilMs) {
      if (entry.heldUntilMs === null) {
        const why = `agents of ${name.profile.product} pin the certificate and need two minutes between changes`
        reporter.report('certificate.held', { name: name.host, untilMs, why })
      }
      entry.heldUntilMs = untilMs
      return
    }
  }
  entry.set = { origin, certificates, fingerprint }
  entry.heldUntilMs = null
  if (isReplacement) entry.changedMs = nowMs
  for (const { fingerprint: print, subject, validToMs, keyType } of certificates) {
    if (!prints.has(print))
      reporter.report('certificate.loaded', { name: name.host, subject, validToMs, keyType })
  }
}

function warnOfEnd(entry: Entry, warned: Map<string, number>, reporter: Reporter, nowMs: number): void {
  for (const { fingerprint, validToMs } of entry.set?.certificates ?? []) {
    const daysLeft = Math.floor((validToMs - nowMs) / DAY_MS)
    const step = WARN_DAYS.findLast(days => daysLeft <= days)
    const key = `${entry.name.host} ${fingerprint}`
    if (step === undefined) warned.delete(key)
    else if (warned.get(key) !== step) {
      warned.set(key, step)
      reporter.report('certificate.expiring', { name: entry.name.host, validToMs, daysLeft })
    }
  }
}
