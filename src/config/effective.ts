// The effective policy: what holds after models, profiles, defaults and overrides, each part with the line that decides.
import type { TrafficClass } from '../policy/classes.ts'
import type { AllowEntry, ClassPolicy, Snapshot, UpstreamTls } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import {
  countriesText,
  dashboardText,
  demandsText,
  endpointText,
  entryText,
  endpointsText,
  heartbeatText,
  heartbeatUpstreamText,
  invitationsText,
  limitsText,
  originText,
  serviceText,
  streamText,
  trialText,
  windowText,
} from './describe.ts'
import { formatLastDay } from './scalars.ts'

/** The effective policy as lines of aligned text. */
export function effectiveText(snapshot: Snapshot): string {
  const out: string[] = [
    `policy ${snapshot.id}, model ${snapshot.model.value}, home ${countriesText(snapshot.home.value)}`,
  ]
  const section = (title: string, rows: readonly (readonly string[])[]): void => {
    if (rows.length > 0) out.push('', title, ...align(rows))
  }
  section(
    'Listeners',
    snapshot.listeners.map(entry => [
      entry.id,
      entry.endpoints.map(endpointText).join(', '),
      `TLS ${entry.tlsProfile}`,
      entry.withoutName === null ? 'no SNI: refused' : `no SNI: ${entry.withoutName}`,
      entry.loadBalancers.length === 0
        ? ''
        : `PROXY protocol from ${entry.loadBalancers.map(range => range.text).join(', ')}`,
      formatSourceLine(entry.at),
    ]),
  )
  section(
    'Heartbeats (UDP)',
    snapshot.heartbeats.map(entry => [
      entry.id,
      entry.endpoints.map(endpointText).join(', '),
      `upstream ${heartbeatUpstreamText(entry.upstream)}`,
      ...Object.entries(heartbeatText(entry)).map(([key, value]) => `${key} ${value}`),
      formatSourceLine(entry.at),
    ]),
  )
  section(
    'Streams (raw TCP)',
    snapshot.streams.flatMap(entry =>
      entry.services.map((service, index) => [
        index === 0 ? entry.id : '',
        index === 0 ? endpointsText(entry.endpoints) : '',
        serviceText(service),
        index === 0
          ? Object.entries(streamText(entry))
              .filter(([, value]) => value !== '')
              .map(([key, value]) => `${key} ${value}`)
              .join(', ')
          : '',
        formatSourceLine(service.at),
      ]),
    ),
  )
  const { invitations } = snapshot
  section(
    'Invitations (forwards to PCs)',
    invitations === null
      ? []
      : [
          ...Object.entries(invitationsText(invitations)).map(entry => [...entry]),
          ['line', formatSourceLine(invitations.at)],
        ],
  )
  section(
    'Names',
    snapshot.names.map(entry => [
      entry.host,
      `upstream ${entry.upstream}`,
      entry.profile.product,
      entry.tlsProfile === null ? '' : `TLS ${entry.tlsProfile}`,
      `when down: ${entry.whenDown}`,
      formatSourceLine(entry.at),
    ]),
  )
  section('Dashboard', [
    [
      dashboardText(snapshot.dashboard),
      snapshot.dashboard === null ? '' : formatSourceLine(snapshot.dashboard.at),
    ],
  ])
  section(
    'Upstreams',
    [...snapshot.upstreams.values()].flatMap(group =>
      group.members.map(member => [
        member.id,
        originText(member),
        `probe ${group.health.method} ${group.health.path}`,
        tlsText(member.tls),
        formatSourceLine(member.at),
      ]),
    ),
  )
  section(
    'Connectors',
    [...snapshot.gateway.connectors.values()].map(entry => [
      entry.name,
      `client ${entry.client}`,
      `key ${entry.key}`,
      entry.identity ?? `identity ${snapshot.gateway.identity}`,
      formatSourceLine(entry.at),
    ]),
  )
  section('Classes', classRows(snapshot.classes))
  for (const site of snapshot.sites) {
    const facts = [
      ['addresses', site.ranges.map(range => range.text).join(', ')],
      ...(site.countries === null
        ? []
        : [['also from', countriesText(site.countries.value), formatSourceLine(site.countries.at)]]),
      ...(site.trusted ? [['trusted', 'yes']] : []),
      ...(site.tlsException === null
        ? []
        : [
            [
              'TLS exception',
              `${site.tlsException.minimum} until ${formatLastDay(site.tlsException.expiresMs)}: ${site.tlsException.reason} (${site.tlsException.owner})`,
              formatSourceLine(site.tlsException.at),
            ],
          ]),
      ...(site.connectionsPerSource === null ? [] : [['connections', String(site.connectionsPerSource)]]),
    ]
    section(`Site ${site.id}: ${site.name}`, [...facts, ...classRows(site.classes)])
  }
  section(
    'Trusted addresses',
    snapshot.trusted.values().map(entry => [entry.range.text, formatSourceLine(entry.at)]),
  )
  section('Allowed', snapshot.allow.values().map(entryRow))
  section('Banned', snapshot.ban.values().map(entryRow))
  const { geo } = snapshot
  section('Addresses without a country', [
    ...(['private', 'cgnat', 'loopback', 'unknown', 'unavailable'] as const).map(key => [
      key,
      geo[key].value,
      formatSourceLine(geo[key].at),
    ]),
    ['admitted somewhere', countriesText(geo.admittedSomewhere)],
  ])
  section(
    'Trials',
    snapshot.trials.map(trial => [trialText(trial), formatSourceLine(trial.at)]),
  )
  section(
    `Rules (${snapshot.rules.size})`,
    snapshot.rules.rules.map(rule => [
      rule.mode,
      rule.severity,
      rule.id,
      rule.title,
      formatSourceLine(rule.at),
    ]),
  )
  section(
    'Limits by class',
    [...snapshot.classes].map(([trafficClass, policy]) => [
      trafficClass,
      ...Object.entries(limitsText(policy.limits)).map(([key, value]) => `${key} ${value}`),
    ]),
  )
  return `${out.join('\n')}\n`
}

function classRows(classes: ReadonlyMap<TrafficClass, ClassPolicy>): readonly (readonly string[])[] {
  return [...classes].map(([trafficClass, policy]) => [
    trafficClass,
    policy.access.value,
    policy.access.value === 'closed' ? '' : countriesText(policy.countries.value),
    demandsText(policy),
    formatSourceLine(policy.access.at),
  ])
}

function entryRow(entry: AllowEntry): readonly string[] {
  return [entryText(entry), formatSourceLine(entry.at)]
}

function tlsText(tls: UpstreamTls | null): string {
  if (tls === null) return 'not encrypted'
  if (tls.pinsSha256.length > 0) return `pinned, name ${tls.serverName}`
  return tls.caPem === null ? `verified as ${tls.serverName}` : `private authority, name ${tls.serverName}`
}

function align(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length)
  }
  // A column that is empty in every row would only be a gap.
  return rows.map(row =>
    `  ${row.map((cell, index) => (widths[index] === 0 ? '' : `${cell.padEnd(widths[index] ?? 0)}  `)).join('')}`.trimEnd(),
  )
}

/** The effective policy as plain data for `--json`. */
export function effectiveJson(snapshot: Snapshot): Readonly<Record<string, unknown>> {
  const classes = (policies: ReadonlyMap<TrafficClass, ClassPolicy>): Record<string, unknown> =>
    Object.fromEntries([...policies].map(([trafficClass, policy]) => [trafficClass, classJson(policy)]))
  return {
    id: snapshot.id,
    model: snapshot.model.value,
    home: [...snapshot.home.value],
    listeners: snapshot.listeners.map(entry => ({
      id: entry.id,
      endpoints: entry.endpoints.map(endpointText),
      tls: entry.tlsProfile,
      withoutName: entry.withoutName,
      loadBalancers: entry.loadBalancers.map(range => range.text),
      line: formatSourceLine(entry.at),
    })),
    heartbeats: snapshot.heartbeats.map(entry => ({
      id: entry.id,
      endpoints: entry.endpoints.map(endpointText),
      upstream: heartbeatUpstreamText(entry.upstream),
      ...heartbeatText(entry),
      line: formatSourceLine(entry.at),
    })),
    streams: snapshot.streams.map(entry => ({
      id: entry.id,
      endpoints: entry.endpoints.map(endpointText),
      services: entry.services.map(serviceText),
      ...streamText(entry),
      line: formatSourceLine(entry.at),
    })),
    invitations: snapshot.invitations === null ? null : invitationsText(snapshot.invitations),
    names: snapshot.names.map(entry => ({
      host: entry.host,
      upstream: entry.upstream,
      profile: entry.profile.id,
      tls: entry.tlsProfile,
      whenDown: entry.whenDown,
      line: formatSourceLine(entry.at),
    })),
    upstreams: [...snapshot.upstreams.values()].map(group => ({
      id: group.id,
      members: group.members.map(member => ({
        id: member.id,
        origin: originText(member),
        tls: tlsText(member.tls),
      })),
      probe: `${group.health.method} ${group.health.path}`,
      returnAfterMs: group.returnAfterMs,
      hostHeader: group.hostHeader,
      line: formatSourceLine(group.at),
    })),
    classes: classes(snapshot.classes),
    sites: snapshot.sites.map(site => ({
      id: site.id,
      name: site.name,
      addresses: site.ranges.map(range => range.text),
      countries: site.countries === null ? null : countriesText(site.countries.value),
      trusted: site.trusted,
      tlsException: site.tlsException,
      connectionsPerSource: site.connectionsPerSource,
      agents: site.agents,
      classes: classes(site.classes),
      line: formatSourceLine(site.at),
    })),
    trusted: snapshot.trusted.values().map(entry => entry.range.text),
    allow: snapshot.allow.values().map(entryText),
    bans: snapshot.ban.values().map(entryText),
    geo: {
      private: snapshot.geo.private.value,
      cgnat: snapshot.geo.cgnat.value,
      loopback: snapshot.geo.loopback.value,
      unknown: snapshot.geo.unknown.value,
      unavailable: snapshot.geo.unavailable.value,
    },
    trials: snapshot.trials.map(({ stages, sites, listeners, expiresMs, at }) => ({
      stages: [...stages],
      sites: sites === null ? null : [...sites],
      listeners: listeners === null ? null : [...listeners],
      expiresMs,
      line: formatSourceLine(at),
    })),
    rules: snapshot.rules.rules.map(rule => ({
      id: rule.id,
      mode: rule.mode,
      severity: rule.severity,
      pack: rule.pack,
      title: rule.title,
      line: formatSourceLine(rule.at),
    })),
    deployment: {
      direct: snapshot.deployment.direct === null ? null : endpointText(snapshot.deployment.direct),
      egress: snapshot.deployment.egress.map(address => address.text),
    },
    limits: snapshot.limits,
    journal: snapshot.journal,
    admin: endpointText(snapshot.admin.endpoint),
    dashboard: dashboardText(snapshot.dashboard),
    directories: snapshot.directories,
  }
}

function classJson(policy: ClassPolicy): Readonly<Record<string, unknown>> {
  return {
    access: policy.access.value,
    countries: policy.countries.value === 'any' ? 'any' : [...policy.countries.value],
    minimumTls: policy.minimumTls?.value ?? null,
    keys: policy.keys.map(key => ({ place: key.place, name: key.name })),
    windows: policy.windows.map(windowText),
    limits: limitsText(policy.limits),
    line: formatSourceLine(policy.access.at),
  }
}
