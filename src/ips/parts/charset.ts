// Character encodings of bodies: what a server may read them in, declared or detected, as byte strings of UTF-8.
import { bytesOf, byteText, codePointBytes, utf8Bytes } from './byte-text.ts'

/** The ways in which a body may be read, most likely first; the bytes as they are among them. */
export type Readings = { readonly texts: readonly string[]; readonly unknown: boolean }

/**
 * Reads a body in the encodings that its content types name, that its XML declaration names, and that its bytes show.
 * ASP.NET and Java read any of them, and a rule that reads UTF-8 alone sees nothing then.
 */
export function readingsOf(bytes: Uint8Array, types: readonly string[]): Readings {
  const plain = byteText(bytes)
  const labels = new Set<string>()
  for (const type of types) {
    const label = /charset\s{0,8}=\s{0,8}["']?([\w.:-]{1,40})/i.exec(type)?.[1]
    if (label !== undefined) labels.add(label.toLowerCase())
  }
  const wide = detectWide(bytes)
  if (wide !== null) labels.add(wide)
  const declared =
    /^\s{0,64}(?:\xef\xbb\xbf)?<\?xml[^>]{0,200}?encoding\s{0,8}=\s{0,8}["']([\w.:-]{1,40})/i.exec(plain)
  if (declared?.[1] !== undefined) labels.add(declared[1].toLowerCase())
  if (labels.size === 0) return { texts: [plain], unknown: false }
  const texts = new Set<string>()
  let unknown = false
  for (const label of labels) {
    if (isAsciiBased(label)) continue
    // An XML declaration that can be read at all does not really announce two bytes per character.
    const text = decodeCharset(label, plain)
    if (text === null) unknown = true
    else texts.add(text)
  }
  texts.add(plain)
  return { texts: [...texts], unknown }
}

/** Encodings in which every byte below 0x80 is that ASCII character, wherever it stands. */
function isAsciiBased(label: string): boolean {
  return /^(?:utf-?8|us-ascii|ascii|iso-?8859-?\d+|latin-?\d|windows-?\d+|(?:cp|ibm)-?(?:125\d|437|720|737|775|85[0-8]|86\d|874)|koi8-.|euc-.+|x-user-defined)$/.test(
    label,
  )
}

/** Text as UTF-8; the text itself when the encoding agrees with it; null: nobody knows this encoding. */
export function decodeCharset(label: string, text: string): string | null {
  const name = label.toLowerCase()
  if (isAsciiBased(name)) return text
  if (/^(?:x-)?(?:unicode-1-1-)?utf-?7$/.test(name)) return decodeUtf7(text)
  if (/^(?:ibm-?037|cp037|ebcdic-cp-(?:us|ca|nl|wt)|csibm037|ibm-?1140|ibm01140|ibm-?500|cp500)$/.test(name))
    return decodeEbcdic(text)
  if (/^utf-?32(?:le|be)?$/.test(name))
    return decodeUtf32(text, name.endsWith('be') || text.startsWith('\0\0'))
  const bigEndian = /^(?:utf-?16|unicode|ucs-2|iso-10646-ucs-2)$/.test(name) && looksBigEndian(text)
  try {
    return utf8Bytes(new TextDecoder(bigEndian ? 'utf-16be' : name).decode(bytesOf(text)))
  } catch {
    return null
  }
}

function looksBigEndian(text: string): boolean {
  return text.startsWith('\xfe\xff') || (text.startsWith('\0') && !text.startsWith('\0\0'))
}

function detectWide(bytes: Uint8Array): string | null {
  const [a = 0, b = 0, c = 0, d = 0] = bytes
  if (a === 0xff && b === 0xfe) return c === 0 && d === 0 ? 'utf-32le' : 'utf-16le'
  if (a === 0xfe && b === 0xff) return 'utf-16be'
  if (a === 0 && b === 0 && ((c === 0xfe && d === 0xff) || (c === 0 && isText(d)))) return 'utf-32be'
  if (isText(a) && b === 0) return c === 0 && d === 0 ? 'utf-32le' : isText(c) && d === 0 ? 'utf-16le' : null
  if (a === 0 && isText(b) && c === 0 && isText(d)) return 'utf-16be'
  // `<?xm` in EBCDIC.
  return a === 0x4c && b === 0x6f && c === 0xa7 && d === 0x94 ? 'cp037' : null
}

function isText(byte: number): boolean {
  return (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10 || byte === 13
}

const UTF7_RUN = /\+([A-Za-z0-9+/]*)-?/g

/** RFC 2152. */
function decodeUtf7(text: string): string {
  return text.replaceAll(UTF7_RUN, (whole, run: string) => {
    if (run === '') return whole === '+-' ? '+' : whole
    const units = atob(run.length % 4 === 1 ? run.slice(0, -1) : run)
    let wide = ''
    for (let at = 0; at + 1 < units.length; at += 2)
      wide += String.fromCharCode((units.charCodeAt(at) << 8) | units.charCodeAt(at + 1))
    return utf8Bytes(wide)
  })
}

function decodeUtf32(text: string, bigEndian: boolean): string {
  let out = ''
  for (let at = 0; at + 3 < text.length; at += 4) {
    const [a, b, c, d] = [0, 1, 2, 3].map(n => text.charCodeAt(at + n)) as [number, number, number, number]
    const code = bigEndian ? a * 0x1000000 + b * 65536 + c * 256 + d : d * 0x1000000 + c * 65536 + b * 256 + a
    if (code !== 0xfeff) out += codePointBytes(code)
  }
  return out
}

/** Code page 037 by byte; code page 500 differs in six signs that no attack needs alone. */
const EBCDIC =
  '\x00\x01\x02\x03\x9c\t\x86\x7f\x97\x8d\x8e\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x9d\x85\x08\x87\x18\x19\x92\x8f\x1c\x1d\x1e\x1f' +
  '\x80\x81\x82\x83\x84\n\x17\x1b\x88\x89\x8a\x8b\x8c\x05\x06\x07\x90\x91\x16\x93\x94\x95\x96\x04\x98\x99\x9a\x9b\x14\x15\x9e\x1a' +
  ' \xa0âäàáãåçñ¢.<(+|&éêëèíîïìß!$*);¬-/ÂÄÀÁÃÅÇÑ¦,%_>?øÉÊËÈÍÎÏÌ`:#@\'="' +
  'Øabcdefghi«»ðýþ±°jklmnopqrªºæ¸Æ¤µ~stuvwxyz¡¿ÐÝÞ®^£¥·©§¶¼½¾[]¯¨´×' +
  '{ABCDEFGHI\xadôöòóõ}JKLMNOPQR¹ûüùúÿ\\÷STUVWXYZ²ÔÖÒÓÕ0123456789³ÛÜÙÚ\x9f'

function decodeEbcdic(text: string): string {
  let out = ''
  for (let at = 0; at < text.length; at++) out += EBCDIC[text.charCodeAt(at)] ?? ''
  return utf8Bytes(out)
}
