// What to do about each cause: steps for a person, and YAML that can be pasted into the policy.
import type { HitRule } from './finding.ts'
import { makeFix, onGate, type Fix } from './fix.ts'
import { switchTlsOn } from './fixes-client.ts'
import { readField } from '../ips/fields/field.ts'
import { parseAddress } from '../net/address.ts'
import type { TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { Explanation } from '../policy/explain.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import type { Site } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { Standing } from '../policy/standing.ts'

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

/** The remedy that the reason itself states. */
export function remedyOf(reason: Reason): Fix {
  return makeFix([REASONS[reason].remedy])
}

/** Lift a ban. */
export function unban(context: FixContext, { bans }: Standing): Fix {
  const { address, commandOptions } = context
  return makeFix(
    bans.map(ban =>
      ban.at.line > 0
        ? onGate(
            `bin/portcullis allow ${address} --reason "..."${commandOptions}`,
            `Remove the ban at ${formatSourceLine(ban.at)}, or: `,
          )
        : onGate(
            `bin/portcullis unban ${withoutFullPrefix(ban.range.text)}${commandOptions}`,
            'If the ban is not meant for this client, lift it: ',
          ),
    ),
  )
}

/** Record the site with its country, or correct the database. */
export function admitCountry(context: FixContext, country: string, geo: Explanation['country']): Fix {
  const { address, site, commandOptions } = context
  const isCode = /^[A-Z]{2}$/.test(country)
  const differs = geo.first !== null && geo.second !== null && geo.first !== geo.second
  return makeFix(
    [
      onGate(
        `bin/portcullis allow ${networkOf(address)} --for 7d --reason "..."${commandOptions}`,
        'For now: ',
      ),
      ...(differs
        ? [
            `The databases disagree (${geo.first} and ${geo.second}). If the first one is wrong, add a geo.overrides entry instead.`,
          ]
        : []),
      ...(site === null && address.includes(':')
        ? [
            `Does a site list only IPv4 addresses, and this is its IPv6 network? Then add ${networkOf(address)}, or the whole prefix that its provider gave it (often /56 or /48), to the addresses of that site instead.`,
          ]
        : []),
      site === null
        ? 'If this is a customer, record the site in portcullis.yaml:'
        : `If that is right for site ${site.id}, add the country to it in portcullis.yaml:`,
    ],
    siteYaml(context, isCode ? [`countries: [${country}]`] : []),
  )
}

/** An address of an inner network: often all that is left of many clients behind something that hides theirs. */
export function admitInner(context: FixContext, listener: string): Fix {
  const { address, site, commandOptions } = context
  return makeFix(
    [
      `Do many customers arrive as ${address}? Then it is a load balancer or router before the gate that hides their addresses: let it speak PROXY protocol and name it in loadBalancers of listener ${listener}, or let it pass addresses on.`,
      onGate(`bin/portcullis allow ${address} --for 7d --reason "..."${commandOptions}`, 'For now: '),
      site === null
        ? 'If it is one client in a network of yours, record it as a site in portcullis.yaml:'
        : `If it belongs to site ${site.id}, its addresses say so already: widen geo in portcullis.yaml instead.`,
    ],
    site === null ? siteYaml(context, []) : null,
  )
}

/** Old TLS: fix the device first, an exception second. */
export function oldTls(context: FixContext, minimum: TlsVersion | null, product: string): Fix {
  const { site } = context
  const intro = site === null ? 'record its site with' : `add to site ${site.id}`
  const expires = exceptionEnd(context.nowMs)
  return makeFix(
    [...switchTlsOn(product), `If the device cannot be changed, ${intro} an exception that ends:`],
    {
      yaml: siteYaml(context, [
        `tlsException: { minimum: ${minimum ?? 'TLSv1'}, reason: why this device stays old, owner: your name, expires: ${expires} }`,
      ]),
      expires,
    },
  )
}

/** A class that demands newer TLS than the client has. */
export function classTls(
  context: FixContext,
  classes: readonly TrafficClass[],
  best: TlsVersion | null,
): Fix {
  if (best === null) return remedyOf('tls-version-class')
  return makeFix(
    ['Use a current client. If it cannot be changed, lower the demand for this site:'],
    siteYaml(context, ['classes:', ...classes.map(name => `  ${name}: { tls: ${best} }`)]),
  )
}

/** A scoped exception for one rule. */
export function ruleException(
  context: FixContext,
  hit: (FixRule & { readonly path: string; readonly others?: readonly FixRule[] }) | null,
): Fix {
  const { address, commandOptions, nowMs } = context
  if (hit === null)
    return makeFix([
      onGate(`bin/portcullis events ${address} --name request.refused${commandOptions}`, 'See the rule: '),
      'Except it if the request is legitimate.',
    ])
  const { path, others = [] } = hit
  const expires = exceptionEnd(nowMs)
  const signed = { reason: 'why this is legitimate', owner: 'your name', expires }
  const items = [hit, ...others]
    .filter(({ ruleId }) => PLAIN_ID.test(ruleId))
    .slice(0, MAX_EXCEPTIONS)
    .map(rule => exceptionItem({ address, path }, rule, signed))
  const together = items.length === 1 ? '' : 'Several rules refused the request together. '
  return makeFix([`${together}If the request is legitimate, except exactly it:`], {
    yaml: `rules:\n  exceptions:\n${items.join('')}`,
    expires,
  })
}

/** One item below `rules.exceptions`: as narrow as what a client sent can safely say. Texts of `signed` are YAML already. */
export function exceptionItem(
  { address, path }: { readonly address: string; readonly path: string },
  { ruleId, field, alsoIn = [] }: FixRule,
  { reason, owner, expires }: { readonly reason: string; readonly owner: string; readonly expires: string },
): string {
  const fields = [field, ...alsoIn].filter(isNameable)
  const lines = [
    `rule: ${ruleId}`,
    ...(PLAIN_PATH.test(path) ? [`paths: [${JSON.stringify(path.toLowerCase())}]`] : []),
    ...(isNameable(field) ? [`fields: [${fields.map(name => JSON.stringify(name)).join(', ')}]`] : []),
    `sources: [${yamlAddress(address)}]`,
    `reason: ${reason}`,
    `owner: ${owner}`,
    `expires: ${expires}`,
  ]
  return `    - ${lines.join('\n      ')}\n`
}

// Path and field come from the client: what is not plain is left out, and the source alone narrows the exception.
const PLAIN_PATH = /^\/[\w~@+-][\w.~@+-]*(?:\/[\w~@+-][\w.~@+-]*)*$/
const PLAIN_FIELD = /^[a-z]+(?:[.-][a-z0-9_.-]+)*$/
const PLAIN_ID = /^[a-z0-9][a-z0-9-]*$/
const MAX_EXCEPTIONS = 20

type FixRule = Pick<HitRule, 'ruleId' | 'field'> & Partial<HitRule>

/** Whether an exception can name the field: some stand for what is missing or was counted. */
function isNameable(field: string): boolean {
  return PLAIN_FIELD.test(field) && readField(field) !== undefined
}

/** Open a class to the source, in the narrowest way. */
export function openClass(context: FixContext, reason: Reason, classes: readonly TrafficClass[]): Fix {
  const { address, site, commandOptions } = context
  const named = classes.map(entry => ` --class ${entry}`).join('')
  const isDeployment = classes.length === 1 && classes[0] === 'enroll'
  const temporary = isDeployment
    ? onGate(
        `bin/portcullis enroll open ${site === null ? `--address ${address}` : `--site ${site.id}`} --for 2h --reason "..."${commandOptions}`,
        'While agents are being deployed: ',
      )
    : onGate(
        `bin/portcullis allow ${networkOf(address)}${named} --for 7d --reason "..."${commandOptions}`,
        'For now: ',
      )
  if (reason === 'class-source') {
    return makeFix([temporary, 'For good, if technicians sit at this address, trust it:'], trust(context))
  }
  if (reason === 'class-closed') {
    return makeFix(
      [temporary, 'For good, open it for this site only:'],
      siteYaml(context, ['classes:', ...classes.map(name => `  ${name}: { access: open }`)]),
    )
  }
  return makeFix([REASONS[reason].remedy, temporary])
}

/** Makes the address, or its recorded site, trusted. */
export function trust(context: FixContext): string {
  const { address, site } = context
  return site === null
    ? `trusted:\n  - ${yamlAddress(networkOf(address))}\n`
    : siteYaml(context, ['trusted: true'])
}

/** A method that a class does not take. No allow lifts that, so the class takes it at this site. */
export function addMethod(
  context: FixContext,
  method: string,
  classes: readonly TrafficClass[],
  standing: Standing,
): Fix {
  const { classes: general } = standing.snapshot
  const lines = classes.map(name => {
    const now = (context.site?.classes.get(name) ?? general.get(name))?.limits.methods ?? []
    return `  ${name}: { limits: { methods: [${[...new Set([...now, method])].join(', ')}] } }`
  })
  if (!PLAIN_METHOD.test(method) || lines.length === 0) return remedyOf('method-refused')
  return makeFix(
    ['If the product needs this method, let the class take it at this site:'],
    siteYaml(context, ['classes:', ...lines]),
  )
}

const PLAIN_METHOD = /^[A-Z]{1,20}$/

/** A limit that was reached: twice as much room. */
export function capacity(
  context: FixContext,
  kind: Reason,
  classes: readonly TrafficClass[],
  standing: Standing,
): Fix {
  const { limits, classes: general } = standing.snapshot
  const { site } = context
  const find = onGate(
    `bin/portcullis status --connections${context.commandOptions}`,
    'See who holds them first: ',
  )
  const room = 'If so many devices stand behind this address, give it more room:'
  if (kind === 'connection-limit-source') {
    const now = site?.connectionsPerSource ?? limits.connectionsPerSource
    return makeFix([find, room], siteYaml(context, [`connectionsPerSource: ${2 * now}`]))
  }
  if (kind === 'connection-limit-total') {
    return makeFix(
      [find, 'If they are all yours, allow more (and as many open files in the service):'],
      `limits:\n  connections: ${2 * limits.connections}\n`,
    )
  }
  if (kind === 'requests-limit') {
    const lines = classes.map(name => {
      const now = (site?.classes.get(name) ?? general.get(name))?.limits.concurrentPerSource ?? 1
      return `  ${name}: { limits: { concurrentPerSource: ${2 * now} } }`
    })
    return makeFix([find, room], siteYaml(context, ['classes:', ...lines]))
  }
  return remedyOf(kind)
}

/** A body that is too long, or that rules could not read. */
export function bodies(
  context: FixContext,
  kind: Reason,
  classes: readonly TrafficClass[],
  standing: Standing,
): Fix {
  if (classes.length === 0) return remedyOf(kind)
  const { classes: general } = standing.snapshot
  const lines = classes.map(name => {
    const now = (context.site?.classes.get(name) ?? general.get(name))?.limits.maxBodyBytes ?? 0
    const limits =
      kind === 'body-too-large'
        ? `maxBody: ${Math.max(1, Math.ceil((2 * now) / MIB))}MiB`
        : 'whenUnread: record'
    return `  ${name}: { limits: { ${limits} } }`
  })
  const what =
    kind === 'body-too-large'
      ? 'If real traffic is that large, raise the limit for this site:'
      : 'If real traffic looks like that, let it pass for this site; rules then see only a part of it, and each such body is recorded:'
  const yaml = siteYaml(context, ['classes:', ...lines])
  if (kind !== 'body-coding') return makeFix([what], yaml)
  // What cannot be unpacked is also a hit of the gate's own rule.
  const expires = exceptionEnd(context.nowMs)
  const rule = exceptionItem(
    { address: context.address, path: '' },
    { ruleId: 'body-unreadable', field: '' },
    { reason: 'why this is legitimate', owner: 'your name', expires },
  )
  return makeFix(['Best let the client send the body plain or as gzip.', what], {
    yaml: `${yaml}rules:\n  exceptions:\n${rule}`,
    expires,
  })
}

/** A load balancer that nobody has listed. */
export function addLoadBalancer({ address }: FixContext, listener: string): Fix {
  return makeFix(
    [
      'If it is not your load balancer, somebody tries to pass as another client: leave it as it is.',
      'If it is, list it. From then on it must name the client of every connection:',
    ],
    `listeners:\n  ${JSON.stringify(listener)}:\n    loadBalancers:\n      - ${yamlAddress(address)}\n`,
  )
}

const MIB = 1_048_576

/** Lines below a site: the recorded one of the address, else a new one that holds the address. */
function siteYaml({ address, site }: FixContext, lines: readonly string[]): string {
  const id = site?.id ?? newSiteId(address)
  const head =
    site === null ? ['name: Name of the customer', `addresses: [${yamlAddress(networkOf(address))}]`] : []
  return `sites:\n  ${id}:\n${[...head, ...lines].map(line => `    ${line}\n`).join('')}`
}

/** An id for a site that is known by one address only. */
export function newSiteId(address: string): string {
  return `site-${address.replaceAll(/[^0-9a-f]+/g, '-').replaceAll(/^-|-$/g, '')}`
}

/**
 * What to record of a machine that has this address: devices change their IPv6 address daily (RFC 8981) and keep the network.
 */
export function networkOf(address: string): string {
  const [high = 0, low = 0] = parseAddress(address)?.words ?? []
  if (!address.includes(':')) return address
  const groups = [high >>> 16, high & 0xffff, low >>> 16, low & 0xffff].map(group => group.toString(16))
  return `${parseAddress(`${groups.join(':')}::`)?.text ?? address}/64`
}

/** An address in YAML: the colons of IPv6 mean something there. */
export function yamlAddress(address: string): string {
  return address.includes(':') ? JSON.stringify(address) : address
}

function exceptionEnd(nowMs: number): string {
  return new Date(nowMs + EXCEPTION_DAYS * DAY_MS).toISOString().slice(0, 10)
}

function withoutFullPrefix(range: string): string {
  return range.replace(range.includes(':') ? /\/128$/ : /\/32$/, '')
}
