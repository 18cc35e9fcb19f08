// Invitations of Remote Assistance: the addresses in their ticket, and the same file with a public one. Read as text, never as XML.
import { addressScope, parseAddress } from '../net/address.ts'

/** One address and port of a ticket, as it is written there. */
export type TicketAddress = {
  readonly text: string
  readonly host: string
  readonly port: number
  readonly isPrivate: boolean
}

/** An invitation that was rewritten. */
export type Rewritten = { readonly bytes: Buffer; readonly after: readonly string[] }

/** An invitation that can be rewritten. */
export type Invitation = {
  readonly before: readonly TicketAddress[]
  /** Private addresses of the PC, the likeliest first: the public address must lead to one of them. */
  readonly targets: readonly [TicketAddress, ...TicketAddress[]]
  /** Puts a public address (`host:port`) in the place of the private ones; every other byte stays. */
  readonly rewrite: (publicAddress: string) => Rewritten
}

/** Larger than any invitation: real ones have about 2 kB. */
export const MAX_INVITATION_BYTES = 64 * 1024
const MAX_ADDRESSES = 32

/**
 * Reads an invitation. Its ticket is the RCTICKET attribute: `65538,1,address:port;address:port,...` ([MS-RAI] 2.2.1), in files
 * of Windows XP and of Vista and later.
 * @returns a sentence that says why it cannot be rewritten
 */
export function readInvitation(bytes: Buffer): Invitation | string {
  if (bytes.length > MAX_INVITATION_BYTES) return 'it is too large to be an invitation'
  const isWide = bytes[0] === 0xff && bytes[1] === 0xfe
  // Both ways of reading give every byte back as it was.
  const encoding = isWide ? 'utf16le' : 'latin1'
  if (isWide && bytes.length % 2 === 1) return 'it ends within a character'
  const text = bytes.toString(encoding)
  if (/<!DOCTYPE|<!ENTITY|<!--|<!\[CDATA\[/i.test(text))
    return 'it holds entities, comments or sections, which no invitation does'
  const tickets = [...text.matchAll(/\sRCTICKET\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/g)]
  const [found, second] = tickets
  if (found === undefined) return 'it holds no ticket (RCTICKET)'
  if (second !== undefined) return 'it holds more than one ticket'
  if (/\sRCTICKETENCRYPTED\s*=\s*["']1["']/.test(text))
    return 'its ticket is encrypted: let Remote Assistance make an invitation that older versions can use'
  const ticket = found[1] ?? found[2] ?? ''
  const parts = /^(\d{1,10},\d{1,3},)([^,&]{1,2000})(,.*)$/s.exec(ticket)
  if (parts === null) return 'its ticket is not like those of Remote Assistance'
  const [, head = '', list = '', rest = ''] = parts
  const entries = list.split(';')
  if (entries.length > MAX_ADDRESSES) return `its ticket holds more than ${MAX_ADDRESSES} addresses`
  const before: TicketAddress[] = []
  for (const entry of entries) {
    const address = readAddress(entry)
    if (address === undefined) return `"${entry.slice(0, 60)}" in its ticket is no address with a port`
    before.push(address)
  }
  const own = before.filter(({ isPrivate }) => isPrivate)
  const [first, ...others] = own.toSorted(
    (a, b) => Number(a.host.includes(':')) - Number(b.host.includes(':')),
  )
  const [firstOwn] = own
  if (first === undefined) return 'it names no private address: there is nothing to rewrite'
  const start = found.index + found[0].length - 1 - ticket.length
  return {
    before,
    targets: [first, ...others],
    rewrite: publicAddress => {
      // One public port leads to one address: further private ones would only make whoever helps wait.
      const after = before.flatMap(entry =>
        entry.isPrivate ? (entry === firstOwn ? [publicAddress] : []) : [entry.text],
      )
      const rewritten = `${text.slice(0, start)}${head}${after.join(';')}${rest}${text.slice(start + ticket.length)}`
      return { bytes: Buffer.from(rewritten, encoding), after }
    },
  }
}

function readAddress(entry: string): TicketAddress | undefined {
  const match = /^(\[[0-9a-fA-F:.%]{2,60}\]|[A-Za-z0-9._:%-]{1,255}):(\d{1,5})$/.exec(entry)
  const [, written = '', digits = ''] = match ?? []
  const port = Number(digits)
  if (match === null || port < 1 || port > 65_535) return undefined
  // A zone (%8) names an interface of that machine: nobody else can use it.
  const host = written.replace(/^\[|\]$/g, '').replace(/%.*$/, '')
  const address = parseAddress(host)
  if (address === undefined && host.includes(':')) return undefined
  return { text: entry, host, port, isPrivate: address !== undefined && addressScope(address) !== 'public' }
}
