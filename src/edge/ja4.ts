// PURE: the JA4 fingerprint of a ClientHello (FoxIO's published scheme, BSD-licensed JA4 part of JA4+).
import { isGrease, type ParsedHello } from './client-hello.ts'

/** SHA-256 of ASCII text as lower-case hex. */
export type Sha256Hex = (text: string) => string

const NOTHING = '000000000000'
const VERSION_WORDS: Readonly<Record<number, string>> = {
  0x0304: '13',
  0x0303: '12',
  0x0302: '11',
  0x0301: '10',
  0x0300: 's3',
  0x0002: 's2',
}

/** Computes fingerprints and remembers the last ones: a fleet of agents sends the same few hellos over and over. */
export function createJa4(sha256Hex: Sha256Hex, maxRemembered: number): (hello: ParsedHello) => string {
  const known = new Map<string, string>()
  return hello => {
    const key = keyOf(hello)
    let fingerprint = known.get(key)
    if (fingerprint === undefined) {
      fingerprint = ja4(hello, sha256Hex)
      // Clearing everything is cheap and bounded, also against a client that never sends the same hello twice.
      if (known.size >= maxRemembered) known.clear()
      known.set(key, fingerprint)
    }
    return fingerprint
  }
}

/** Equal for hellos with equal fingerprints in equal order; one character per code, lists kept apart by their lengths. */
function keyOf(hello: ParsedHello): string {
  const { cipherSuites, extensions, signatureAlgorithms, supportedVersions, alpn } = hello
  const codes = [
    cipherSuites.length,
    extensions.length,
    signatureAlgorithms.length,
    supportedVersions?.length ?? NO_LIST,
    hello.legacyVersion,
  ]
  addCodes(codes, cipherSuites)
  addCodes(codes, extensions)
  addCodes(codes, signatureAlgorithms)
  if (supportedVersions !== null) addCodes(codes, supportedVersions)
  const protocol = alpn[0] ?? ''
  for (let at = 0; at < protocol.length; at++) codes.push(protocol.charCodeAt(at))
  // Made in one go: a text that grows by characters would have to be put together again before it can be looked up.
  return String.fromCharCode(...codes)
}

const NO_LIST = 0xffff

function addCodes(codes: number[], list: readonly number[]): void {
  // GREASE is drawn anew for each connection and counts for nothing, so that one value stands for all.
  for (const code of list) codes.push(isGrease(code) ? 0x0a0a : code)
}

/** Computes the fingerprint, for example `t13d1516h2_8daaf6152771_e5627efa2ab1`. */
export function ja4(hello: ParsedHello, sha256Hex: Sha256Hex): string {
  const ciphers = hello.cipherSuites.filter(code => !isGrease(code))
  const extensions = hello.extensions.filter(code => !isGrease(code))
  const head = `t${versionWord(hello)}${extensions.includes(0) ? 'd' : 'i'}${two(ciphers.length)}${two(extensions.length)}${alpnWord(hello.alpn[0])}`

  const cipherHash = ciphers.length === 0 ? NOTHING : short(sha256Hex(sortedHex(ciphers)))
  const hashed = extensions.filter(code => code !== 0 && code !== 16)
  const signatures = hello.signatureAlgorithms.filter(code => !isGrease(code)).map(hex4)
  const text = sortedHex(hashed) + (signatures.length === 0 ? '' : `_${signatures.join(',')}`)
  return `${head}_${cipherHash}_${extensions.length === 0 ? NOTHING : short(sha256Hex(text))}`
}

function versionWord(hello: ParsedHello): string {
  let best = hello.supportedVersions === null ? hello.legacyVersion : 0
  for (const code of hello.supportedVersions ?? []) if (!isGrease(code) && code > best) best = code
  return VERSION_WORDS[best] ?? '00'
}

/** First and last character of the first protocol; of its hex form when either is not a letter or digit. */
function alpnWord(protocol: string | undefined): string {
  if (protocol === undefined || protocol === '') return '00'
  const first = protocol.charAt(0)
  const last = protocol.charAt(protocol.length - 1)
  if (/^[0-9A-Za-z]{2}$/.test(first + last)) return first + last
  return hex2(first).charAt(0) + hex2(last).charAt(1)
}

function sortedHex(codes: readonly number[]): string {
  return codes.map(hex4).sort().join(',')
}

function hex4(code: number): string {
  return code.toString(16).padStart(4, '0')
}

function hex2(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(2, '0')
}

function two(count: number): string {
  return String(Math.min(count, 99)).padStart(2, '0')
}

function short(hash: string): string {
  return hash.slice(0, 12)
}
