// Compiles a validated policy and the files that it names into a snapshot: the only maker of snapshots.
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { TrafficClass } from '../policy/classes.ts'
import type { ClassLimits, HealthProbe, Profile, Snapshot } from '../policy/snapshot.ts'
import { advise, type CertificateFile } from './advise.ts'
import { adviseStreams } from './advise-streams.ts'
import { compileClasses, widerLimits } from './compile-classes.ts'
import { checkEndpoints, compileDashboard, compileListeners, compileNames } from './compile-edge.ts'
import { compileGateway } from './compile-gateway.ts'
import { compilePublished } from './compile-dashboard.ts'
import { compileHeartbeats } from './compile-heartbeats.ts'
import { compileInvitations } from './compile-invitations.ts'
import { compileProfile, type CompiledProfile } from './compile-profile.ts'
import {
  compileAllows,
  compileBans,
  compileGeo,
  compileSites,
  compileTrusted,
  siteTrie,
} from './compile-sources.ts'
import { compileStreams } from './compile-streams.ts'
import { compileTrials } from './compile-trial.ts'
import { compileUpstreams } from './compile-upstreams.ts'
import { reporter, type Findings, type Reporter } from './context.ts'
import { builtInLimits, builtInProbe, byClass, tlsProfiles } from './defaults.ts'
import { readWhole } from './files.ts'
import { valueAt } from './issues.ts'
import { loadRules } from './load-rules.ts'
import type { YamlSource } from './read.ts'
import { policyFile, type WrittenPolicy } from './schema.ts'
import { profileFile } from './schema-profile.ts'
import { suggestion } from './spelling.ts'
import { loadStreamProfile } from './stream-profiles.ts'
import { validate } from './validate.ts'

/** What the compiler reads besides the policy file; everything read goes into the snapshot's digest. */
export type Disk = {
  /** A YAML file of the policy directory; null when it is unusable (reported). */
  readonly yaml: (name: string) => YamlSource | null
  /** How messages name a file of the policy directory. */
  readonly shown: (name: string) => string
  /** YAML files in a folder of the policy directory. */
  readonly list: (folder: string) => readonly string[]
  /** Any file of the policy directory, for what is neither YAML nor UTF-8. */
  readonly bytes: (
    path: string,
  ) => { readonly bytes: Uint8Array } | { readonly problem: string; readonly missing: boolean }
  readonly text: (path: string) => { readonly text: string } | { readonly problem: string }
}

/** Circumstances of a compilation. */
export type CompileOptions = {
  readonly directory: string
  readonly nowMs: number
  readonly stateDir: string | null
  /** True: nothing but questions will be asked of the snapshot; see `LoadOptions`. */
  readonly forReading: boolean
  readonly findings: Findings
}

/** Compiles a policy file; null when it cannot be. The caller fills in `id` and `files`. */
export function compilePolicy(source: YamlSource, disk: Disk, options: CompileOptions): Snapshot | null {
  const { findings, nowMs } = options
  const profileIds = disk.list('profiles').map(name => name.replace(/\.ya?ml$/, ''))
  const validated = validate(policyFile, source, {
    version: 1,
    home: ['US'],
    model: 'all-traffic',
    profile: profileIds[0] ?? 'none',
    listeners: {},
    names: {},
    upstreams: {},
  })
  findings.problems.push(...validated.problems)
  const written = validated.value
  if (written === null) return null
  const stated = (path: readonly (string | number)[]): boolean => valueAt(source.value, path) !== undefined
  const whole = reporter(findings, source.lines, validated.at)
  // After schema problems some top-level keys are placeholders: nothing can be said against those.
  const report: Reporter = {
    ...whole,
    error: (path, message, hint) => {
      if (validated.problems.length === 0 || stated(path.slice(0, 1))) whole.error(path, message, hint)
    },
  }
  for (const [key, one, example] of [
    ['listeners', 'listener', 'https: { address: "0.0.0.0:8443" }'],
    ['names', 'name', 'rmm.example.com: { upstream: rmm }'],
  ] as const) {
    if (keysOf(source, key).length === 0) report.error([key], `there is no ${one}`, `for example ${example}`)
  }
  const profiles = loadProfiles(written, profileIds, disk, findings, report)
  const general = profiles.get(written.profile)
  const home = { value: new Set(written.home), at: report.at(['home']) }
  const model = { value: written.model, at: report.at(['model']) }
  const classes = compileClasses(
    { model, home, limits: limitsOf([...profiles.values()]) },
    written.classes,
    report,
  )
  const sites = compileSites(written.sites, classes, home.value, nowMs, report)
  const directories = {
    policy: options.directory,
    certs: resolve(options.directory, written.directories.certs),
    geoip: resolve(options.directory, written.directories.geoip),
    state: options.stateDir ?? resolve(options.directory, written.directories.state),
  }
  const gateway = compileGateway(written.gateway, report)
  const upstreams = compileUpstreams(
    written.upstreams,
    gateway,
    probesOf(written, profiles),
    general?.profile.health ?? builtInProbe,
    path => disk.text(resolve(directories.certs, path)),
    report,
  )
  const certificateFile = (path: string): { readonly path: string; readonly exists: boolean } => {
    const full = resolve(directories.certs, path)
    return { path: full, exists: existsSync(full) }
  }
  const names = compileNames(
    written.names,
    {
      upstreamIds: stated(['upstreams']) ? keysOf(source, 'upstreams') : null,
      profileOf: host => profileOf(written, profiles, host),
      classes,
      certificateFile,
    },
    report,
  )
  const streams = compileStreams(
    written,
    {
      profileOf: (id, path) => loadStreamProfile(id, path, disk, findings, report),
      listenerIds: keysOf(source, 'listeners'),
      readText: path => disk.text(resolve(directories.certs, path)),
      gateway,
    },
    report,
  )
  checkEndpoints(written, upstreams, streams, report)
  const heartbeats = compileHeartbeats(written, gateway, classes, general?.heartbeatEveryMs ?? null, report)
  const places = {
    siteIds: keysOf(source, 'sites'),
    listenerIds: [...keysOf(source, 'listeners'), ...keysOf(source, 'streams')],
  }
  const published = compilePublished(
    written.dashboard,
    {
      hosts: keysOf(source, 'names'),
      upstreamIds: keysOf(source, 'upstreams'),
      siteIds: places.siteIds,
      sites: written.sites,
      streams,
      console: classes.get('console'),
    },
    report,
  )
  const rules = loadRules(
    written.rules,
    disk,
    {
      usualPacks: [...profiles.values()].flatMap(({ profile, packsAt }) =>
        profile.packs.map((pack, index) => ({ pack, at: packsAt(index) })),
      ),
      products: [...profiles.keys()],
      ...places,
      nowMs,
      forReading: options.forReading,
    },
    findings,
    report,
  )
  const snapshot: Snapshot = {
    id: '',
    files: [],
    loadedMs: nowMs,
    model,
    home,
    listeners: compileListeners(written.listeners, keysOf(source, 'names'), report),
    heartbeats,
    streams,
    invitations: compileInvitations(written, { streams, heartbeats }, classes, report),
    names: published === null ? names : [...names, published.name],
    upstreams:
      published === null ? upstreams : new Map([...upstreams, [published.group.id, published.group]]),
    gateway,
    classes,
    sites,
    siteByAddress: siteTrie(sites),
    trusted: compileTrusted(written.trusted, report),
    allow: compileAllows(written.allow, nowMs, report),
    ban: compileBans(
      written.bans,
      sites,
      written.trusted.map(entry => entry.address),
      nowMs,
      report,
    ),
    geo: compileGeo(written.geo, classes, sites, stated, report),
    trials: compileTrials(
      written.trial,
      {
        siteIds: places.siteIds,
        listenerIds: [...places.listenerIds, ...keysOf(source, 'heartbeats')],
        isList: Array.isArray(valueAt(source.value, ['trial'])),
        classes,
        nowMs,
      },
      report,
    ),
    tlsProfiles: tlsProfiles(),
    limits: gateLimits(written.limits),
    journal: {
      log: written.journal.log,
      logDir: resolve(options.directory, written.journal.directory ?? join(directories.state, 'log')),
      logMaxBytes: written.journal.fileSize,
      logFiles: written.journal.files,
      requests: written.journal.requests,
      eventDays: written.journal.eventDays,
      ledgerDays: written.journal.ledgerDays,
      maxStoreBytes: written.journal.storeSize,
    },
    rules,
    admin: { endpoint: written.admin.address, at: report.at(['admin', 'address']) },
    dashboard: compileDashboard(written.dashboard, certificateFile, report),
    deployment: { direct: written.deployment.direct ?? null, egress: written.deployment.egress },
    directories,
  }
  if (findings.problems.length === 0) {
    adviseStreams(streams, classes, report)
    advise(written, snapshot, certificateFiles(directories.certs, snapshot), report)
  }
  return snapshot
}

// Names as the file has them, including those whose value is unusable: a reference to them is not wrong.
function keysOf(source: YamlSource, key: string): readonly string[] {
  const block = valueAt(source.value, [key])
  return typeof block === 'object' && block !== null && !Array.isArray(block) ? Object.keys(block) : []
}

type LoadedProfile = CompiledProfile & {
  readonly packsAt: (index: number) => Snapshot['admin']['at']
  /** How often agents send heartbeats over UDP; null: it is not stated. */
  readonly heartbeatEveryMs: number | null
}

function loadProfiles(
  written: WrittenPolicy,
  profileIds: readonly string[],
  disk: Disk,
  findings: Findings,
  report: Reporter,
): ReadonlyMap<string, LoadedProfile> {
  const wanted = [
    { id: written.profile, path: ['profile'] },
    ...Object.entries(written.names).flatMap(([host, name]) =>
      name.profile === undefined ? [] : [{ id: name.profile, path: ['names', host, 'profile'] }],
    ),
  ]
  const routes = written.routes.map((line, index) => ({ line, path: ['routes', index] }))
  const out = new Map<string, LoadedProfile>()
  for (const { id, path } of wanted) {
    if (out.has(id)) continue
    if (!profileIds.includes(id)) {
      report.error(
        path,
        `there is no profile ${JSON.stringify(id)}`,
        suggestion(id, profileIds) ?? 'profiles are files in profiles/',
      )
      continue
    }
    const file = disk.list('profiles').find(name => name.replace(/\.ya?ml$/, '') === id)
    const source = file === undefined ? null : disk.yaml(`profiles/${file}`)
    if (source === null) continue
    const validated = validate(profileFile, source)
    findings.problems.push(...validated.problems)
    if (validated.value === null) continue
    const profileReport = reporter(findings, source.lines, validated.at)
    out.set(id, {
      ...compileProfile(id, validated.value, profileReport, routes, report),
      heartbeatEveryMs: validated.value.heartbeat?.expectedEvery ?? null,
      packsAt: index => profileReport.at(['packs', index]),
    })
  }
  return out
}

function profileOf(
  written: WrittenPolicy,
  profiles: ReadonlyMap<string, LoadedProfile>,
  host: string,
): Profile | undefined {
  return profiles.get(written.names[host]?.profile ?? written.profile)?.profile
}

function probesOf(
  written: WrittenPolicy,
  profiles: ReadonlyMap<string, LoadedProfile>,
): ReadonlyMap<string, HealthProbe> {
  const out = new Map<string, HealthProbe>()
  for (const [host, name] of Object.entries(written.names)) {
    const probe = profileOf(written, profiles, host)?.health
    if (probe !== undefined && !out.has(name.upstream)) out.set(name.upstream, probe)
  }
  return out
}

function limitsOf(profiles: readonly CompiledProfile[]): ReadonlyMap<TrafficClass, ClassLimits> {
  return byClass(
    trafficClass =>
      profiles
        .flatMap(profile => profile.limits.get(trafficClass) ?? [])
        .reduce<ClassLimits | null>((all, one) => (all === null ? one : widerLimits(all, one)), null) ??
      builtInLimits(trafficClass),
  )
}

function gateLimits(written: WrittenPolicy['limits']): Snapshot['limits'] {
  return {
    connections: written.connections,
    connectionsPerSource: written.connectionsPerSource,
    helloMs: written.hello,
    helloBytes: written.helloSize,
    handshakeMs: written.handshake,
    headBytes: written.headSize,
    headerCount: written.headerCount,
    targetBytes: written.targetSize,
    headMs: written.head,
    keepAliveMs: written.keepAlive,
    requestsPerConnection: written.requestsPerConnection,
    inspectBytes: written.inspectSize,
    messageBytes: written.messageSize,
    heldBytes: written.heldMemory,
    heldBytesPerSecond: written.heldRate,
    upstreamConnectMs: written.upstreamConnect,
    drainMs: written.drain,
  }
}

const MAX_CERTIFICATES = 500
const MAX_CERTIFICATE_BYTES = 131_072

function certificateFiles(directory: string, snapshot: Snapshot): readonly CertificateFile[] {
  const stated = snapshot.names.flatMap(name => (name.certificates ?? []).map(pair => pair.certFile))
  return [...new Set([...listCertificates(directory), ...stated])]
    .slice(0, MAX_CERTIFICATES)
    .flatMap(file => {
      const result = readWhole(file, MAX_CERTIFICATE_BYTES)
      return result.ok ? [{ file, pem: new TextDecoder().decode(result.bytes) }] : []
    })
}

function listCertificates(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter(name => /\.(?:pem|crt|cer)$/.test(name))
      .map(name => join(directory, name))
  } catch {
    return []
  }
}
