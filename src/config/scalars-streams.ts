// The words of stream listeners: addresses with port ranges, upstream targets, versions of products, signatures.
import { parseAddress } from '../net/address.ts'
import { isConnectorUrl, parseConnectorUrl, type ConnectorUrl } from '../policy/connector-url.ts'
import type { StreamTarget } from '../policy/streams.ts'
import { quoted } from './problems.ts'
import { hostProblem, word } from './scalars.ts'

/** An address with a port, a range of ports, or none. */
export type WrittenStreamAddress = {
  readonly host: string
  readonly ports: { readonly first: number; readonly last: number } | null
}

const MAX_RANGE = 1_000

/** `0.0.0.0:5001`, `[::]:16888-16890`, or `0.0.0.0`. */
export const streamAddress = word<WrittenStreamAddress>(
  {
    description: 'Address and port, or a range of ports.',
    examples: ['0.0.0.0:16888', '0.0.0.0:5001-5006', '[::]:5721'],
  },
  text => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(text)
    const address = parseAddress(match?.[1] ?? match?.[2] ?? '')
    if (match === null || address === undefined) {
      return [
        `${quoted(text)} is not an address to listen on`,
        'write 0.0.0.0:16888, or 0.0.0.0:5001-5006 for a range; 0.0.0.0 is every IPv4 address, [::] every address',
      ]
    }
    if (match[3] === undefined) return { value: { host: address.text, ports: null } }
    const first = Number(match[3])
    const last = Number(match[4] ?? match[3])
    if (first > 65_535 || last > 65_535)
      return [`port ${Math.max(first, last)} does not exist`, 'ports end at 65535']
    if (last < first) return [`${first}-${last} is no range`, `did you mean ${last}-${first}?`]
    if (last - first >= MAX_RANGE) return [`${first}-${last} are more than ${MAX_RANGE} ports`]
    if (first === 0 && last > 0) return ['port 0 does not exist']
    return { value: { host: address.text, ports: { first, last } } }
  },
)

/** Where a stream goes, as written: the connector is looked up later. */
export type WrittenTarget =
  Extract<StreamTarget, { kind: 'tcp' }> | { readonly kind: 'connector'; readonly url: ConnectorUrl }

/** Where a stream goes: `10.0.0.5:5001`, `10.0.0.5`, `db.internal:5432`, `connector://name/service`. */
export const streamTarget = word<WrittenTarget>(
  {
    description: 'A server: address or name, with or without a port; or a service of a connector.',
    examples: ['10.0.0.5:16888', '10.0.0.5', 'connector://hq/backup'],
  },
  text => {
    if (isConnectorUrl(text)) {
      const url = parseConnectorUrl(text)
      if (typeof url === 'string') return [url, 'for example connector://rmm/backup']
      if (url.tls)
        return [
          'streams say by upstreamTls that the server speaks TLS',
          'write connector://, not connector+tls://',
        ]
      return { value: { kind: 'connector', url } }
    }
    if (text.includes('://'))
      return [`${quoted(text)} is an URL`, 'raw TCP has no protocol: write 10.0.0.5:16888']
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text)
    const host = match?.[1] ?? match?.[2] ?? ''
    const address = parseAddress(host)
    if (match === null || (address === undefined && (match[1] !== undefined || /^[\d.]*$/.test(host))))
      return [`${quoted(text)} is not address:port of a server`, 'for example 10.0.0.5:16888']
    if (address?.text === '0.0.0.0' || address?.text === '::')
      return [`${quoted(text)} is no address of a server`, 'for example 10.0.0.5:16888']
    const problem = address === undefined ? hostProblem(host, false) : undefined
    if (problem !== undefined) return problem
    const port = match[3] === undefined ? null : Number(match[3])
    if (port !== null && (port === 0 || port > 65_535)) return [`port ${port} does not exist`]
    return { value: { kind: 'tcp', host: address?.text ?? host, port } }
  },
)

/** Version of a product: numbers with dots, in quotes because 7.10 is no number. */
export const release = word<string>(
  { description: 'A version, in quotes.', examples: ['7.4.1', '8.0'], pattern: '^\\d+(\\.\\d+)*$' },
  text =>
    /^\d{1,4}(?:\.\d{1,4}){0,3}$/.test(text)
      ? { value: text }
      : [`${quoted(text)} is not a version`, 'numbers with dots, in quotes: "7.4.1"'],
)

/** Order of two versions; missing parts count as zero. */
export function compareReleases(a: string, b: string): number {
  const left = a.split('.').map(Number)
  const right = b.split('.').map(Number)
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const order = (left[at] ?? 0) - (right[at] ?? 0)
    if (order !== 0) return order
  }
  return 0
}

const MAX_SIGNATURE = 64

/** The first bytes of a protocol: printable text, or hexadecimal after `0x`. */
export const signature = word<Uint8Array>(
  { description: 'First bytes: text, or 0x and hexadecimal digits.', examples: ['SSH-2.0-', '0x0300'] },
  text => {
    const hex = /^0x((?:[0-9a-fA-F]{2})+)$/.exec(text)?.[1]
    if (hex === undefined && text.startsWith('0x'))
      return [`${quoted(text)} is not hexadecimal`, 'two digits for each byte: 0x0300']
    if (hex === undefined && !/^[\x20-\x7e]+$/.test(text))
      return [`${quoted(text)} has other than printable characters`, 'write it in hexadecimal: 0x0300']
    const bytes =
      hex === undefined
        ? Uint8Array.from(text, character => character.charCodeAt(0))
        : Uint8Array.from(hex.match(/../g) ?? [], pair => Number.parseInt(pair, 16))
    if (bytes.length === 0 || bytes.length > MAX_SIGNATURE)
      return [`a signature has 1 to ${MAX_SIGNATURE} bytes`]
    return { value: bytes }
  },
)
