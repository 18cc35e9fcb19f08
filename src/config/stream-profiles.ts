// Stream profiles: loading them, and what a product's version leaves of their ports.
import type { StreamKind, StreamListener } from '../policy/streams.ts'
import type { Disk } from './compile.ts'
import type { Findings, Reporter } from './context.ts'
import type { Path } from './read.ts'
import { compareReleases } from './scalars-streams.ts'
import { streamProfileFile, type WrittenStream, type WrittenStreamProfile } from './schema-streams.ts'
import { suggestion } from './spelling.ts'
import { validate } from './validate.ts'

/** A stream profile in use. */
export type LoadedStreamProfile = WrittenStreamProfile & { readonly kind: StreamKind }

const FOLDER = 'streams'

/** Reads a stream profile; undefined when there is none of that name, or it is not valid (both are reported). */
export function loadStreamProfile(
  id: string,
  path: Path,
  disk: Pick<Disk, 'list' | 'yaml'>,
  findings: Findings,
  report: Reporter,
): LoadedStreamProfile | undefined {
  const files = disk.list(FOLDER)
  const ids = files.map(name => name.replace(/\.ya?ml$/, ''))
  const file = files[ids.indexOf(id)]
  if (file === undefined) {
    report.error(
      path,
      `there is no stream profile ${JSON.stringify(id)}`,
      suggestion(id, ids) ?? 'stream profiles are files in streams/',
    )
    return undefined
  }
  const source = disk.yaml(`${FOLDER}/${file}`)
  if (source === null) return undefined
  const validated = validate(streamProfileFile, source)
  findings.problems.push(...validated.problems)
  return validated.value ?? undefined
}

/** Ports that a profile gives a stream. */
export type ProfilePorts = {
  readonly ports: readonly number[]
  /** Ports for trusted addresses only, with the reason. */
  readonly internalPorts: ReadonlyMap<number, string>
}

/** Applies a profile to a stream: its ports for the version, and what the product cannot do through a gate. */
export function applyProfile(
  entry: WrittenStream,
  profile: LoadedStreamProfile | undefined,
  path: Path,
  report: Reporter,
): ProfilePorts {
  if (profile === undefined) {
    for (const key of ['version', 'without', 'notifications'] as const)
      if (entry[key] !== undefined && entry.profile === undefined)
        report.error([...path, key], `${key} belongs to a profile`, 'name the product: profile: supportworks')
    return { ports: [], internalPorts: new Map() }
  }
  const { version } = entry
  const needsVersion = profile.ports.some(port => port.since !== undefined || port.until !== undefined)
  if (needsVersion && version === undefined) {
    report.error(
      path,
      `${profile.product} needs its version: the ports depend on it`,
      'for example version: "7.5"',
    )
  }
  if (!needsVersion && version !== undefined)
    report.warn([...path, 'version'], `the ports of ${profile.product} do not depend on its version`)
  const known = profile.ports.filter(port => has(port, version))
  for (const [index, port] of (entry.without ?? []).entries()) {
    if (!profile.ports.some(other => other.port === port))
      report.error(
        [...path, 'without', ...((entry.without ?? []).length > 1 ? [index] : [])],
        `${profile.product} has no port ${port}`,
      )
  }
  const open = known.filter(({ port }) => entry.without?.includes(port) !== true)
  warnForeignPorts(entry, profile, path, report)
  checkNotifications(entry, profile, path, report)
  return {
    ports: [...new Set(open.map(({ port }) => port))],
    internalPorts: new Map(
      profile.ports.flatMap(({ port, internal }) =>
        internal === undefined ? [] : [[port, internal] as const],
      ),
    ),
  }
}

type ProfilePort = WrittenStreamProfile['ports'][number]

function has({ since, until }: ProfilePort, version: string | undefined): boolean {
  if (version === undefined) return since === undefined && until === undefined
  return (
    (since === undefined || compareReleases(version, since) >= 0) &&
    (until === undefined || compareReleases(version, until) <= 0)
  )
}

function warnForeignPorts(
  { address, version }: WrittenStream,
  profile: LoadedStreamProfile,
  path: Path,
  report: Reporter,
): void {
  for (const { ports: range } of address) {
    if (range === null || version === undefined) continue
    for (const port of profile.ports) {
      if (port.port < range.first || port.port > range.last) continue
      const again = profile.ports.some(other => other.port === port.port && has(other, version))
      if (again) continue
      const when = port.until === undefined ? `from ${port.since ?? ''} on` : `up to ${port.until} only`
      report.warn(
        [...path, 'address'],
        `${profile.product} ${version} does not use port ${port.port} (${port.for}): versions ${when} do`,
        'leave it closed',
      )
    }
  }
}

function checkNotifications(
  entry: WrittenStream,
  { product, udpNotifications: udp }: LoadedStreamProfile,
  path: Path,
  report: Reporter,
): void {
  const { notifications, version } = entry
  if (udp === undefined) {
    if (notifications !== undefined)
      report.error([...path, 'notifications'], `${product} has no choice of notifications`)
    return
  }
  if (notifications === 'udp') {
    const removed = version !== undefined && compareReleases(version, udp.until) > 0
    report.error(
      [...path, 'notifications'],
      removed
        ? `${product} ${version} has no notifications over UDP: ${udp.until} was the last version with them`
        : `notifications over UDP cannot pass the gate: the server sends them to the address that the client came from, which is the gate`,
      udp.advice,
    )
  }
  if (notifications === undefined && version !== undefined && compareReleases(version, udp.usualBefore) < 0) {
    report.warn(
      [...path, 'version'],
      `${product} before ${udp.usualBefore} sends notifications over UDP unless told otherwise, and they cannot pass the gate`,
      `${udp.advice}; then write notifications: tcp`,
    )
  }
}

/** What a stream has to know of notifications over UDP: nothing when the version in use has none. */
export function udpNotificationsOf(
  { version }: WrittenStream,
  profile: LoadedStreamProfile | undefined,
): Pick<StreamListener, 'udpNotifications'> {
  const udp = profile?.udpNotifications
  if (udp === undefined || (version !== undefined && compareReleases(version, udp.until) > 0)) return {}
  return { udpNotifications: { port: udp.port, advice: udp.advice } }
}
