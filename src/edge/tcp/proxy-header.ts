// PURE: writes PROXY protocol version 2 headers, by which a server learns the client's address (haproxy.org, proxy-protocol.txt).
import type { Address } from '../../net/address.ts'

/** An address and port. */
export type Peer = { readonly address: Address; readonly port: number }

const START = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
const VERSION_2 = 0x20
const PROXY = 1

/** The header for a connection that the gate itself makes (a probe): the server uses the real addresses. */
export function localHeader(): Uint8Array {
  return Uint8Array.from([...START, VERSION_2, 0, 0, 0])
}

/** The header for a client. With different families both addresses are written as IPv6. */
export function proxyHeader(client: Peer, local: Peer): Uint8Array {
  const isV4 = client.address.family === 4 && local.address.family === 4
  const addresses = [client, local].flatMap(({ address }) => (isV4 ? v4Bytes(address) : v6Bytes(address)))
  const ports = [client.port, local.port].flatMap(port => [port >> 8, port & 0xff])
  const length = addresses.length + ports.length
  return Uint8Array.from([
    ...START,
    VERSION_2 | PROXY,
    isV4 ? 0x11 : 0x21,
    length >> 8,
    length & 0xff,
    ...addresses,
    ...ports,
  ])
}

function v4Bytes({ text }: Address): number[] {
  return text.split('.').map(Number)
}

function v6Bytes(address: Address): number[] {
  if (address.family === 4) return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...v4Bytes(address)]
  return [...address.words].flatMap(word => [
    word >>> 24,
    (word >>> 16) & 0xff,
    (word >>> 8) & 0xff,
    word & 0xff,
  ])
}
