// The address string of an agent: `https://primary|https://secondary`, as agents of the field keep it.
import { parseAddress } from '../net/address.ts'

/** One server of the string. */
export type ServerAddress = {
  readonly protocol: 'http' | 'https'
  readonly host: string
  readonly port: number
}

/**
 * Reads an address string, primary first. Entries are a host name or IPv4 address with an optional scheme (https when absent), no path
 * and no trailing slash. A port is accepted because practice servers have any; agents of the field take none.
 * @returns the problem as text when an entry is malformed
 */
export function parseServerAddresses(text: string): readonly ServerAddress[] | string {
  const servers: ServerAddress[] = []
  for (const entry of text.split('|')) {
    const parts = /^(?:(https?):\/\/)?([A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?$/.exec(entry)
    if (parts === null)
      return `"${entry}" is not an address: scheme and host only, no path, no trailing slash`
    const [, protocol = 'https', host = '', portText] = parts
    const port = portText === undefined ? (protocol === 'https' ? 443 : 80) : Number(portText)
    if (port < 1 || port > 65_535) return `"${entry}" has no valid port`
    const isName = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/.test(host)
    if (/^[0-9.]+$/.test(host) ? parseAddress(host) === undefined : !isName) return `"${host}" is no host`
    servers.push({ protocol: protocol === 'http' ? 'http' : 'https', host: host.toLowerCase(), port })
  }
  return servers
}
