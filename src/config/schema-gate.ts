// Schema of the gate itself: listeners, names, upstreams, limits, journal, admin address, dashboard, directories.
import { z } from 'zod'
import {
  HINT,
  cidr,
  duration,
  endpoint,
  id,
  oneOrMany,
  plainHost,
  size,
  strict,
  tlsProfile,
} from './scalars.ts'
import { isConnectorUrl, parseConnectorUrl, type ConnectorUrl } from '../policy/connector-url.ts'
import { quoted } from './problems.ts'

const HOUR_MS = 3_600_000

/** A TLS listener. */
export const listener = strict({
  address: oneOrMany(endpoint)
    .optional()
    .describe(
      'Address and port, or a list of them. Left out: it has no port of its own; mixed streams hand TLS to it.',
    ),
  tls: tlsProfile.prefault('modern'),
  withoutName: plainHost
    .optional()
    .describe(
      'Host whose policy holds for clients that send no server name (SNI). Left out: such clients are refused.',
    ),
  loadBalancers: oneOrMany(cidr)
    .optional()
    .describe(
      'Load balancers that pass the client address on by PROXY protocol. From these it is required, from others refused.',
    ),
}).describe('A TLS listener.')

/** An upstream server. */
const origin = z
  .string()
  .meta({
    description:
      'Address of an RMM server: protocol, host and port. connector://name/service: a service of an attached connector, which speaks TLS to the server where its own file says so; connector+tls://name/service: the gate speaks TLS to the server through the tunnel.',
    examples: ['http://127.0.0.1:9080', 'https://rmm-internal.example.com', 'connector://rmm/https'],
  })
  .transform((text, context) => {
    const result = isConnectorUrl(text) ? readConnector(text) : readOrigin(text)
    if (typeof result !== 'string') return result
    context.issues.push({ code: 'custom', message: result, input: text })
    return z.NEVER
  })

type WrittenOrigin = {
  readonly protocol: 'http' | 'https'
  readonly host: string
  readonly port: number
  readonly connector?: ConnectorUrl
}

/** Host and port only show in the Host header of a rewritten request: the name of the connector serves for both. */
function readConnector(text: string): WrittenOrigin | string {
  const url = parseConnectorUrl(text)
  if (typeof url === 'string') return `${url}${HINT}for example connector://rmm/https`
  return {
    protocol: url.tls ? 'https' : 'http',
    host: url.connector,
    port: url.tls ? 443 : 80,
    connector: url,
  }
}

function readOrigin(text: string): WrittenOrigin | string {
  const example = `${HINT}write protocol, host and port: https://10.0.0.5:443`
  if (!/^https?:\/\//.test(text)) {
    return `${quoted(text)} does not begin with http:// or https://${example}`
  }
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.hostname === '')
    return `${quoted(text)} is not an address of a server${example}`
  if (url.username !== '' || url.password !== '')
    return `the address of a server must not hold a password${example}`
  if (url.pathname !== '/' || /[?#]/.test(text)) {
    return `${quoted(text)} has a path; requests keep their own path${example}`
  }
  const protocol = url.protocol === 'https:' ? 'https' : 'http'
  const port = url.port === '' ? (protocol === 'https' ? 443 : 80) : Number(url.port)
  if (port === 0) return `port 0 does not exist${example}`
  return { protocol, host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port }
}

const status = z.number().int().min(100).max(599)

/** The probe of an upstream group or profile. */
export const health = strict({
  method: z.enum(['GET', 'HEAD']).optional().describe('Method of the probe.'),
  path: z
    .string()
    .regex(/^\/[\x21-\x7e]{0,500}$/, `not a request path${HINT}begin with /`)
    .optional()
    .describe('Path (and query) of the probe.'),
  statuses: oneOrMany(status).optional().describe('Statuses that mean health.'),
  body: z
    .string()
    .max(200)
    .refine(isPattern, 'not a regular expression')
    .optional()
    .describe('Regular expression that the first 4 KiB of the body must match.'),
  interval: duration(500, HOUR_MS).optional().describe('Time between probes.'),
  timeout: duration(100, 60_000).optional().describe('Longest wait for the answer.'),
}).describe('The probe that tells whether a server lives. Parts that are left out come from the profile.')

/** A probe as read. */
export type WrittenHealth = z.output<typeof health>

function isPattern(text: string): boolean {
  try {
    return new RegExp(text) instanceof RegExp
  } catch {
    return false
  }
}

const file = z.string().min(1).max(400).describe('A file; relative paths begin in the certs directory.')

/** An upstream group. */
export const upstream = strict({
  primary: origin.describe('The server that serves while it is healthy.'),
  secondary: origin.optional().describe('The server that takes over at once when the primary fails.'),
  health: health.optional(),
  returnAfter: duration(1_000, 24 * HOUR_MS)
    .prefault('60s')
    .describe('Health that the primary must show before traffic returns to it.'),
  hostHeader: z
    .enum(['preserve', 'rewrite'])
    .default('preserve')
    .describe('preserve: the RMM server sees the name that the client used. rewrite: it sees its own.'),
  tls: strict({
    serverName: plainHost
      .optional()
      .describe('Name that the server’s certificate must carry; left out: the host of its address.'),
    ca: file
      .optional()
      .describe('Private authority (PEM) that signed the certificate; left out: the public ones.'),
    pins: oneOrMany(
      z
        .string()
        .regex(
          /^sha256\/[A-Za-z0-9+/]{43}=$/,
          `not a pin${HINT}sha256/ and the base64 SHA-256 of the public key: openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`,
        ),
    )
      .optional()
      .describe(
        'Pins of the public key, sha256/...; the certificate must have one of them and need not chain.',
      ),
  })
    .optional()
    .describe('How the certificate of an https server is verified. Verification cannot be switched off.'),
}).describe('An RMM server, with a second one to fall back to.')

/** A host name that clients use. */
export const name = strict({
  upstream: id.describe('The upstream that serves this name.'),
  profile: id.optional().describe('RMM product behind the name; left out: the general profile.'),
  tls: tlsProfile.optional().describe('TLS profile of this name; left out: the listener’s.'),
  certificates: oneOrMany(
    strict({
      cert: file.describe('Certificate chain (PEM); relative paths begin in the certs directory.'),
      key: file.describe('Private key (PEM); relative paths begin in the certs directory.'),
    }),
  )
    .optional()
    .describe(
      'Certificates, for example one ECDSA and one RSA. Left out: found by name in the certs directory.',
    ),
  whenDown: z
    .enum(['reset', 'unavailable'])
    .optional()
    .describe(
      'What clients see when no server of the upstream is alive. reset: the connection is closed at once, so that agents try their secondary address. unavailable: status 503 with Retry-After. Left out: reset when the name carries agents, otherwise unavailable.',
    ),
}).describe('A host name that clients use.')

const count = (min: number, max: number) => z.number().int().min(min).max(max)

/** Limits of the gate as a whole. */
export const gateLimits = strict({
  connections: count(10, 1_000_000).default(20_000).describe('Connections open at once.'),
  connectionsPerSource: count(1, 1_000_000)
    .default(5_000)
    .describe('Connections of one address open at once. A whole site may stand behind one address.'),
  hello: duration(500, 60_000).prefault('5s').describe('Longest wait for the TLS ClientHello.'),
  helloSize: size(1_024, 65_536).prefault('16KiB').describe('Largest ClientHello.'),
  handshake: duration(1_000, 120_000).prefault('10s').describe('Longest TLS handshake.'),
  headSize: size(4_096, 262_144).prefault('32KiB').describe('Largest request head.'),
  headerCount: count(20, 1_000).default(100).describe('Most headers of a request.'),
  targetSize: size(256, 65_536).prefault('8KiB').describe('Longest request target.'),
  head: duration(1_000, 120_000).prefault('10s').describe('Longest wait for a request head once it began.'),
  keepAlive: duration(1_000, HOUR_MS)
    .prefault('75s')
    .describe('How long an idle connection is kept. Agents check in every 30 s: keep it above that.'),
  requestsPerConnection: count(1, 10_000_000).default(100_000).describe('Requests on one connection.'),
  inspectSize: size(1_024, 16_777_216)
    .prefault('128KiB')
    .describe('Longest body that is held for rules, and the part of a longer one that they look at.'),
  messageSize: size(1_024, 1_048_576)
    .prefault('64KiB')
    .describe(
      'Longest WebSocket message that is held for rules, and the part of a longer one that they look at.',
    ),
  heldMemory: size(1_048_576, 16 * 1024 ** 3)
    .prefault('64MiB')
    .describe(
      'Memory for all bodies and messages that are held at one time. When it is full, whenUnread decides.',
    ),
  heldRate: size(1, 1_048_576, 0)
    .prefault('1KiB')
    .describe(
      'Slowest rate per second at which a body or message may arrive while it is held, after its first 10 s.',
    ),
  upstreamConnect: duration(100, 60_000)
    .prefault('5s')
    .describe('Longest wait for a connection to the RMM server.'),
  drain: duration(0, HOUR_MS).prefault('30s').describe('How long open connections may finish at shutdown.'),
}).describe('Limits of the gate as a whole.')

/** Where journals go. */
export const journal = strict({
  log: z.enum(['stdout', 'file', 'both']).default('stdout').describe('Where JSON log lines go.'),
  directory: z
    .string()
    .min(1)
    .max(400)
    .optional()
    .describe(
      'Directory of log files; left out: log/ in the state directory. Relative paths begin in the policy directory.',
    ),
  fileSize: size(65_536, 10 * 1024 ** 3)
    .prefault('50MiB')
    .describe('Size at which a log file is rotated.'),
  files: count(1, 1_000).default(10).describe('Log files kept.'),
  requests: z
    .enum(['all', 'refused', 'none'])
    .default('refused')
    .describe('Which requests get a log line of their own. Counts and the ledger hold all of them.'),
  eventDays: count(1, 3_650).default(30).describe('Days that events are kept in the store.'),
  ledgerDays: count(1, 3_650).default(30).describe('Days that the ledger of facts is kept.'),
  storeSize: size(16_777_216, 1024 ** 4)
    .prefault('1GiB')
    .describe('Largest store; the oldest entries go first.'),
}).describe('Where logs and records go and how long they live.')

/** The admin address. */
export const admin = strict({
  address: endpoint
    .prefault('127.0.0.1:9090')
    .describe(
      'Where metrics and status are served. It has no TLS, and metrics need no token: keep it on this machine.',
    ),
}).describe('The admin address.')

/** The dashboard. */
export const dashboard = strict({
  address: endpoint
    .prefault('127.0.0.1:9443')
    .describe(
      'Where the dashboard is served, over TLS. Keep it on this machine and reach it through SSH, or behind a firewall.',
    ),
  names: oneOrMany(plainHost)
    .optional()
    .describe(
      'Host names that it answers to. Addresses and localhost need none; any other name is refused, because it could be a foreign web site that points here.',
    ),
  certificate: strict({
    cert: file.describe('Certificate chain (PEM); relative paths begin in the certs directory.'),
    key: file.describe('Private key (PEM); relative paths begin in the certs directory.'),
  })
    .optional()
    .describe(
      'Its certificate. Left out: found by name in the certs directory, otherwise one of the development authority.',
    ),
  publish: strict({
    host: plainHost.describe(
      'A host name of its own, never one of the RMM server. DNS must lead it to the gate.',
    ),
    sources: oneOrMany(cidr)
      .default([])
      .describe('Addresses that may see it, at most a /16 (IPv6: a /32) each.'),
    sites: oneOrMany(id).default([]).describe('Sites whose addresses may see it.'),
  })
    .optional()
    .describe(
      "Serves the dashboard at a name of the gate's own TLS listeners, too, behind bans, countries, rules and limits, to these sources only. Left out: it is not published.",
    ),
}).describe('The dashboard. Left out: there is none.')

const directory = z.string().min(1).max(400)

/** Directories. */
export const directories = strict({
  certs: directory.default('../certs').describe('Certificates and keys.'),
  geoip: directory
    .default('../geoip')
    .describe('Country databases (.mmdb) that take the place of the built-in one.'),
  state: directory.default('../var').describe('What the gate itself writes: store, session keys, logs.'),
}).describe('Directories. Relative paths begin in the policy directory.')
