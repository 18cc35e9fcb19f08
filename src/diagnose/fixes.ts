// What to do about each cause: steps for a person, and YAML that can be pasted into the policy.
import type { HitRule } from './finding.ts'
import { readField } from '../ips/fields/field.ts'
import type { TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { Explanation } from '../policy/explain.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import type { Site, Snapshot } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { Standing } from '../policy/standing.ts'

/** A fix. `yaml` is valid policy: merged into portcullis.yaml it makes the situation pass. */
export type Fix = { readonly steps: readonly string[]; readonly yaml: string | null }

/** What every fix may need to know. */
export type FixContext = {
  readonly address: string
  readonly site: Site | null
  /** Options that a command needs to reach this policy, with a leading space; empty: none. */
  readonly commandOptions: string
  readonly nowMs: number
}

const DAY_MS = 86_400_000
const EXCEPTION_DAYS = 90

const steps = (...lines: readonly string[]): Fix => ({ steps: lines, yaml: null })

/** The remedy that the reason itself states. */
export function remedyOf(reason: Reason): Fix {
  return steps(REASONS[reason].remedy)
}

/** Lift a ban. */
export function unban(context: FixContext, { bans }: Standing): Fix {
  const { address, commandOptions } = context
  return steps(
    ...bans.map(ban =>
      ban.at.line > 0
        ? `Remove the ban at ${formatSourceLine(ban.at)}, or: bin/portcullis allow ${address} --reason "..."${commandOptions}`
        : `bin/portcullis unban ${withoutFullPrefix(ban.range.text)}${commandOptions}`,
    ),
  )
}

/** Record the site with its country, or correct the database. */
export function admitCountry(context: FixContext, country: string, geo: Explanation['country']): Fix {
  const { address, site, commandOptions } = context
  const isCode = /^[A-Z]{2}$/.test(country)
  const differs = geo.first !== null && geo.second !== null && geo.first !== geo.second
  return {
    steps: [
      `For now: bin/portcullis allow ${address} --for 7d --reason "..."${commandOptions}`,
      ...(differs
        ? [
            `The databases disagree (${geo.first} and ${geo.second}). If the first one is wrong, add a geo.overrides entry instead.`,
          ]
        : []),
      site === null
        ? 'If this is a customer, record the site in portcullis.yaml:'
        : `If that is right for site ${site.id}, add the country to it in portcullis.yaml:`,
    ],
    yaml: siteYaml(context, isCode ? [`countries: [${country}]`] : []),
  }
}

/** Old TLS: fix the device first, an exception second. */
export function oldTls(context: FixContext, minimum: TlsVersion | null): Fix {
  const { site } = context
  const intro = site === null ? 'record its site with' : `add to site ${site.id}`
  return {
    steps: [
      'On the device (Windows), then restart the agent service:',
      String.raw`  reg add "HKLM\SOFTWARE\Microsoft\.NETFramework\v4.0.30319" /v SchUseStrongCrypto /t REG_DWORD /d 1 /f`,
      String.raw`  reg add "HKLM\SOFTWARE\Microsoft\.NETFramework\v4.0.30319" /v SystemDefaultTlsVersions /t REG_DWORD /d 1 /f`,
      String.raw`  (the same two below HKLM\SOFTWARE\WOW6432Node\Microsoft\.NETFramework\v4.0.30319)`,
      String.raw`  reg add "HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Client" /v Enabled /t REG_DWORD /d 1 /f`,
      String.raw`  reg add "HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Client" /v DisabledByDefault /t REG_DWORD /d 0 /f`,
      `If the device cannot be changed, ${intro} an exception that ends:`,
    ],
    yaml: siteYaml(context, [
      `tlsException: { minimum: ${minimum ?? 'TLSv1'}, reason: why this device stays old, owner: your name, expires: ${exceptionEnd(context.nowMs)} }`,
    ]),
  }
}

/** A class that demands newer TLS than the client has. */
export function classTls(
  context: FixContext,
  classes: readonly TrafficClass[],
  best: TlsVersion | null,
): Fix {
  if (best === null) return remedyOf('tls-version-class')
  return {
    steps: ['Use a current client. If it cannot be changed, lower the demand for this site:'],
    yaml: siteYaml(context, ['classes:', ...classes.map(name => `  ${name}: { tls: ${best} }`)]),
  }
}

/** A scoped exception for one rule. */
export function ruleException(
  context: FixContext,
  hit: (FixRule & { readonly path: string; readonly others?: readonly FixRule[] }) | null,
): Fix {
  const { address, commandOptions, nowMs } = context
  if (hit === null)
    return steps(
      `bin/portcullis events ${address} --name request.refused${commandOptions} shows the rule; except it if the request is legitimate.`,
    )
  const { path, others = [] } = hit
  const rules = [hit, ...others]
    .filter(({ ruleId }) => PLAIN_ID.test(ruleId))
    .slice(0, MAX_EXCEPTIONS)
    .map(({ ruleId, field, alsoIn = [] }) => [
      `rule: ${ruleId}`,
      ...(PLAIN_PATH.test(path) ? [`paths: [${JSON.stringify(path.toLowerCase())}]`] : []),
      ...(isNameable(field)
        ? [`fields: [${[field, ...alsoIn.filter(isNameable)].map(name => JSON.stringify(name)).join(', ')}]`]
        : []),
      `sources: [${yamlAddress(address)}]`,
      'reason: why this is legitimate',
      'owner: your name',
      `expires: ${exceptionEnd(nowMs)}`,
    ])
  const together = rules.length === 1 ? '' : 'Several rules refused the request together. '
  return {
    steps: [`${together}If the request is legitimate, except exactly it:`],
    yaml: `rules:\n  exceptions:\n${rules.map(lines => `    - ${lines.join('\n      ')}\n`).join('')}`,
  }
}

// Path and field come from the client: what is not plain is left out, and the source alone narrows the exception.
const PLAIN_PATH = /^\/[\w~@+-][\w.~@+-]*(?:\/[\w~@+-][\w.~@+-]*)*$/
const PLAIN_FIELD = /^[a-z]+(?:[.-][a-z0-9_.-]+)*$/
const PLAIN_ID = /^[a-z0-9][a-z0-9-]*$/
const MAX_EXCEPTIONS = 20

type FixRule = Pick<HitRule, 'ruleId' | 'field'> & Partial<HitRule>

/** Whether an exception can name the  stands for what is missing or was counted. */
function isNameable(field: string): boolean {
  return PLAIN_FIELD.test(field) && readField(field) !== undefined
}

/** Open a class to the source, in the narrowest way. */
export function openClass(context: FixContext, reason: Reason, classes: readonly TrafficClass[]): Fix {
  const { address, site, commandOptions } = context
  const named = classes.map(entry => ` --class ${entry}`).join('')
  const temporary = `For now: bin/portcullis allow ${address}${named} --for 7d --reason "..."${commandOptions}`
  if (reason === 'class-source') {
    return {
      steps: [temporary, 'For good, if technicians sit at this address, trust it:'],
      yaml: site === null ? `trusted:\n  - ${yamlAddress(address)}\n` : siteYaml(context, ['trusted: true']),
    }
  }
  if (reason === 'class-closed') {
    return {
      steps: [temporary, 'For good, open it for this site only:'],
      yaml: siteYaml(context, ['classes:', ...classes.map(name => `  ${name}: { access: open }`)]),
    }
  }
  return steps(REASONS[reason].remedy, temporary)
}

/** The client uses a name that the gate does not serve, or none. */
export function wrongName(
  publicHost: string | null,
  unknown: { readonly host: string; readonly upstream: string } | null,
): Fix {
  const set = `Set the server address at the client to https://${publicHost ?? 'the name of the gate'} (no path, no port, no trailing slash).`
  if (unknown === null) return steps(set)
  return {
    steps: [set, 'If the other name is right, serve it too, with a certificate for it in certs/:'],
    yaml: `names:\n  ${JSON.stringify(unknown.host)}: { upstream: ${JSON.stringify(unknown.upstream)} }\n`,
  }
}

/** The client names no host. */
export function noName(publicHost: string | null, listener: string): Fix {
  const set = `Set the server address at the client to https://${publicHost ?? 'the name of the gate'}: a name, not an address.`
  if (publicHost === null) return steps(set)
  return {
    steps: [set, 'If the client cannot send a name (very old ones cannot), say which one it means:'],
    yaml: `listeners:\n  ${JSON.stringify(listener)}: { withoutName: ${JSON.stringify(publicHost)} }\n`,
  }
}

/** The client speaks plain text. */
export function plaintext(publicHost: string | null): Fix {
  return steps(
    `Set the server address at the client to https://${publicHost ?? 'the name of the gate'}, not http://.`,
  )
}

/** One side speaks TLS and the other does not: the setting must be the same everywhere. */
export function tlsOnPlain(snapshot: Snapshot, listeners: readonly string[]): Fix {
  const known = snapshot.streams.find(entry => listeners.includes(entry.id))
  const off = 'Switch TLS (SSL) off at this client: every other side of this service speaks plain text.'
  if (known === undefined || known.product !== null) return steps(off)
  return {
    steps: [off, 'If the server speaks TLS after all, let it pass:'],
    yaml: `streams:\n  ${known.id}: { speaks: any }\n`,
  }
}

/** The handshake breaks off. */
export function handshake(publicHost: string | null): Fix {
  return steps(
    `Look at the certificate from the device: openssl s_client -connect ${publicHost ?? 'gate'}:443 -servername ${publicHost ?? 'gate'}`,
    'Check the clock of the device and its root certificates; check that certs/ holds the whole chain.',
  )
}

/** Nothing arrives. */
export function neverArrived(context: FixContext, publicHost: string | null, gateRuns: boolean): Fix {
  return steps(
    ...(gateRuns ? [] : [`First start the gate: bin/portcullis run${context.commandOptions}`]),
    `From a machine at the site: Test-NetConnection -ComputerName ${publicHost ?? 'the gate'} -Port 443`,
    'If it fails: the outbound firewall there has the old address hard-coded, or DNS is old.',
    'If it succeeds: diagnose again; the test shows up here as "connected and sent nothing".',
  )
}

/** The port test worked, but no agent tried. */
export function neverTried(): Fix {
  return steps('Check the server address in the agent, and restart the agent service.')
}

/** The upstream does not answer. */
export function upstream({ commandOptions }: FixContext): Fix {
  return steps(
    `bin/portcullis status${commandOptions} shows since when and why; bring the RMM server back. Agents return by themselves.`,
  )
}

/** The RMM server does not answer heartbeats over UDP. */
export function heartbeats(
  { commandOptions }: FixContext,
  snapshot: Snapshot,
  listeners: readonly string[],
): Fix {
  const known = snapshot.heartbeats.filter(entry => listeners.includes(entry.id))
  const [{ upstream } = { upstream: { host: 'the RMM server', port: 75 } }] = known
  return steps(
    `bin/portcullis status${commandOptions} shows whether the server answers others. If it does, look at this agent: its replies are lost on the way back to it.`,
    `If it answers nobody: on the RMM server, \`netstat -ano -p UDP\` must show port ${upstream.port}; start the service that owns it.`,
    `Its firewall must let in UDP port ${upstream.port} from the address of the gate, and let the answers out.`,
    ...known.map(
      entry =>
        `Is ${entry.upstream.host} UDP port ${entry.upstream.port} right? It is set at ${formatSourceLine(entry.at)}. For a server that never answers, set replies: none there.`,
    ),
  )
}

/** A certificate that nobody can accept. */
export function renewCertificate({ commandOptions }: FixContext): Fix {
  return steps(
    `Put the renewed certificate and key into certs/; they are taken up by themselves. bin/portcullis cert${commandOptions} shows the result.`,
  )
}

/** A limit that was reached: twice as much room. */
export function capacity(
  context: FixContext,
  kind: Reason,
  classes: readonly TrafficClass[],
  standing: Standing,
): Fix {
  const { limits, classes: general } = standing.snapshot
  const { site } = context
  const find = `See who holds them first: bin/portcullis status --connections${context.commandOptions}`
  const room = 'If so many devices stand behind this address, give it more room:'
  if (kind === 'connection-limit-source') {
    const now = site?.connectionsPerSource ?? limits.connectionsPerSource
    return { steps: [find, room], yaml: siteYaml(context, [`connectionsPerSource: ${2 * now}`]) }
  }
  if (kind === 'connection-limit-total') {
    return {
      steps: [find, 'If they are all yours, allow more (and as many open files in the service):'],
      yaml: `limits:\n  connections: ${2 * limits.connections}\n`,
    }
  }
  if (kind === 'requests-limit') {
    const lines = classes.map(name => {
      const now = (site?.classes.get(name) ?? general.get(name))?.limits.concurrentPerSource ?? 1
      return `  ${name}: { limits: { concurrentPerSource: ${2 * now} } }`
    })
    return { steps: [find, room], yaml: siteYaml(context, ['classes:', ...lines]) }
  }
  return remedyOf(kind)
}

/** Lines below a site: the recorded one of the address, else a new one that holds the address. */
function siteYaml({ address, site }: FixContext, lines: readonly string[]): string {
  const id = site?.id ?? `site-${address.replaceAll(/[^0-9a-f]+/g, '-').replaceAll(/^-|-$/g, '')}`
  const head = site === null ? ['name: Name of the customer', `addresses: [${yamlAddress(address)}]`] : []
  return `sites:\n  ${id}:\n${[...head, ...lines].map(line => `    ${line}\n`).join('')}`
}

// The colons of IPv6 mean something to YAML.
function yamlAddress(address: string): string {
  return address.includes(':') ? JSON.stringify(address) : address
}

function exceptionEnd(nowMs: number): string {
  return new Date(nowMs + EXCEPTION_DAYS * DAY_MS).toISOString().slice(0, 10)
}

function withoutFullPrefix(range: string): string {
  return range.replace(range.includes(':') ? /\/128$/ : /\/32$/, '')
}
