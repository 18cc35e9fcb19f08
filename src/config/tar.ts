// Reads a tar archive (POSIX ustar with pax headers, GNU long names) strictly and in memory: regular files only.

/** A regular file of an archive. */
export type TarEntry = { readonly path: string; readonly bytes: Uint8Array }

const BLOCK = 512
const MAX_ENTRIES = 20_000

/** Reads all regular files; a text: why the archive is not read. Links and devices are left out, paths are not judged here. */
export function readTar(archive: Uint8Array): readonly TarEntry[] | string {
  const out: TarEntry[] = []
  let longName: string | null = null
  let at = 0
  for (let count = 0; at + BLOCK <= archive.length; count++) {
    if (count > MAX_ENTRIES) return `it has more than ${MAX_ENTRIES} entries`
    const header = archive.subarray(at, at + BLOCK)
    if (header.every(byte => byte === 0)) return out
    if (!hasChecksum(header)) return `the header at byte ${at} has a wrong checksum`
    const size = octal(header, 124, 12)
    if (size === null) return `the header at byte ${at} has no size that can be read`
    const from = at + BLOCK
    if (from + size > archive.length) return 'it ends in the middle of a file'
    const bytes = archive.subarray(from, from + size)
    const type = String.fromCharCode(header[156] ?? 0)
    at = from + Math.ceil(size / BLOCK) * BLOCK
    if (type === 'x') longName = paxPath(bytes) ?? longName
    else if (type === 'L') longName = text(bytes, 0, bytes.length)
    else {
      if (type === '0' || type === '\0') out.push({ path: longName ?? nameOf(header), bytes })
      if (type !== 'g') longName = null
    }
  }
  return 'it has no end: is the file complete?'
}

function text(bytes: Uint8Array, from: number, length: number): string {
  const part = bytes.subarray(from, from + length)
  const end = part.indexOf(0)
  return Buffer.from(end < 0 ? part : part.subarray(0, end)).toString('utf8')
}

function octal(header: Uint8Array, from: number, length: number): number | null {
  const digits = text(header, from, length).trim()
  return /^[0-7]{1,11}$/.test(digits) ? Number.parseInt(digits, 8) : null
}

function hasChecksum(header: Uint8Array): boolean {
  const stated = octal(header, 148, 8)
  let sum = 0
  for (const [index, byte] of header.entries()) sum += index >= 148 && index < 156 ? 0x20 : byte
  return stated === sum
}

function nameOf(header: Uint8Array): string {
  const isUstar = text(header, 257, 5) === 'ustar'
  const prefix = isUstar ? text(header, 345, 155) : ''
  const name = text(header, 0, 100)
  return prefix === '' ? name : `${prefix}/${name}`
}

/** The path of a pax header; records are `<length> <key>=<value>\n`. */
function paxPath(bytes: Uint8Array): string | null {
  let at = 0
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at)
    const length = space < 0 ? Number.NaN : Number(text(bytes, at, space - at))
    if (!Number.isInteger(length) || length <= space - at || at + length > bytes.length) return null
    const record = Buffer.from(bytes.subarray(space + 1, at + length - 1)).toString('utf8')
    if (record.startsWith('path=')) return record.slice('path='.length)
    at += length
  }
  return null
}
