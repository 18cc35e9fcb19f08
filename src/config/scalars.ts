// The words of policy files: durations, sizes, addresses, countries, dates and the like, each with its syntax error in plain words.
import { z } from 'zod'
import { parseAddress } from '../net/address.ts'
import { parseCidr, type Cidr } from '../net/cidr.ts'
import { TLS_VERSIONS } from '../net/tls-version.ts'
import { CLASSES } from '../policy/classes.ts'
import { isConnectorUrl, parseConnectorUrl, type ConnectorUrl } from '../policy/connector-url.ts'
import type { Countries, Endpoint } from '../policy/snapshot.ts'
import { COUNTRY_CODES, likelyCountry } from './countries.ts'
import { quoted } from './problems.ts'
import { networkOf } from './network.ts'
import { suggestion } from './spelling.ts'

/** Separates the message of a schema check from its hint; issues.ts takes them apart. */
export const HINT = '\u0000'

/** A strict object: unknown keys are errors, and the error knows which keys there are. */
export function strict<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const known = Object.keys(shape).join(',')
  return z.strictObject(shape, {
    error: issue => (issue.code === 'unrecognized_keys' ? known : undefined),
  })
}

/** A block with classes as keys. */
export function perClass<Schema extends z.ZodType>(settings: Schema) {
  return z.partialRecord(z.enum(CLASSES), settings, {
    error: issue => {
      // The type knows only the codes of plain records.
      const code: string = issue.code
      return code === 'unrecognized_keys' ? CLASSES.join(',') : undefined
    },
  })
}

/** One value or a list of them; always a list in the result. */
export function oneOrMany<Schema extends z.ZodType>(item: Schema) {
  return z
    .union([z.array(item).min(1), item])
    .transform((value): z.output<Schema>[] =>
      Array.isArray(value) ? (value as z.output<Schema>[]) : [value as z.output<Schema>],
    )
}

type Meta = { readonly description: string; readonly examples: string[]; readonly pattern?: string }

/** A text with its own reader: the reader returns the value, or a sentence (and a hint) why not. */
export function word<Value>(
  meta: Meta,
  read: (text: string) => { readonly value: Value } | readonly [message: string, hint?: string],
) {
  return z
    .string()
    .max(4096)
    .meta(meta)
    .transform((text, context) => {
      const result = read(text)
      if ('value' in result) return result.value
      const [message, hint] = result
      context.issues.push({
        code: 'custom',
        message: hint === undefined ? message : message + HINT + hint,
        input: text,
      })
      return z.NEVER
    })
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** A duration such as `30s`; the result is in milliseconds. */
export function duration(minMs: number, maxMs: number) {
  return word(
    { description: 'A duration: number and unit.', examples: ['30s', '500ms', '10m', '2h', '7d'] },
    text => {
      const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text)
      if (match === null) {
        return [`${quoted(text)} is not a duration`, 'write number and unit: 500ms, 30s, 10m, 2h or 7d']
      }
      const value = Number(match[1]) * (DURATION_UNITS[match[2] ?? ''] ?? Number.NaN)
      if (value < minMs) return [`${text} is too short; at least ${formatDuration(minMs)}`]
      if (value > maxMs) return [`${text} is too long; at most ${formatDuration(maxMs)}`]
      return { value }
    },
  )
}

/** Milliseconds in the unit that a policy would use. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const size = DURATION_UNITS[unit] ?? 1
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${ms}ms`
}

const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** A size such as `64KiB`; the result is in bytes. With `none`, that word means `noneBytes`. */
export function size(minBytes: number, maxBytes: number, noneBytes?: number) {
  const none = noneBytes === undefined ? '' : ', or "none" for no limit'
  return word(
    {
      description: `A size: number and unit (B, KiB, MiB, GiB)${none}.`,
      examples: ['10MiB', '64KiB', '2GiB'],
    },
    text => {
      if (text === 'none' && noneBytes !== undefined) return { value: noneBytes }
      const match = /^(\d{1,9}) ?(B|KiB|MiB|GiB)$/.exec(text)
      if (match === null)
        return [`${quoted(text)} is not a size`, `write number and unit: 64KiB, 10MiB${none}`]
      const value = Number(match[1]) * (SIZE_UNITS[match[2] ?? ''] ?? Number.NaN)
      if (value < minBytes) return [`${text} is too small; at least ${formatSize(minBytes)}`]
      if (value > maxBytes) return [`${text} is too large; at most ${formatSize(maxBytes)}`]
      return { value }
    },
  )
}

/** Bytes in the unit that a policy would use. */
export function formatSize(bytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB'] as const) {
    const factor = SIZE_UNITS[unit] ?? 1
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`
  }
  return `${bytes}B`
}

/** An address or an address range. */
export const cidr = word<Cidr>(
  {
    description: 'An address or a range in CIDR form.',
    examples: ['203.0.113.7', '198.51.100.0/24', '2001:db8::/48'],
  },
  text => {
    const parsed = parseCidr(text)
    if (typeof parsed !== 'string') return { value: parsed }
    switch (parsed) {
      case 'not-an-address':
        return [
          `${quoted(text)} is not an address or range`,
          'write 203.0.113.7 or 203.0.113.0/24; names are not resolved here',
        ]
      case 'bad-prefix':
        return [`${quoted(text)} has an impossible prefix length`, '0 to 32 for IPv4, 0 to 128 for IPv6']
      case 'host-bits': {
        const slash = text.indexOf('/')
        const network = networkOf(text.slice(0, slash), Number(text.slice(slash + 1)))
        const alone = text.slice(0, slash)
        return [
          `${quoted(text)} is not a network: the address has bits set beyond the prefix`,
          network === undefined
            ? `did you mean ${alone}?`
            : `did you mean the network ${network} or the one address ${alone}?`,
        ]
      }
    }
  },
)

/** `address:port` to listen on. */
export const endpoint = word<Endpoint>(
  {
    description: 'Address and port to listen on.',
    examples: ['0.0.0.0:8443', '[::]:8443', '127.0.0.1:9090'],
  },
  text => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
    if (match === null) return [`${quoted(text)} is not address:port`, 'write 0.0.0.0:8443 or [::]:8443']
    const address = parseAddress(match[1] ?? match[2] ?? '')
    if (address === undefined) {
      return [
        `${quoted(text)} does not begin with an address`,
        'listeners need an address of this machine: 0.0.0.0 is every IPv4 address, [::] every address',
      ]
    }
    const port = Number(match[3])
    if (port > 65_535) return [`port ${port} does not exist`, 'ports end at 65535']
    return { value: { host: address.text, port } }
  },
)

/** Where heartbeats go: `address:port`, or `connector://name/service`. */
export const heartbeatUpstream = word<Endpoint | ConnectorUrl>(
  {
    description:
      'Address and UDP port of the RMM server, or connector://name/service: the UDP service of a connector that dials in from there.',
    examples: ['10.0.0.5:75', 'connector://rmm/heartbeat'],
  },
  text => {
    if (isConnectorUrl(text)) {
      const read = parseConnectorUrl(text)
      if (typeof read === 'string') return [read, 'for example connector://rmm/heartbeat']
      if (read.tls) return ['heartbeats carry no TLS', 'write connector://, not connector+tls://']
      return { value: read }
    }
    const read = endpoint.safeParse(text)
    if (read.success) return { value: read.data }
    const [message = '', hint] = (read.error.issues[0]?.message ?? '').split(HINT)
    return hint === undefined ? [message] : [message, hint]
  },
)

/** An ISO country code. Booleans and other non-text values are explained in issues.ts (the "Norway" case). */
export const country = word<string>(
  {
    description: 'A country: ISO 3166-1 alpha-2 code in capitals.',
    examples: ['US', 'CA', 'GB'],
    pattern: '^[A-Z]{2}$',
  },
  text => {
    if (COUNTRY_CODES.has(text)) return { value: text }
    if (text === 'EU') return ['"EU" is not a country', 'list the countries one by one: [DE, FR, ...]']
    const likely = likelyCountry(text)
    return [
      `${quoted(text)} is not an ISO 3166-1 country code`,
      likely === undefined ? 'two capital letters, for example US or CA' : `did you mean ${likely}?`,
    ]
  },
)

/** Countries as written: `any`, or codes and the word `home`. */
export type WrittenCountries = 'any' | readonly string[]

/** A list of countries in which `home` stands for the home countries; or `any`. */
export const countries = z
  .union([
    z.array(
      z
        .string()
        .meta({ description: 'A country code, or home.', examples: ['home', 'CA'] })
        .transform((text, context) => {
          if (text === 'home') return text
          const result = country.safeParse(text)
          if (result.success) return result.data
          const message = text === 'any' ? `"any" stands alone${HINT}write countries: any` : undefined
          context.issues.push({
            code: 'custom',
            message: message ?? result.error.issues[0]?.message ?? 'not a country',
            input: text,
          })
          return z.NEVER
        }),
    ),
    z.literal('any'),
  ])
  .transform((value): WrittenCountries => value)

/** Replaces `home` in a list of countries. */
export function resolveCountries(written: WrittenCountries, home: ReadonlySet<string>): Countries {
  if (written === 'any') return 'any'
  return new Set(written.flatMap(entry => (entry === 'home' ? [...home] : [entry])))
}

/** A day; the result is the last moment of that day in UTC plus one, in milliseconds since the epoch. */
export const lastDay = word<number>(
  {
    description: 'Last day on which this holds (UTC).',
    examples: ['2027-03-31'],
    pattern: '^\\d{4}-\\d{2}-\\d{2}$',
  },
  text => {
    const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text)
    if (match === null) return [`${quoted(text)} is not a date`, 'write year-month-day: 2027-03-31']
    const startMs = Date.UTC(Number(match[1]), Number(match[2]) - 1, Number(match[3]))
    if (new Date(startMs).toISOString().slice(0, 10) !== text) return [`${text} is not a day of the calendar`]
    return { value: startMs + 86_400_000 }
  },
)

/** A day as policies write it, from the value of `lastDay`. */
export function formatLastDay(expiresMs: number): string {
  return new Date(expiresMs - 1).toISOString().slice(0, 10)
}

/** A TLS version. */
export const tlsVersion = z.enum(TLS_VERSIONS).describe('A TLS version.')

/** A traffic class. */
export const trafficClass = z.enum(CLASSES).describe('A traffic class.')

/** A TLS profile. */
export const tlsProfile = z
  .enum(['modern', 'strict', 'legacy'])
  .describe(
    'modern: TLS 1.2 and 1.3. strict: TLS 1.3 only. legacy: TLS 1.0 and later, weak, for a listener or name of its own.',
  )

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?'
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`)

/** Why a text is not a host name; undefined when it is one. */
export function hostProblem(text: string, wildcard: boolean): readonly [string, string?] | undefined {
  const rest = wildcard && text.startsWith('*.') ? text.slice(2) : text
  if (text.includes('*') && (!wildcard || rest.includes('*') || !rest.includes('.'))) {
    return [
      `${quoted(text)} is not a usable wildcard`,
      wildcard ? 'a wildcard stands for one whole first label: "*.example.com"' : 'write the full name',
    ]
  }
  if (text.includes('://') || text.includes('/')) {
    return [`${quoted(text)} is an URL, not a host name`, 'write the name alone: rmm.example.com']
  }
  if (/:\d+$/.test(text)) return [`${quoted(text)} has a port`, 'the port belongs to the listener']
  if (text !== text.toLowerCase())
    return [`${quoted(text)} has capital letters`, `write ${text.toLowerCase()}`]
  if (rest.length > 253 || !HOST.test(rest)) return [`${quoted(text)} is not a host name`]
  return undefined
}

/** A host name that clients use; `*.example.com` covers one label. */
export const servedHost = word<string>(
  { description: 'A host name; *.example.com stands for any one label.', examples: ['rmm.example.com'] },
  text => hostProblem(text, true) ?? { value: text },
)

/** A plain host name. */
export const plainHost = word<string>(
  { description: 'A host name.', examples: ['rmm.example.com'] },
  text => hostProblem(text, false) ?? { value: text },
)

/** The id of a site, upstream, listener or profile. */
export const id = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, {
  error: issue =>
    `${quoted(issue.input)} is not an id${HINT}small letters, digits and dashes, beginning with a letter or digit`,
})

/** Free text that people read. */
export function note(description: string) {
  return z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(400, 'at most 400 characters')
    .describe(description)
}

/** A request method. */
export const method = word<string>(
  { description: 'A request method in capitals.', examples: ['GET', 'POST'] },
  text => {
    if (METHODS.includes(text)) return { value: text }
    return [
      `${quoted(text)} is not a request method that the gate knows`,
      suggestion(text.toUpperCase(), METHODS) ?? undefined,
    ].filter(part => part !== undefined) as [string, string?]
  },
)

const METHODS: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** A path pattern as in ClassRule.pattern. */
export const pathPattern = word<string>(
  {
    description:
      'A path. It covers itself and everything below it; * stands for one segment or a part of one, ** for any number of segments, a final $ means exactly this path.',
    examples: ['/LabTech/Agent.aspx', '/api/**/status', '/login$'],
  },
  text => {
    if (!text.startsWith('/')) {
      return text.includes('://')
        ? [`${quoted(text)} is an URL, not a path`, 'begin with the slash after the host name']
        : [`${quoted(text)} does not begin with /`]
    }
    if (/[?#]/.test(text)) return [`${quoted(text)} has a query or fragment; only the path is matched`]
    if (/[\s\\%;\p{Cc}]/u.test(text)) {
      return [
        `${quoted(text)} has characters that a normalised path never has`,
        'no spaces, %, ; or backslashes: patterns match the decoded path',
      ]
    }
    if (text.includes('//') || /\/\.{1,2}(?:\/|$)/.test(text)) {
      return [`${quoted(text)} is not normalised`, 'no //, /./ or /../: it would never match']
    }
    if (text.slice(0, -1).includes('$')) return [`${quoted(text)}: $ only has a meaning at the end`]
    if ((text.match(/\*/g)?.length ?? 0) > 8) return [`${quoted(text)} has more than 8 stars`]
    return { value: text }
  },
)
