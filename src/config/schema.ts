// Schema of portcullis.yaml. Its descriptions become the JSON Schema for editors and docs/policy-reference.md.
import { z } from 'zod'
import { DEFAULT_THRESHOLD } from '../ips/compile.ts'
import { classLine } from './schema-profile.ts'
import { classMap } from './schema-classes.ts'
import { deployment } from './schema-deployment.ts'
import { invitations } from './schema-invitations.ts'
import { heartbeatListener } from './schema-heartbeats.ts'
import { stream } from './schema-streams.ts'
import { gateway } from './schema-gateway.ts'
import { trial } from './schema-trial.ts'
import {
  admin,
  dashboard,
  directories,
  gateLimits,
  journal,
  listener,
  name,
  upstream,
} from './schema-gate.ts'
import {
  cidr,
  countries,
  country,
  id,
  lastDay,
  note,
  oneOrMany,
  servedHost,
  strict,
  tlsVersion,
  trafficClass,
} from './scalars.ts'

/** Deployment models. */
const model = z
  .enum(['all-traffic', 'agent-only', 'mixed'])
  .describe(
    'all-traffic: every class is open to the home countries. agent-only: agents pass, everything else (enrolment, consoles, API, unknown paths) is closed. mixed: agents pass from everywhere that is open, everything else only from trusted addresses.',
  )

const reason = note('Why, for the next admin.')
const owner = note('Who answers for this.')

const trusted = z
  .union([
    strict({ address: cidr, note: note('What this address is.').optional() }),
    cidr.transform(address => ({ address, note: undefined })),
  ])
  .describe('A trusted address or range, for example an office.')

const tlsException = strict({
  minimum: tlsVersion.describe('Weakest TLS version that clients of this site may use.'),
  reason,
  owner,
  expires: lastDay,
}).describe('Lets old clients of a site in below the TLS minimum. Reason, owner and expiry are required.')

const site = strict({
  name: note('Name of the site as people know it; left out: its id.').optional(),
  addresses: z.array(cidr).min(1).describe('Public addresses of the site.'),
  countries: countries
    .optional()
    .describe('Countries that are admitted from this site in addition to those of the class.'),
  trusted: z.boolean().default(false).describe('Whether the site may use classes whose access is trusted.'),
  model: model.optional(),
  classes: classMap
    .optional()
    .describe('Class settings for this site; what is left out stays as it is in general.'),
  tlsException: tlsException.optional(),
  connectionsPerSource: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('Connections of one address of this site open at once; left out: the general limit.'),
  agents: z
    .number()
    .int()
    .min(0)
    .max(1_000_000)
    .optional()
    .describe('Agents that the RMM knows at this site; the cut-over compares with it.'),
}).describe('A customer location, known by its public addresses.')

const entry = strict({
  address: cidr,
  classes: oneOrMany(trafficClass).optional().describe('Only these classes; left out: all.'),
  reason,
  owner,
  expires: lastDay
    .optional()
    .describe('Last day on which this holds (UTC); left out: until somebody removes it.'),
})

const answer = (value: 'allow' | 'refuse', description: string) =>
  z.enum(['allow', 'refuse']).default(value).describe(description)

const geo = strict({
  private: answer('refuse', 'Private addresses (10/8, 172.16/12, 192.168/16, link-local, fc00::/7).'),
  cgnat: answer('refuse', 'Addresses inside a provider’s network (100.64/10).'),
  loopback: answer('refuse', 'This machine itself.'),
  unknown: answer('refuse', 'Public addresses that no database knows.'),
  unavailable: answer('refuse', 'Public addresses while no database is loaded.'),
  overrides: z
    .array(strict({ address: cidr, country, reason }))
    .default([])
    .describe('Corrections of the database.'),
}).describe('What becomes of addresses that have no country, and corrections of the database.')

const ruleMode = z.enum(['enforce', 'detect', 'off'])

// Tags of imported rules have capitals and slashes: OWASP_CRS/ATTACK-SQLI.
const ruleTag = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$/, 'is not a tag')

const ruleModeEntry = strict({
  rule: id.optional().describe('Only this rule.'),
  tag: ruleTag.optional().describe('Only rules with this tag.'),
  pack: id.optional().describe('Only rules of this pack.'),
  class: oneOrMany(trafficClass).optional().describe('Only requests of these classes.'),
  site: oneOrMany(id).optional().describe('Only requests from these sites.'),
  listener: oneOrMany(id).optional().describe('Only requests on these listeners.'),
  mode: ruleMode,
}).describe('Mode of rules in a place.')

const ruleException = strict({
  rule: id.optional().describe('Id of the rule.'),
  tag: ruleTag.optional().describe('Instead of rule: all rules with this tag.'),
  pack: id.optional().describe('Instead of rule: all rules of this pack.'),
  paths: oneOrMany(z.string().startsWith('/', 'must begin with /').max(400))
    .optional()
    .describe('Only on these paths and below them (decoded, in small letters).'),
  fields: oneOrMany(z.string().min(1).max(100))
    .optional()
    .describe('Only in these fields, for example args.filter.'),
  sources: oneOrMany(cidr).optional().describe('Only from these addresses.'),
  sites: oneOrMany(id).optional().describe('Only from these sites.'),
  reason,
  owner,
  expires: lastDay,
}).describe(
  'Keeps rules from acting in a place. One of rule, tag and pack, and at least one of paths, sources and sites.',
)

const importedRules = strict({
  paranoia: z
    .number()
    .int()
    .min(1)
    .max(4)
    .default(1)
    .describe('Paranoia level of the rule set: 1 has the fewest false positives, 4 the most rules.'),
  threshold: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(5)
    .describe('Points of the rule set’s own scoring at which it refuses a request.'),
  mode: ruleMode
    .default('detect')
    .describe(
      'enforce: what the rule set’s own scoring refuses is refused. detect: hits are recorded. off: not asked. Entries of modes for the name of the set, its rules (crs-942100) and their tags say otherwise.',
    ),
  without: z
    .array(z.number().int().min(1).max(999_999_999_999))
    .max(1_000)
    .default([])
    .describe('Numbers of rules that are not asked, for example 942100.'),
}).describe('How an imported rule set is used.')

const rules = strict({
  packs: z
    .array(id)
    .optional()
    .describe('Rule packs in use; left out: those of the profiles in use, and generic.'),
  modes: z
    .union([z.record(id, ruleMode), z.array(ruleModeEntry).max(500)])
    .default({})
    .describe(
      'Mode by rule or by pack: enforce, detect (record, let pass) or off. As a list, also by tag, class, site and listener: `- { tag: sqli, class: console, mode: detect }`. The most specific entry counts: one for a rule before one for a tag before one for a pack before one for none of them; then one for a site before one for a listener before one for a class; then the last.',
    ),
  enforceAfter: z
    .record(id, z.number().int().min(1).max(365))
    .default({})
    .describe(
      'Days by rule or by pack: the rule detects at first and enforces by itself once it has been watched for so many days without a hit of a known agent (an address whose agents checked in within several hours of the last 30 days). Entries of modes for places stay as they are. See what enforcing would refuse: portcullis rules preview.',
    ),
  threshold: z
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(DEFAULT_THRESHOLD)
    .describe(
      'Points at which rules that score refuse a request together: critical 5, high 4, medium 3, low 2. The refusal is a hit of the rule score-threshold.',
    ),
  imported: z
    .record(id, importedRules)
    .default({})
    .describe('Imported rule sets in use, by the name that `portcullis rules import` gave them.'),
  exceptions: z.array(ruleException).default([]).describe('Places where a rule does not act.'),
}).describe('Which rules hold, and where they do not.')

/** portcullis.yaml. */
export const policyFile = strict({
  version: z.literal(1).describe('Version of the policy format.'),
  home: oneOrMany(country).describe(
    'Home countries: the only ones that anything is open to unless a class or site says more.',
  ),
  model,
  profile: id.describe('RMM product: a file in profiles/, without .yaml.'),
  listeners: z.record(id, listener).describe('TLS listeners by id.'),
  heartbeats: z
    .record(id, heartbeatListener)
    .default({})
    .describe('UDP listeners for heartbeats by id, for products that send them (Automate: UDP port 75).'),
  streams: z
    .record(id, stream)
    .default({})
    .describe(
      'Listeners for raw TCP by id: relays, databases, remote control, everything that is not HTTPS.',
    ),
  invitations: invitations.optional(),
  names: z
    .record(servedHost.pipe(z.string()), name)
    .describe('Host names that clients use. All others are refused.'),
  upstreams: z.record(id, upstream).describe('RMM servers by id.'),
  gateway: gateway.prefault({}),
  trusted: z
    .array(trusted)
    .default([])
    .describe('Addresses that may use classes whose access is trusted: offices, VPN exits.'),
  classes: classMap.default({}),
  routes: z
    .array(classLine)
    .max(500)
    .default([])
    .describe('Lines that come before those of the profile, for example to close a single page.'),
  sites: z.record(id, site).default({}).describe('Customer locations by id.'),
  allow: z
    .array(entry)
    .default([])
    .describe('Sources that are let in before bans and countries are asked; rules still hold.'),
  bans: z.array(entry).default([]).describe('Sources that are refused.'),
  geo: geo.prefault({}),
  trial: trial.optional(),
  rules: rules.prefault({}),
  limits: gateLimits.prefault({}),
  journal: journal.prefault({}),
  admin: admin.prefault({}),
  dashboard: dashboard.optional(),
  deployment: deployment.prefault({}),
  directories: directories.prefault({}),
}).describe('Policy of a Portcullis gate.')

/** The policy as read: syntax checked, references not. */
export type WrittenPolicy = z.output<typeof policyFile>
/** An allow or ban entry as read. */
export type WrittenEntry = z.output<typeof entry>
/** A site as read. */
export type WrittenSite = z.output<typeof site>
