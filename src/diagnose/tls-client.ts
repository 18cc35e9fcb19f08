// What a ClientHello tells of the machine behind it: the likely generation of Windows or .NET, as a guess that says it is one.
import { strongestTls, type TlsVersion } from '../net/tls-version.ts'

/** The readable first part of a JA4 fingerprint (FoxIO, "JA4: TLS Client Fingerprinting"). */
export type Ja4Head = {
  readonly sendsName: boolean
  readonly ciphers: number
  readonly extensions: number
  /** First and last letter of the first ALPN value; `00`: none was sent. */
  readonly alpn: string
}

const HEAD = /^[tqd](?:1[0-3]|s[23]|d[1-3]|00)([di])(\d\d)(\d\d)([0-9A-Za-z]{2})(?:_|$)/

/** Whether a text is a JA4 fingerprint of a TLS client, or its beginning. */
export function isJa4(text: string): boolean {
  return /^[tq](?:1[0-3]|s[23]|00)[di]\d{4}[0-9a-zA-Z]{2}(?:_[0-9a-f]{1,12}){0,2}$/.test(text)
}

/** Reads the first part; null: the text is no JA4. */
function readJa4(ja4: string): Ja4Head | null {
  const match = HEAD.exec(ja4)
  if (match === null) return null
  const [, name, ciphers, extensions, alpn = '00'] = match
  return { sendsName: name === 'd', ciphers: Number(ciphers), extensions: Number(extensions), alpn }
}

/**
 * What a client probably is, as a clause: "probably ...". A ClientHello shows what a program asked for, not what its
 * system could do: .NET programs often ask for less.
 */
export function likelyClient(offered: readonly TlsVersion[], ja4: string | null): string {
  const best = strongestTls(offered)
  const head = ja4 === null ? null : readJa4(ja4)
  if (best === undefined) return 'a client from before TLS 1.0'
  if (best === 'TLSv1') {
    if (head?.sendsName === false)
      return 'probably Windows XP or Server 2003, or a device with firmware of that time: it sends no server name either'
    return 'probably a .NET Framework program that was never told to use TLS 1.2 (any Windows), or Windows 7, Server 2008 R2 or older with their defaults'
  }
  if (best === 'TLSv1.1') return 'probably a Windows on which TLS 1.2 is switched off, or Java 7 and the like'
  if (best === 'TLSv1.2')
    return head !== null && head.alpn === '00'
      ? 'probably .NET Framework 4.6 to 4.8 or Windows 8.1 to 10, Server 2012 R2 to 2019'
      : 'probably a program of 2013 to 2018, or Windows 8.1 to 10'
  return 'a current client'
}
