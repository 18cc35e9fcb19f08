// The address strings that agents keep: reads one strictly, and says which character is wrong and why. Pure.
import { parseAddress, type Address } from '../net/address.ts'
import { Malformed, refuseCharacters, type StringProblem } from './string-characters.ts'

export type { StringProblem } from './string-characters.ts'

/** What a product accepts where an agent keeps the address of its server. */
export type AddressGrammar = {
  /** Required before every entry, with `://`; null: entries have none. */
  readonly scheme: 'https' | 'wss' | null
  readonly port: 'none' | 'required'
  /** Required after every entry, for example `/agent.ashx`; empty: nothing may follow. */
  readonly path: string
  /** Between entries; null: there is exactly one. */
  readonly separator: '|' | ',' | null
  /** Entries that there must be. */
  readonly entries: number
}

/** One server of a string. */
export type ServerEntry = {
  readonly host: string
  /** Null: the grammar has none. */
  readonly port: number | null
  /** Set when the host is an IP address. */
  readonly address: Address | null
  /** Index of its host in the text. */
  readonly at: number
}

/** A string that was read, or what is wrong with it. */
export type CheckedString =
  | { readonly ok: true; readonly servers: readonly ServerEntry[]; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problem: StringProblem }

/** Who the hosts should be, where that is known. */
export type ExpectedHosts = {
  /** Whether the gate serves this host. Null: unknown, so the order cannot be judged. */
  readonly isGate: ((host: string) => boolean) | null
}

/** Longest text that is looked at: two full names with scheme, port and path fit three times over. */
const MAX_STRING = 2_048
const MAX_HOST = 253
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Checks a string the way a careful colleague would before it reaches every agent. Refuses whatever is not exactly right. */
export function checkServerString(
  text: string,
  grammar: AddressGrammar,
  expected: ExpectedHosts = { isGate: null },
): CheckedString {
  try {
    refuseCharacters(text, MAX_STRING, exampleOf(grammar))
    const servers = entriesOf(text, grammar).map(({ entry, at }) => readEntry(entry, at, grammar))
    refuseTwins(servers)
    const warnings = servers.flatMap(server => warningsOf(server))
    refuseWrongHosts(servers, expected)
    return { ok: true, servers, warnings }
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, problem: error.problem }
    throw error
  }
}

/** Writes a string. The result of what `checkServerString` read is the text that it read. */
export function formatServerString(
  servers: readonly Pick<ServerEntry, 'host' | 'port'>[],
  grammar: AddressGrammar,
): string {
  return servers
    .map(({ host, port }) => {
      const scheme = grammar.scheme === null ? '' : `${grammar.scheme}://`
      return scheme + host + (grammar.port === 'none' ? '' : `:${port ?? 443}`) + grammar.path
    })
    .join(grammar.separator ?? '')
}

type Placed = { readonly entry: string; readonly at: number }

function entriesOf(text: string, grammar: AddressGrammar): readonly Placed[] {
  const { separator, entries } = grammar
  const out: Placed[] = []
  let at = 0
  for (const entry of separator === null ? [text] : text.split(separator)) {
    out.push({ entry, at })
    at += entry.length + 1
  }
  for (const { entry, at: start } of out) {
    if (entry !== '') continue
    const near = Math.max(0, Math.min(start, text.length - 1))
    throw new Malformed(near, 1, 'an entry is empty', `write ${exampleOf(grammar)}`)
  }
  const extra = out[entries]
  if (extra !== undefined) {
    const words = entries === 2 ? 'two addresses, primary and secondary' : `${entries} addresses`
    throw new Malformed(extra.at - 1, 1, `there are ${out.length} entries`, `write exactly ${words}`)
  }
  const other = text.search(/[,;]/)
  if (out.length < entries && separator !== null && other >= 0) {
    throw new Malformed(
      other,
      1,
      `"${text[other]}" does not separate addresses`,
      `write "${separator}" between them`,
    )
  }
  if (out.length < entries && separator !== null) {
    throw new Malformed(
      text.length,
      1,
      'there is no secondary address: if the gate fails, agents have nowhere to go',
      `add "${separator}" and the old, direct address of the server`,
    )
  }
  return out
}

function readEntry(entry: string, at: number, grammar: AddressGrammar): ServerEntry {
  const afterScheme = readScheme(entry, at, grammar)
  const rest = entry.slice(afterScheme)
  const start = at + afterScheme
  const bracket = rest.indexOf('[')
  if (bracket >= 0) {
    throw new Malformed(start + bracket, 1, 'agents do not take IPv6 addresses here', 'write a host name')
  }
  const end = rest.search(/[:/?#@\\]/)
  const host = end < 0 ? rest : rest.slice(0, end)
  const tail = end < 0 ? '' : rest.slice(end)
  const afterHost = start + host.length
  if (tail.startsWith('@')) {
    throw new Malformed(afterHost, 1, 'a user name does not belong into an address', 'write the host alone')
  }
  const address = readHost(host, start, grammar)
  const { port, length } = readPort(tail, afterHost, grammar)
  readPath(tail.slice(length), afterHost + length, grammar)
  return { host, port, address, at: start }
}

function readScheme(entry: string, at: number, { scheme }: AddressGrammar): number {
  const written = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(entry)?.[1]
  if (scheme === null) {
    if (written === undefined) return 0
    throw new Malformed(at, written.length + 3, 'there must be no scheme here', 'write the host first')
  }
  const wanted = `${scheme}://`
  if (entry.startsWith(wanted)) return wanted.length
  if (written === undefined) {
    throw new Malformed(at, 1, `${wanted} is missing: an agent could talk in clear`, `begin with ${wanted}`)
  }
  if (written.toLowerCase() === scheme)
    throw new Malformed(at, written.length, 'capital letters in the scheme', `write ${wanted}`)
  const why = /^(?:http|ws)$/i.test(written)
    ? ': everything an agent sends could be read and changed on the way'
    : ''
  throw new Malformed(at, written.length, `${written}:// is not ${wanted}${why}`, `write ${wanted}`)
}

function readHost(host: string, at: number, grammar: AddressGrammar): Address | null {
  if (host === '') throw new Malformed(at, 1, 'there is no host', `write ${exampleOf(grammar)}`)
  const capital = host.search(/[A-Z]/)
  if (capital >= 0) {
    throw new Malformed(
      at + capital,
      1,
      'a capital letter',
      `write ${host.toLowerCase()}, the way certificates do`,
    )
  }
  const odd = host.search(/[^a-z0-9.-]/)
  if (odd >= 0) {
    const hint = host[odd] === '*' ? 'write the full name' : 'names have letters, digits, dashes and dots'
    throw new Malformed(at + odd, 1, `"${host[odd]}" is no character of a host name`, hint)
  }
  if (host.endsWith('.')) {
    throw new Malformed(
      at + host.length - 1,
      1,
      'a dot after the name',
      'remove it: agents compare the name with the certificate',
    )
  }
  if (host.length > MAX_HOST)
    throw new Malformed(
      at + MAX_HOST,
      1,
      `a name has at most ${MAX_HOST} characters`,
      'is a separator missing?',
    )
  if (/^[0-9.]+$/.test(host)) {
    const address = parseAddress(host)
    if (address !== undefined) return address
    throw new Malformed(
      at,
      host.length,
      'this is not an IPv4 address',
      'four numbers from 0 to 255, without leading zeros',
    )
  }
  let labelAt = at
  const labels = host.split('.')
  for (const label of labels) {
    if (!LABEL.test(label)) {
      const problem =
        label === ''
          ? 'two dots follow each other, or the name begins with one'
          : label.length > 63
            ? 'a part between dots has more than 63 characters'
            : 'a part of a name neither begins nor ends with a dash'
      throw new Malformed(labelAt, label.length, problem, 'write the name as it is in the certificate')
    }
    labelAt += label.length + 1
  }
  if (labels.length === 1) {
    throw new Malformed(
      at,
      host.length,
      'this is not a full name: agents outside cannot resolve it',
      `for example ${host}.example.com`,
    )
  }
  const last = labels.at(-1) ?? ''
  if (/^[0-9]+$/.test(last)) {
    throw new Malformed(
      at + host.length - last.length,
      last.length,
      'no name ends with a number',
      'is it an address with a letter in it?',
    )
  }
  return null
}

function readPort(
  tail: string,
  at: number,
  grammar: AddressGrammar,
): { readonly port: number | null; readonly length: number } {
  const written = /^:([0-9]*)/.exec(tail)
  if (written === null) {
    if (grammar.port === 'none') return { port: null, length: 0 }
    throw new Malformed(at, 1, 'the port is missing', `for example ${exampleOf(grammar)}`)
  }
  const [whole, digits = ''] = written
  if (grammar.port === 'none') {
    throw new Malformed(
      at,
      whole.length,
      'a port: agents take none here',
      'remove it; the gate listens on 443',
    )
  }
  const port = Number(digits)
  if (!/^[1-9][0-9]{0,4}$/.test(digits) || port > 65_535)
    throw new Malformed(
      at,
      whole.length,
      'this is no port',
      'a number from 1 to 65535, without leading zeros',
    )
  return { port, length: whole.length }
}

function readPath(rest: string, at: number, { path }: AddressGrammar): void {
  if (rest === path) return
  if (path !== '') {
    throw new Malformed(at, rest.length, `the path must be exactly ${path}`, `write ${path} here`)
  }
  if (rest === '/')
    throw new Malformed(at, 1, 'a slash at the end', 'remove it: agents would ask for // paths')
  const what = rest.startsWith('/')
    ? 'a path'
    : rest.startsWith('\\')
      ? 'a backslash'
      : 'something that is no part of an address'
  throw new Malformed(at, rest.length, what, 'write scheme and host only')
}

function refuseTwins(servers: readonly ServerEntry[]): void {
  const [first, second] = servers
  if (first === undefined || second === undefined) return
  const same = first.host === second.host && (first.port === second.port || first.port === null)
  if (!same) return
  throw new Malformed(
    second.at,
    second.host.length,
    'the same server twice: the secondary address would be of no use',
    'write the old, direct address of the server',
  )
}

function warningsOf({ host, address }: ServerEntry): readonly string[] {
  if (address !== null) {
    return [`${host} is an address: certificates rarely cover one, and it cannot move`]
  }
  return host.split('.').some(label => label.startsWith('xn--'))
    ? [`${host} has an internationalised part: compare it letter by letter with the name that you own`]
    : []
}

function refuseWrongHosts(servers: readonly ServerEntry[], { isGate }: ExpectedHosts): void {
  const [first, second] = servers
  if (isGate === null || first === undefined) return
  if (!isGate(first.host)) {
    const swapped = second !== undefined && isGate(second.host)
    throw new Malformed(
      first.at,
      first.host.length,
      swapped ? 'the order is wrong: the gate must come first' : 'the gate does not serve this name',
      swapped ? 'exchange the two entries' : 'the first entry is a name of the policy (names)',
    )
  }
  if (second !== undefined && isGate(second.host)) {
    throw new Malformed(
      second.at,
      second.host.length,
      'the secondary is a name of the gate, too: if the gate fails, agents have nowhere to go',
      'write the old, direct address of the server',
    )
  }
}

function exampleOf(grammar: AddressGrammar): string {
  const hosts = ['gate.example.com', 'direct.example.com'].slice(0, grammar.entries)
  return formatServerString(
    hosts.map(host => ({ host, port: 443 })),
    grammar,
  )
}
