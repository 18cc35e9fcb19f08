// IP addresses as canonical values: strict parsing, one spelling per address, and the scope that decides whether a country can exist.

/** An IP address in its one canonical spelling. An IPv4-mapped IPv6 address is always the IPv4 address it carries. */
export type Address = {
  readonly family: 4 | 6
  /** Canonical text: dotted quad, or RFC 5952 IPv6. Safe as a map key. */
  readonly text: string
  /** Big-endian 32-bit words: one for IPv4, four for IPv6. */
  readonly words: readonly number[]
}

/** What kind of network an address belongs to; only `public` addresses can have a country. */
export type AddressScope = 'public' | 'private' | 'cgnat' | 'loopback' | 'link-local' | 'reserved'

/**
 * Parses an IPv4 or IPv6 address strictly (no octal, no short forms, no zone id).
 * @returns undefined when the text is not an address
 */
export function parseAddress(text: string): Address | undefined {
  if (text.length > 45) return undefined
  if (!text.includes(':')) {
    const word = parseQuad(text)
    return word === undefined ? undefined : ipv4(word)
  }
  const words = parseIpv6Words(text)
  if (words === undefined) return undefined
  return isMapped(words) ? ipv4(words[3] ?? 0) : { family: 6, text: formatIpv6(words), words }
}

/** Builds an IPv4 address from its 32-bit value. */
export function ipv4(word: number): Address {
  const value = word >>> 0
  const text = `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
  return { family: 4, text, words: [value] }
}

/** Builds an address from 4 or 16 network-order bytes; IPv4-mapped IPv6 becomes IPv4. */
export function addressFromBytes(bytes: Uint8Array): Address | undefined {
  if (bytes.length !== 4 && bytes.length !== 16) return undefined
  const words: number[] = []
  for (let at = 0; at < bytes.length; at += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4)
    words.push(((a << 24) | (b << 16) | (c << 8) | d) >>> 0)
  }
  if (words.length === 1) return ipv4(words[0] ?? 0)
  return isMapped(words) ? ipv4(words[3] ?? 0) : { family: 6, text: formatIpv6(words), words }
}

/**
 * The scope of an address by the IANA special-purpose registries (RFC 6890, RFC 6598 for CGNAT).
 * Documentation ranges count as public: they have no country and are treated as unknown.
 */
export function addressScope(address: Address): AddressScope {
  const [first = 0, second = 0, third = 0, fourth = 0] = address.words
  if (address.family === 4) {
    const top = first >>> 24
    if (top === 127) return 'loopback'
    if (top === 10 || first >>> 20 === 0xac1 || first >>> 16 === 0xc0a8) return 'private'
    if (first >>> 22 === 0x191) return 'cgnat'
    if (first >>> 16 === 0xa9fe) return 'link-local'
    if (top === 0 || top >= 224) return 'reserved'
    return 'public'
  }
  // ::1, and the rest of ::/96 (unspecified, the long deprecated IPv4-compatible form).
  if (first === 0 && second === 0 && third === 0) return fourth === 1 ? 'loopback' : 'reserved'
  // fc00::/7 unique local, fec0::/10 the older site-local, 64:ff9b:1::/48 a network's own NAT64 (RFC 8215).
  if (first >>> 25 === 0x7e || first >>> 22 === 0x3fb) return 'private'
  if (first === 0x64ff9b && second >>> 16 === 1) return 'private'
  if (first >>> 22 === 0x3fa) return 'link-local'
  if (first >>> 24 === 0xff) return 'reserved'
  return 'public'
}

function isMapped(words: readonly number[]): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff
}

function parseQuad(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  let word = 0
  for (const part of parts) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part)) return undefined
    const value = Number(part)
    if (value > 255) return undefined
    word = word * 256 + value
  }
  return word >>> 0
}

function parseIpv6Words(text: string): readonly number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0] ?? '', halves.length === 1)
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const groups = [...head, ...Array.from({ length: missing }, () => 0), ...tail]
  const words: number[] = []
  for (let at = 0; at < 8; at += 2) words.push((((groups[at] ?? 0) << 16) | (groups[at + 1] ?? 0)) >>> 0)
  return words
}

function parseGroups(text: string, mayEndInQuad: boolean): number[] | undefined {
  if (text === '') return []
  const parts = text.split(':')
  const groups: number[] = []
  for (const [index, part] of parts.entries()) {
    if (mayEndInQuad && index === parts.length - 1 && part.includes('.')) {
      const quad = parseQuad(part)
      if (quad === undefined) return undefined
      groups.push(quad >>> 16, quad & 0xffff)
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined
      groups.push(Number.parseInt(part, 16))
    }
  }
  return groups
}

function formatIpv6(words: readonly number[]): string {
  const groups = words.flatMap(word => [word >>> 16, word & 0xffff])
  let bestStart = -1
  let bestLength = 1
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === 0) length++
    if (length > bestLength) {
      bestStart = start
      bestLength = length
    }
  }
  const hex = (part: number[]): string => part.map(group => group.toString(16)).join(':')
  if (bestStart < 0) return hex(groups)
  return `${hex(groups.slice(0, bestStart))}::${hex(groups.slice(bestStart + bestLength))}`
}
