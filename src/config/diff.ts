// The difference between two policies in sentences that an admin can check against what was meant.
import type { TrafficClass } from '../policy/classes.ts'
import type { ClassPolicy, Name, Site, Snapshot, UpstreamGroup } from '../policy/snapshot.ts'
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
} from './describe.ts'
import { formatLastDay } from './scalars.ts'

/** What changed from one policy to the next, most consequential first. Lines and load times do not count. */
export function diffSnapshots(before: Snapshot, after: Snapshot): readonly string[] {
  const out: string[] = []
  const value = (what: string, a: string, b: string): void => {
    if (a !== b) out.push(`${what}: ${a} -> ${b}`)
  }
  value('model', before.model.value, after.model.value)
  value('home', sortedCountries(before.home.value), sortedCountries(after.home.value))
  out.push(
    ...classChanges('', before.classes, after.classes),
    ...listChanges('listener', listeners(before), listeners(after)),
    ...listChanges('heartbeats', heartbeats(before), heartbeats(after)),
    ...listChanges('stream', streams(before), streams(after)),
    ...listChanges('forwards for', invitations(before), invitations(after)),
    ...listChanges('name', names(before), names(after)),
    ...listChanges('upstream', upstreams(before), upstreams(after)),
    ...listChanges('connector', connectors(before), connectors(after)),
    ...listChanges('site', sites(before), sites(after)),
  )
  for (const name of after.names) {
    const old = before.names.find(entry => entry.host === name.host)
    if (old !== undefined) {
      out.push(...setChanges(`name ${name.host}, class line`, lines(old), lines(name)))
    }
  }
  for (const site of after.sites) {
    const old = before.sites.find(entry => entry.id === site.id)
    if (old !== undefined)
      out.push(...classChanges(`site ${site.id}: `, siteClasses(before, old), siteClasses(after, site)))
  }
  out.push(
    ...setChanges(
      'trusted address',
      before.trusted.values().map(entry => entry.range.text),
      after.trusted.values().map(entry => entry.range.text),
    ),
    ...setChanges('allow', before.allow.values().map(entryText), after.allow.values().map(entryText)),
    ...setChanges('ban', before.ban.values().map(entryText), after.ban.values().map(entryText)),
  )
  for (const key of ['private', 'cgnat', 'loopback', 'unknown', 'unavailable'] as const) {
    value(`geo.${key}`, before.geo[key].value, after.geo[key].value)
  }
  out.push(...setChanges('trial', before.trials.map(trialText), after.trials.map(trialText)))
  out.push(...setChanges('country correction', overrides(before), overrides(after)))
  out.push(...listChanges('rule', rules(before), rules(after)))
  for (const part of ['limits', 'journal', 'directories'] as const) {
    const a: Readonly<Record<string, unknown>> = before[part]
    const b: Readonly<Record<string, unknown>> = after[part]
    for (const key of Object.keys(b)) {
      const late =
        part === 'directories' && OPEN_DIRECTORIES.has(key) ? ' (takes effect at the next start)' : ''
      value(`${part}.${key}${late}`, String(a[key]), String(b[key]))
    }
  }
  for (const key of ['identity', 'attachments', 'attachmentsPerSource'] as const)
    value(`gateway.${key}`, String(before.gateway[key]), String(after.gateway[key]))
  value('deployment.direct', directText(before), directText(after))
  out.push(
    ...setChanges(
      'deployment.egress',
      before.deployment.egress.map(({ text }) => text),
      after.deployment.egress.map(({ text }) => text),
    ),
  )
  value('admin address', endpointText(before.admin.endpoint), endpointText(after.admin.endpoint))
  value('dashboard', dashboardText(before.dashboard), dashboardText(after.dashboard))
  if (out.length === 0 && before.id !== after.id) {
    out.push('only comments, or the inside of rules, exceptions or corrections')
  }
  return out
}

/** What lies in these is open for as long as the gate runs. */
const OPEN_DIRECTORIES: ReadonlySet<string> = new Set(['geoip', 'state'])

function directText({ deployment: { direct } }: Snapshot): string {
  return direct === null ? 'none' : endpointText(direct)
}

function lines(name: Name): readonly string[] {
  return name.profile.rules.map(rule => {
    const methods = rule.methods === null ? '' : ` ${[...rule.methods].join(',')}`
    const webSocket = rule.webSocket === null ? '' : rule.webSocket ? ' WebSocket' : ' no WebSocket'
    return `${rule.pattern} is ${rule.class}${methods}${webSocket}`
  })
}

function invitations({ invitations: policy }: Snapshot): Facts {
  return policy === null ? new Map() : new Map([['invitations', invitationsText(policy)]])
}

function connectors({ gateway }: Snapshot): Facts {
  return new Map(
    [...gateway.connectors].map(([name, { client, key, identity }]) => [
      name,
      { client, key, ...(identity === null ? {} : { identity }) },
    ]),
  )
}

type Facts = ReadonlyMap<string, Readonly<Record<string, string>>>

function listChanges(what: string, before: Facts, after: Facts): readonly string[] {
  const out: string[] = []
  for (const id of before.keys()) if (!after.has(id)) out.push(`${what} ${id} removed`)
  for (const [id, facts] of after) {
    const old = before.get(id)
    if (old === undefined) {
      const text = Object.entries(facts)
        .filter(([, fact]) => fact !== '')
        .map(([key, fact]) => `${key} ${fact}`)
      out.push(`${what} ${id} added: ${text.join('; ')}`)
      continue
    }
    for (const [key, fact] of Object.entries(facts)) {
      const was = old[key] ?? ''
      if (was !== fact) out.push(`${what} ${id}, ${key}: ${was || 'none'} -> ${fact || 'none'}`)
    }
  }
  return out
}

function setChanges(what: string, before: readonly string[], after: readonly string[]): readonly string[] {
  const old = new Set(before)
  const now = new Set(after)
  return [
    ...before.filter(entry => !now.has(entry)).map(entry => `${what} removed: ${entry}`),
    ...after.filter(entry => !old.has(entry)).map(entry => `${what} added: ${entry}`),
  ]
}

type Classes = ReadonlyMap<TrafficClass, ClassPolicy>

function classChanges(prefix: string, before: Classes, after: Classes): readonly string[] {
  const facts = (classes: Classes): Facts =>
    new Map(
      [...classes].map(([trafficClass, policy]) => [
        trafficClass,
        {
          access: policy.access.value,
          countries: sortedCountries(policy.countries.value),
          demands: demandsText(policy),
          // A new key for the same header changes nothing that demands would show.
          keys: policy.keys.map(key => key.sha256Hex.slice(0, 8)).join(', '),
          ...limitsText(policy.limits),
        },
      ]),
    )
  return listChanges(`${prefix}class`, facts(before), facts(after))
}

// Classes that a site does not change follow the general ones, whose changes are told already.
function siteClasses(snapshot: Snapshot, site: Site): Classes {
  const out = new Map<TrafficClass, ClassPolicy>()
  for (const [trafficClass, policy] of site.classes) {
    if (policy !== snapshot.classes.get(trafficClass)) out.set(trafficClass, policy)
  }
  return out
}

function sortedCountries(countries: ClassPolicy['countries']['value']): string {
  return countries === 'any' ? countriesText(countries) : countriesText(new Set([...countries].sort()))
}

function listeners(snapshot: Snapshot): Facts {
  return new Map(
    snapshot.listeners.map(entry => [
      entry.id,
      {
        address: entry.endpoints.map(endpointText).join(', '),
        TLS: entry.tlsProfile,
        'host without SNI': entry.withoutName ?? '',
        'load balancers': entry.loadBalancers.map(range => range.text).join(', '),
      },
    ]),
  )
}

function heartbeats(snapshot: Snapshot): Facts {
  return new Map(
    snapshot.heartbeats.map(entry => [
      entry.id,
      {
        address: entry.endpoints.map(endpointText).join(', '),
        upstream: heartbeatUpstreamText(entry.upstream),
        ...heartbeatText(entry),
      },
    ]),
  )
}

function streams(snapshot: Snapshot): Facts {
  return new Map(
    snapshot.streams.map(entry => [
      entry.id,
      {
        address: endpointsText(entry.endpoints),
        services: entry.services.map(serviceText).join('; '),
        ...streamText(entry),
      },
    ]),
  )
}

function names(snapshot: Snapshot): Facts {
  return new Map(
    snapshot.names.map((entry: Name) => [
      entry.host,
      {
        upstream: entry.upstream,
        TLS: entry.tlsProfile ?? '',
        certificates: (entry.certificates ?? []).map(pair => pair.certFile).join(', '),
        'when down': entry.whenDown,
        profile: entry.profile.id,
      },
    ]),
  )
}

function upstreams(snapshot: Snapshot): Facts {
  return new Map(
    [...snapshot.upstreams.values()].map((group: UpstreamGroup) => [
      group.id,
      {
        servers: group.members.map(originText).join(', '),
        certificate: group.members
          .map(({ tls }) =>
            tls === null
              ? 'no TLS'
              : `name ${tls.serverName}${tls.caPem === null ? '' : ', private authority'}${tls.pinsSha256.map(pin => `, pin ${pin.slice(0, 8)}`).join('')}`,
          )
          .join(' / '),
        probe: `${group.health.method} ${group.health.path} every ${group.health.intervalMs} ms`,
        'return after': `${group.returnAfterMs} ms`,
        'Host header': group.hostHeader,
      },
    ]),
  )
}

function sites(snapshot: Snapshot): Facts {
  return new Map(
    snapshot.sites.map(site => [
      site.id,
      {
        name: site.name,
        addresses: site.ranges.map(range => range.text).join(', '),
        'additional countries': site.countries === null ? '' : sortedCountries(site.countries.value),
        trusted: site.trusted ? 'yes' : 'no',
        'TLS exception':
          site.tlsException === null
            ? ''
            : `${site.tlsException.minimum} until ${formatLastDay(site.tlsException.expiresMs)}`,
        'connections per source': site.connectionsPerSource === null ? '' : String(site.connectionsPerSource),
        agents: site.agents === null ? '' : String(site.agents),
      },
    ]),
  )
}

function overrides(snapshot: Snapshot): readonly string[] {
  return snapshot.geo.overrides.values().map(entry => `${entry.country} (${entry.reason})`)
}

function rules(snapshot: Snapshot): Facts {
  return new Map(snapshot.rules.rules.map(rule => [rule.id, { mode: rule.mode, title: rule.title }]))
}
