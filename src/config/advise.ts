// Warnings about policies that are valid but would lose people or open more than meant: said before, not after.
import { X509Certificate } from 'node:crypto'
import { tlsRank } from '../net/tls-version.ts'
import { AGENT_CLASSES, type TrafficClass } from '../policy/classes.ts'
import type { ClassPolicy, Name, Snapshot } from '../policy/snapshot.ts'
import type { Reporter } from './context.ts'
import { isThisMachine } from './compile-upstreams.ts'
import { formatDuration } from './scalars.ts'
import type { WrittenPolicy } from './schema.ts'

/** A PEM certificate by the file that holds it. */
export type CertificateFile = { readonly file: string; readonly pem: string }

/** Looks a compiled policy over. */
export function advise(
  written: WrittenPolicy,
  snapshot: Snapshot,
  certificates: readonly CertificateFile[],
  report: Reporter,
): void {
  adviseModel(written, snapshot, report)
  for (const [trafficClass, policy] of snapshot.classes)
    adviseClass(trafficClass, policy, written, snapshot, report)
  adviseTls(snapshot, report)
  for (const name of snapshot.names) {
    adviseName(name, written.names[name.host]?.whenDown, certificates, report)
  }
  adviseRest(written, snapshot, report)
}

function adviseModel(written: WrittenPolicy, snapshot: Snapshot, report: Reporter): void {
  const model = snapshot.model.value
  if (model === 'agent-only' && written.classes.enroll?.access === undefined) {
    report.warn(
      ['model'],
      'agent-only closes class enroll: new agents cannot be deployed through the gate',
      'classes: { enroll: { access: open } } lets deployments through',
    )
  }
  const needsTrust = [...snapshot.classes].filter(([, policy]) => policy.access.value === 'trusted')
  const someTrust = snapshot.trusted.size > 0 || snapshot.sites.some(site => site.trusted)
  if (needsTrust.length > 0 && !someTrust) {
    const names = needsTrust.map(([trafficClass]) => trafficClass).join(', ')
    report.warn(
      ['model'],
      `nobody can use ${names}: only trusted addresses may, and there is none`,
      'list your office under trusted, or set trusted: true for a site',
    )
  }
}

function adviseClass(
  trafficClass: TrafficClass,
  policy: ClassPolicy,
  written: WrittenPolicy,
  snapshot: Snapshot,
  report: Reporter,
): void {
  const settings = written.classes[trafficClass]
  const path = ['classes', trafficClass] as const
  if (settings?.countries !== undefined && policy.countries.value !== 'any') {
    const left = [...snapshot.home.value].filter(code => !admits(policy, code))
    if (left.length > 0 && policy.access.value !== 'closed') {
      report.warn(
        [...path, 'countries'],
        `${trafficClass} is not open to the home ${left.length === 1 ? 'country' : 'countries'} ${left.join(', ')}`,
        'add home to the list if that is not meant',
      )
    }
  }
  if (!AGENT_CLASSES.includes(trafficClass)) return
  const loses = (key: string, what: string): void =>
    report.warn([...path, key], `${what}: agents that use class ${trafficClass} are lost`)
  if (settings?.access === 'closed' && trafficClass === 'agent') loses('access', 'the class is closed')
  if (settings?.access === 'trusted') loses('access', 'only trusted addresses may pass')
  if (settings?.windows !== undefined && settings.windows.length > 0) {
    loses('windows', 'outside of these hours the class is closed')
  }
  if (settings?.keys !== undefined && settings.keys.length > 0) {
    loses('keys', 'agents of RMM products cannot be told to send a key')
  }
  const idle = settings?.limits?.webSocketIdle
  if (idle !== undefined && idle < 330_000) {
    report.warn(
      [...path, 'limits', 'webSocketIdle'],
      `agents are silent for minutes; ${formatDuration(idle)} cuts them off`,
      'at least 330s',
    )
  }
}

function admits({ countries }: ClassPolicy, code: string): boolean {
  return countries.value === 'any' || countries.value.has(code)
}

function adviseTls(snapshot: Snapshot, report: Reporter): void {
  for (const listener of snapshot.listeners) {
    if (listener.tlsProfile === 'legacy') {
      report.warn(
        ['listeners', listener.id, 'tls'],
        'every client of this listener may use broken TLS versions',
        'better: tls: modern, and a tlsException for the sites that need it',
      )
    }
    if (listener.tlsProfile === 'strict' && snapshot.names.some(carriesAgents)) {
      report.warn(
        ['listeners', listener.id, 'tls'],
        'strict refuses every client without TLS 1.3: agents on Windows before Server 2022 and 11 have none',
      )
    }
  }
  const weakest = Math.min(
    ...[
      ...snapshot.listeners.map(entry => entry.tlsProfile),
      ...snapshot.names.flatMap(entry => entry.tlsProfile ?? []),
    ].map(profile => tlsRank(snapshot.tlsProfiles.get(profile)?.minimum ?? 'TLSv1.2')),
  )
  for (const site of snapshot.sites) {
    if (site.tlsException === null) continue
    const path = ['sites', site.id, 'tlsException', 'minimum'] as const
    const { minimum } = site.tlsException
    if (tlsRank(minimum) >= weakest && snapshot.listeners.every(entry => entry.tlsProfile !== 'strict')) {
      report.warn([...path], `the exception changes nothing: ${minimum} is admitted anyway`)
    }
    for (const [trafficClass, general] of snapshot.classes) {
      const demanded = (site.classes.get(trafficClass) ?? general).minimumTls
      if (demanded !== null && tlsRank(minimum) < tlsRank(demanded.value)) {
        report.warn(
          [...path],
          `class ${trafficClass} demands ${demanded.value}: clients of this site that need the exception cannot use it`,
        )
      }
    }
  }
}

function carriesAgents(name: Name): boolean {
  return name.profile.rules.some(rule => AGENT_CLASSES.includes(rule.class))
}

function adviseName(
  name: Name,
  whenDown: Name['whenDown'] | undefined,
  certificates: readonly CertificateFile[],
  report: Reporter,
): void {
  const path = ['names', name.host]
  if (whenDown === 'unavailable' && carriesAgents(name)) {
    report.warn(
      [...path, 'whenDown'],
      'agents read status 503 as an answer and do not try their secondary address',
      'whenDown: reset makes them switch at once',
    )
  }
  const stated = name.certificates
  const candidates =
    stated === null
      ? certificates
      : certificates.filter(entry => stated.some(pair => pair.certFile === entry.file))
  const host = name.host.startsWith('*.') ? `any${name.host.slice(1)}` : name.host
  if (isReserved(host) || candidates.some(entry => covers(entry.pem, host))) return
  report.warn(
    stated === null ? path : [...path, 'certificates'],
    stated === null
      ? `no certificate in the certs directory is for ${name.host}: clients will refuse the development certificate`
      : `none of the certificates is for ${name.host}: clients will refuse it`,
  )
}

function isReserved(host: string): boolean {
  return /(?:^|\.)(?:localhost|test|example|invalid)$/.test(host)
}

function covers(pem: string, host: string): boolean {
  try {
    return new X509Certificate(pem).checkHost(host) !== undefined
  } catch {
    return false
  }
}

function adviseRest(written: WrittenPolicy, snapshot: Snapshot, report: Reporter): void {
  const used = new Set(snapshot.names.map(name => name.upstream))
  for (const id of snapshot.upstreams.keys()) {
    if (!used.has(id)) report.warn(['upstreams', id], `no name uses upstream ${id}`)
  }
  if (!isThisMachine(snapshot.admin.endpoint.host)) {
    report.warn(
      ['admin', 'address'],
      'the admin address has neither TLS nor password, and other machines can reach it',
      '127.0.0.1:9090',
    )
  }
  if (snapshot.dashboard !== null && !isThisMachine(snapshot.dashboard.endpoint.host)) {
    report.warn(
      ['dashboard', 'address'],
      'other machines can reach the login of the dashboard',
      'keep it at 127.0.0.1 and use an SSH tunnel, or let a firewall admit only your office',
    )
  }
  const { limits } = snapshot
  const agents = snapshot.names.some(carriesAgents)
  if (agents && limits.keepAliveMs < 35_000) {
    report.warn(
      ['limits', 'keepAlive'],
      'agents check in every 30 s: each check-in would need a new TLS connection',
      'at least 35s',
    )
  }
  if (limits.connectionsPerSource < 100) {
    report.warn(
      ['limits', 'connectionsPerSource'],
      `a site behind one address could have ${limits.connectionsPerSource} connections in all`,
    )
  }
  for (const [id, site] of Object.entries(written.sites)) {
    if (site.connectionsPerSource !== undefined && site.connectionsPerSource < 20) {
      report.warn(
        ['sites', id, 'connectionsPerSource'],
        `all agents of site ${id} together could have ${site.connectionsPerSource} connections`,
      )
    }
  }
}
