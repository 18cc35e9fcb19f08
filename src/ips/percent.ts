// Percent-decoding of paths: strict for those that are classified, lenient for other readings of them.

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Decodes `%XX` once, reading bytes as UTF-8. A byte that cannot belong to UTF-8 stays as its Latin-1 character, because old
 * agents send names in their code page. `asReceived` says that characters above ASCII are still the bytes of the wire.
 * @returns undefined for what only an attacker sends: overlong or surrogate encodings and `%uXXXX`
 */
export function decodePathOnce(path: string, asReceived: boolean): string | undefined {
  if (/%u[0-9a-f]{4}/i.test(path)) return undefined
  let refused = false
  const decoded = decodeRuns(path, asReceived, bytes => {
    const text = decodeBytes(bytes)
    if (text === undefined) refused = true
    return text ?? ''
  })
  return refused ? undefined : decoded
}

/** Decodes `%XX` once and never refuses: what is not UTF-8 is read as Latin-1. */
export function decodeEscapesOnce(text: string): string {
  return decodeRuns(text, true, bytes => decodeBytes(bytes) ?? latin1(bytes))
}

// A run of escapes and of raw bytes above ASCII: together they may be one UTF-8 character.
const RECEIVED_RUN = /(?:%[0-9a-fA-F]{2}|[\x80-\xff])+/g
const ESCAPE_RUN = /(?:%[0-9a-fA-F]{2})+/g

function decodeRuns(text: string, asReceived: boolean, decode: (bytes: Uint8Array) => string): string {
  return text.replaceAll(asReceived ? RECEIVED_RUN : ESCAPE_RUN, run => {
    const bytes: number[] = []
    for (let at = 0; at < run.length; at++) {
      if (run.charCodeAt(at) === 0x25) {
        bytes.push(Number.parseInt(run.slice(at + 1, at + 3), 16))
        at += 2
      } else bytes.push(run.charCodeAt(at))
    }
    return decode(Uint8Array.from(bytes))
  })
}

function decodeBytes(bytes: Uint8Array): string | undefined {
  if (bytes.every(byte => byte < 0x80)) return latin1(bytes)
  try {
    return UTF8.decode(bytes)
  } catch {
    return deceptive(bytes) ? undefined : latin1(bytes)
  }
}

/** Whether a lenient decoder could see something else in bytes that are not UTF-8. */
function deceptive(bytes: Uint8Array): boolean {
  for (const [index, byte] of bytes.entries()) {
    if (byte === 0xc0 || byte === 0xc1) return true
    const next = bytes[index + 1] ?? 0
    if (byte >= 0xc2 && (next & 0xc0) === 0x80) return true
  }
  return false
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}
