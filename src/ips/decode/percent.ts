// One round of percent-decoding as the most lenient servers do it: %u, overlong UTF-8, bytes of an old code page.

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// A run of escapes and of raw bytes above ASCII: together they may be one UTF-8 character.
const RECEIVED_RUN = /(?:%[0-9a-fA-F]{2}|[\x80-\xff])+/g
const ESCAPE_RUN = /(?:%[0-9a-fA-F]{2})+/g
const UNICODE_ESCAPE = /%u([0-9a-fA-F]{4})/g

/**
 * Decodes `%uXXXX` and `%XX` once. Bytes are read as UTF-8; overlong forms (`%c0%ae` is a dot to some servers) as the character
 * that they mean; others as Latin-1. Escapes that are none stay.
 * @param asReceived whether characters above ASCII are still the bytes of the wire
 */
export function percentRound(text: string, asReceived: boolean): string {
  const unicode = text.includes('%u') || text.includes('%U') ? unicodeEscapes(text) : text
  return unicode.replaceAll(asReceived ? RECEIVED_RUN : ESCAPE_RUN, decodeRun)
}

/** Reads bytes above ASCII as UTF-8 where they are. */
export function readUtf8(text: string): string {
  return text.replaceAll(/[\x80-\xff]+/g, decodeRun)
}

function unicodeEscapes(text: string): string {
  return text
    .replaceAll(/%U(?=[0-9a-fA-F]{4})/g, '%u')
    .replaceAll(UNICODE_ESCAPE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function decodeRun(run: string): string {
  const bytes: number[] = []
  let isAscii = true
  for (let at = 0; at < run.length; at++) {
    let byte = run.charCodeAt(at)
    if (byte === 0x25) {
      byte = Number.parseInt(run.slice(at + 1, at + 3), 16)
      at += 2
    }
    if (byte >= 0x80) isAscii = false
    bytes.push(byte)
  }
  if (!isAscii) {
    try {
      return UTF8.decode(Uint8Array.from(bytes))
    } catch {
      return latin1(withoutOverlong(bytes))
    }
  }
  return latin1(bytes)
}

/** Overlong forms of ASCII in two to four bytes as that character. */
function withoutOverlong(bytes: readonly number[]): readonly number[] {
  const out: number[] = []
  for (let at = 0; at < bytes.length; at++) {
    const [a = 0, b = 0, c = 0, d = 0] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
    if ((a === 0xc0 || a === 0xc1) && at + 1 < bytes.length) {
      out.push((((a & 0x1f) << 6) | (b & 0x3f)) & 0x7f)
      at += 1
    } else if (a === 0xe0 && (b & 0xfe) === 0x80 && at + 2 < bytes.length) {
      out.push((((b & 0x3f) << 6) | (c & 0x3f)) & 0x7f)
      at += 2
    } else if (a === 0xf0 && b === 0x80 && (c & 0xfe) === 0x80 && at + 3 < bytes.length) {
      out.push((((c & 0x3f) << 6) | (d & 0x3f)) & 0x7f)
      at += 3
    } else out.push(a)
  }
  return out
}

function latin1(bytes: readonly number[]): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}
