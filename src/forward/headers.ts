// PURE: which headers pass the gate, in both directions, and which the gate itself adds.
import type { ForwardedHeader, Profile, UpstreamGroup, UpstreamMember } from '../policy/snapshot.ts'
import { publicCookie, publicLocation, publicRefresh } from './inner-origin.ts'

/** The way of one request: between which names its headers are translated. */
export type Way = {
  readonly profile: Profile
  readonly group: UpstreamGroup
  readonly member: UpstreamMember
  /** Host header as received, lower-case, with the port if one was sent. */
  readonly host: string
  /** Canonical address of the client. */
  readonly clientAddress: string
}

/** Hop-by-hop by RFC 9110 section 7.6.1 and practice, framing, and Expect, which the edge has answered itself. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'http2-settings',
  'expect',
  'host',
])

/**
 * What applications behind proxies read as "who asks, from where, over what, for what". Only the gate may say that:
 * a client that sends one of these lies or was misled (RMM servers believe far more than X-Forwarded-For).
 */
const CLIENT_FAMILY = new Set([
  'forwarded',
  'forwarded-for',
  'true-client-ip',
  'client-ip',
  'real-ip',
  'remote-addr',
  'remote-user',
  'remote-groups',
  'remote-email',
  'remote-name',
  'remote-ip',
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'cf-pseudo-ipv4',
  'cf-ipcountry',
  'cf-visitor',
  'fastly-client-ip',
  'fly-client-ip',
  'wl-proxy-client-ip',
  'ali-cdn-real-ip',
  'incap-client-ip',
  'x-real-ip',
  'x-real-port',
  'x-client-ip',
  'x-client-cert',
  'x-cluster-client-ip',
  'x-remote-ip',
  'x-remote-addr',
  'x-remote-user',
  'x-webauth-user',
  'x-authenticated-user',
  'x-authenticated-userid',
  'x-auth-request-user',
  'x-auth-request-email',
  'x-originating-ip',
  'x-proxyuser-ip',
  'x-envoy-external-address',
  'x-azure-clientip',
  'x-azure-socketip',
  'x-azure-fdid',
  'x-ms-forwarded-client-ip',
  'x-ms-proxy',
  'x-appengine-user-ip',
  'x-nginx-proxy',
  'x-host',
  'x-http-host-override',
  'x-rewrite-url',
  'x-url-scheme',
  'x-scheme',
  'x-arr-clientcert',
  'x-arr-ssl',
  'x-arr-log-id',
  'front-end-https',
])

const CLIENT_FAMILY_PREFIXES = [
  'x-forwarded',
  'x-original',
  'x-ssl-client',
  'ssl-client',
  'x-ms-client-principal',
  'x-goog-authenticated-user',
  'x-goog-iap',
]

/** A Connection header cannot remove these: servers and rules must agree on what a request says. */
const END_TO_END = new Set([
  'accept',
  'accept-encoding',
  'authorization',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-range',
  'content-security-policy',
  'content-type',
  'cookie',
  'date',
  'etag',
  'expires',
  'last-modified',
  'location',
  'origin',
  'pragma',
  'range',
  'referer',
  'set-cookie',
  'strict-transport-security',
  'user-agent',
  'vary',
  'www-authenticate',
])

/** Response headers that can show the inner origin. */
const SPEAKS_OF_ORIGIN = new Set(['location', 'content-location', 'refresh', 'set-cookie'])

type NameKind = {
  readonly lower: string
  readonly isHopByHop: boolean
  readonly isClientFamily: boolean
  readonly isEndToEnd: boolean
  readonly speaksOfOrigin: boolean
}

const MAX_REMEMBERED = 1024
const kinds = new Map<string, NameKind>()

const UNSAFE_VALUE = /[\0\r\n]/
const UNUSUAL_NAME = /[^a-z0-9-]/g

/**
 * Headers for the upstream: hop-by-hop, framing and the whole client-address family (in every spelling that a CGI-like
 * server would take for it) are gone, Host is set, and exactly the forwarded headers that the profile reads are added.
 * For an upgrade the forwarder itself adds Connection and Upgrade; Sec-WebSocket-* pass.
 * @param raw flat name, value list as the strict parser delivered it
 */
export function headersForUpstream(raw: readonly string[], way: Way): string[] {
  const named = connectionOptions(raw)
  const headers: string[] = ['Host', upstreamHost(way)]
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    const kind = kindOf(name)
    if (kind.isHopByHop || kind.isClientFamily || isNamed(kind, named) || UNSAFE_VALUE.test(value)) continue
    headers.push(name, value)
  }
  for (const name of way.profile.forwardedHeaders) addForwarded(headers, name, way)
  return headers
}

/**
 * Headers for the client: hop-by-hop headers and the profile's version headers are gone, and redirects and cookies
 * speak of the public name only. Content-Length is gone too: the edge states it from `UpstreamResponseHead.contentLength`.
 * After a 101 the edge itself adds Connection and Upgrade.
 * @param raw flat name, value list as received from the upstream
 */
export function headersForDownstream(raw: readonly string[], way: Way): string[] {
  const named = connectionOptions(raw)
  const removed = way.profile.removeResponseHeaders
  const headers: string[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    const kind = kindOf(name)
    if (kind.isHopByHop || isNamed(kind, named) || kind.lower === 'alt-svc') continue
    if (removed.includes(kind.lower) || UNSAFE_VALUE.test(value)) continue
    headers.push(name, kind.speaksOfOrigin ? publicValue(kind.lower, value, way) : value)
  }
  return headers
}

/** Trailers that may go on, in either direction: nothing that a recipient could merge into the head (RFC 9110, section 6.5.1). */
export function trailersToForward(raw: readonly string[]): string[] {
  const trailers: string[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    const kind = kindOf(name)
    if (kind.isHopByHop || kind.isClientFamily || kind.isEndToEnd || UNSAFE_VALUE.test(value)) continue
    trailers.push(name, value)
  }
  return trailers
}

/** Host header for the upstream by the group's choice. */
function upstreamHost(way: Way): string {
  if (way.group.hostHeader === 'preserve') return way.host
  const { protocol, host, port } = way.member.origin
  const name = host.includes(':') ? `[${host}]` : host
  return port === (protocol === 'https' ? 443 : 80) ? name : `${name}:${port}`
}

/** Lower-case names in all Connection headers; null when there is none beyond the plain options. */
function connectionOptions(raw: readonly string[]): ReadonlySet<string> | null {
  let named: Set<string> | null = null
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue
    for (const part of (raw[at + 1] ?? '').toLowerCase().split(',')) {
      const option = part.trim()
      if (option === 'keep-alive' || option === 'close' || option === 'upgrade' || option === '') continue
      named ??= new Set()
      named.add(option)
    }
  }
  return named
}

/** A header that Connection names ends here, unless it is one that must not be lost. */
function isNamed(kind: NameKind, named: ReadonlySet<string> | null): boolean {
  return named !== null && !kind.isEndToEnd && named.has(kind.lower)
}

/** What a name is, remembered by its spelling: clients use few spellings, and the memory is bounded. */
function kindOf(name: string): NameKind {
  const known = kinds.get(name)
  if (known !== undefined) return known
  const kind = classifyName(name)
  if (name.length > 64) return kind
  // Started anew rather than left full: otherwise one client with made-up names would slow everybody down for good.
  if (kinds.size >= MAX_REMEMBERED) kinds.clear()
  // A text of its own: the part of a head would keep the whole head in memory.
  kinds.set(` ${name}`.slice(1), kind)
  return kind
}

function classifyName(name: string): NameKind {
  const lower = name.toLowerCase()
  // CGI, WSGI, PHP and IIS see `X_Real.IP` and `X-Real-IP` as one variable: so do we.
  const canonical = lower.replace(UNUSUAL_NAME, '-')
  return {
    lower,
    isHopByHop: HOP_BY_HOP.has(canonical) || canonical === 'proxy' || canonical.startsWith('proxy-'),
    isClientFamily:
      CLIENT_FAMILY.has(canonical) || CLIENT_FAMILY_PREFIXES.some(prefix => canonical.startsWith(prefix)),
    isEndToEnd: END_TO_END.has(lower) || lower.startsWith('sec-'),
    speaksOfOrigin: SPEAKS_OF_ORIGIN.has(lower),
  }
}

function addForwarded(headers: string[], name: ForwardedHeader, way: Way): void {
  switch (name) {
    case 'x-forwarded-for':
      headers.push('X-Forwarded-For', way.clientAddress)
      break
    case 'x-forwarded-proto':
      headers.push('X-Forwarded-Proto', 'https')
      break
    case 'x-forwarded-host':
      headers.push('X-Forwarded-Host', way.host)
      break
    case 'x-real-ip':
      headers.push('X-Real-IP', way.clientAddress)
      break
    case 'forwarded':
      headers.push('Forwarded', `for=${node(way.clientAddress)};host="${way.host}";proto=https`)
      break
  }
}

/** RFC 7239, section 6: an IPv6 address is bracketed and quoted. */
function node(address: string): string {
  return address.includes(':') ? `"[${address}]"` : address
}

function publicValue(lower: string, value: string, way: Way): string {
  switch (lower) {
    case 'location':
    case 'content-location':
      return publicLocation(value, way)
    case 'refresh':
      return publicRefresh(value, way)
    case 'set-cookie':
      return publicCookie(value, way)
    default:
      return value
  }
}
