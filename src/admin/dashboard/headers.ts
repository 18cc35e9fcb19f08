// Headers that every answer of the dashboard carries: what a browser may load, and who may show or keep it.

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * The headers. The referrer stays within the dashboard: with `no-referrer`, browsers would send `Origin: null` with
 * forms, and the check of the origin would refuse them (Fetch standard, "append a request Origin header").
 */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'origin-agent-cluster': '?1',
  'permissions-policy':
    'camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), bluetooth=(), display-capture=()',
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'x-robots-tag': 'noindex',
  'cache-control': 'no-store',
}

const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(\d{1,5}))?$/i

/**
 * Whether the dashboard answers to this Host header: addresses, `localhost` and its own names. Another name is another
 * web site that points here (DNS rebinding), and its pages must read nothing.
 * @param names lower case
 */
export function isOwnHost(header: string | undefined, names: ReadonlySet<string>): boolean {
  const host = HOST.exec(header ?? '')?.[1]?.toLowerCase()
  if (host === undefined) return false
  return host.startsWith('[') || /^\d+\.\d+\.\d+\.\d+$/.test(host) || host === 'localhost' || names.has(host)
}

/** Whether the Host header is this one name, at any port. @param name lower case */
export function isNamed(header: string | undefined, name: string): boolean {
  return HOST.exec(header ?? '')?.[1]?.toLowerCase() === name
}

/** Whether a request that changes something comes from a page of the dashboard itself. Browsers always say. */
export function isOwnOrigin(headers: {
  readonly host?: string | undefined
  readonly origin?: string | undefined
  readonly 'sec-fetch-site'?: string | readonly string[] | undefined
}): boolean {
  const site = headers['sec-fetch-site']
  return (
    headers.host !== undefined &&
    headers.origin?.toLowerCase() === `https://${headers.host.toLowerCase()}`.replace(/:443$/, '') &&
    (site === undefined || site === 'same-origin')
  )
}
