// PURE: rewrites what an upstream says of its own inner name or address, so that clients only ever see the public name.
import { addressScope, parseAddress } from '../net/address.ts'
import type { UpstreamMember } from '../policy/snapshot.ts'

/** Between which names a value is translated. `host` is the public host as the client wrote it, with the port if sent. */
export type InnerWay = { readonly member: UpstreamMember; readonly host: string }

const AUTHORITY = /^(https?:)?[/\\]{2}([^/\\?#]*)(.*)$/is
const REFRESH = /^(\s*[0-9.]+\s*[;,]\s*(?:url\s*=\s*)?)(['"]?)(.*)$/is
const DOMAIN_ATTRIBUTE = /^\s*domain\s*=\s*(.*?)\s*$/is
const SECURE_ATTRIBUTE = /^\s*secure\s*(?:=.*)?$/is

/**
 * A Location as clients may see it. A URL on the inner origin, on a private address or on a name without a dot becomes
 * `https://<public host>`; plain http on the public host becomes https, because the gate serves nothing else.
 * Relative references and all other hosts stay as they are.
 */
export function publicLocation(value: string, way: InnerWay): string {
  const match = AUTHORITY.exec(value)
  if (match === null) return value
  const scheme = (match[1] ?? '').toLowerCase()
  const { host, port } = splitAuthority(match[2] ?? '')
  const rest = match[3] ?? ''
  const isPublic = host === splitAuthority(way.host).host
  const moved = isPublic ? isPlainPublic(scheme, port, way) : isInner(host, port, way.member)
  return moved ? `https://${way.host}${rest}` : value
}

/** A Refresh header (`5; url=...`) whose URL is treated like a Location. */
export function publicRefresh(value: string, way: InnerWay): string {
  const match = REFRESH.exec(value)
  if (match === null) return value
  return `${match[1] ?? ''}${match[2] ?? ''}${publicLocation(match[3] ?? '', way)}`
}

/**
 * A Set-Cookie as clients may see it: a Domain that names the inside is removed (the cookie then belongs to the public
 * host alone), and Secure is added, because the gate serves https only.
 */
export function publicCookie(value: string, way: InnerWay): string {
  const parts = value.split(';')
  let secure = false
  let changed = false
  const kept: string[] = []
  for (const [index, part] of parts.entries()) {
    if (index > 0) {
      const domain = DOMAIN_ATTRIBUTE.exec(part)?.[1]
      if (domain !== undefined && isInnerDomain(domain, way)) {
        changed = true
        continue
      }
      secure ||= SECURE_ATTRIBUTE.test(part)
    }
    kept.push(part)
  }
  if (secure && !changed) return value
  if (!secure) kept.push(' Secure')
  return kept.join(';')
}

/** The upstream knows the public host, but not that it is reached over TLS or through another port. */
function isPlainPublic(scheme: string, port: string, way: InnerWay): boolean {
  if (scheme === 'https:') return port !== '' && port === String(way.member.origin.port) && port !== '443'
  if (scheme === '') return false
  return port === '' || port === '80' || port === String(way.member.origin.port)
}

function isInner(host: string, port: string, member: UpstreamMember): boolean {
  if (isUnreachable(host)) return true
  if (!isMemberName(host, member)) return false
  return port === '' || port === '80' || port === '443' || port === String(member.origin.port)
}

function isInnerDomain(domain: string, way: InnerWay): boolean {
  const host = domain.toLowerCase().replace(/^\./, '')
  return host !== splitAuthority(way.host).host && (isUnreachable(host) || isMemberName(host, way.member))
}

function isMemberName(host: string, member: UpstreamMember): boolean {
  return host === member.origin.host.toLowerCase() || host === member.tls?.serverName.toLowerCase()
}

/** No client outside can reach it: an address that is not public, or a name without a dot such as a NetBIOS name. */
function isUnreachable(host: string): boolean {
  const address = parseAddress(host)
  if (address !== undefined) return addressScope(address) !== 'public'
  return host !== '' && !host.includes('.') && !host.includes(':')
}

function splitAuthority(authority: string): { readonly host: string; readonly port: string } {
  const place = authority.slice(authority.lastIndexOf('@') + 1).toLowerCase()
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::([0-9]*))?$/.exec(place)
  if (match === null) return { host: place, port: '' }
  return { host: match[1] ?? match[2] ?? '', port: match[3] ?? '' }
}
