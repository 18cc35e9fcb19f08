// Reads the directory of zip archives: names of entries as different extractors see them, and what a bomb looks like.
import type { BodyProblem } from './inspected.ts'
import type { InspectionLimits } from './limits.ts'

/** What an archive holds. */
export type ZipParts = { readonly entries: readonly string[]; readonly problems: ReadonlySet<BodyProblem> }

type Limits = Pick<InspectionLimits, 'zipEntries' | 'zipNameBytes' | 'zipRatio' | 'zipFreeBytes'>

const LOCAL = 'PK\x03\x04'
const CENTRAL = 'PK\x01\x02'
const END = 'PK\x05\x06'
const LOCAL_BYTES = 30
const CENTRAL_BYTES = 46
/** The zip64 end record and its locator, which stand between the directory and its end. */
const ZIP64_END_BYTES = 76
const UNICODE_PATH = 0x7075
const ZIP64 = 0x0001

/** Whether there is a zip archive in the bytes, at their beginning or behind something else. */
export function hasZip(bytes: string): boolean {
  return bytes.includes(LOCAL) || bytes.includes(END)
}

/**
 * Reads the entries of an archive (PKWARE APPNOTE 6.3.10). Extractors trust the central directory, the local headers, or the
 * Unicode name beside either; all names are given, each once. Data in front of the archive does not matter.
 * @param bytes one character per byte
 * @param complete false when the end, and with it the directory, may be missing
 */
export function readZip(bytes: string, complete: boolean, limits: Limits): ZipParts {
  const reader = new ZipReader(bytes, limits)
  const central = reader.readCentral()
  reader.readLocal()
  if (complete && !central) reader.problems.add('zip-broken')
  reader.finish()
  return { entries: [...reader.names], problems: reader.problems }
}

type Header = {
  readonly name: string
  readonly packed: number
  readonly unpacked: number
  readonly end: number
}

class ZipReader {
  readonly names = new Set<string>()
  readonly problems = new Set<BodyProblem>()
  readonly #bytes: string
  readonly #limits: Limits
  /** Names by directory, to find those that local headers give otherwise. */
  readonly #central = new Set<string>()
  #packed = 0
  #unpacked = 0
  #read = 0

  constructor(bytes: string, limits: Limits) {
    this.#bytes = bytes
    this.#limits = limits
  }

  /** Reads every record of central directories, those of archives within too; false: there is no directory. */
  readCentral(): boolean {
    const bytes = this.#bytes
    const end = bytes.lastIndexOf(END)
    const start = this.#directoryStart(end)
    const offsets = new Set<number>()
    let records = 0
    for (let at = bytes.indexOf(CENTRAL); at >= 0;) {
      if (!this.#countEntry()) break
      const header = this.#header(at, CENTRAL_BYTES, 20, 28)
      if (header === null) {
        at = bytes.indexOf(CENTRAL, at + 4)
        continue
      }
      if (at >= start) {
        records++
        this.#central.add(header.name)
        this.#packed += header.packed
        this.#unpacked += header.unpacked
        const offset = this.#number(at + 42, 4)
        // Entries that share their data: a bomb without a large archive.
        if (offset !== 0xffffffff && offsets.has(offset)) this.problems.add('zip-ratio')
        offsets.add(offset)
      }
      at = bytes.indexOf(CENTRAL, header.end)
    }
    if (end < 0) return records > 0
    const claimed = this.#number(end + 10, 2)
    if (claimed !== 0xffff && claimed !== records && this.#read < this.#limits.zipEntries)
      this.problems.add('zip-broken')
    return true
  }

  /** Where the directory of the outermost archive begins, whatever stands in front of the archive; 0: its end does not say. */
  #directoryStart(end: number): number {
    if (end < 0) return 0
    const size = this.#number(end + 12, 4)
    for (const start of [end - size, end - size - ZIP64_END_BYTES])
      if (start >= 0 && this.#bytes.startsWith(CENTRAL, start)) return start
    return 0
  }

  /** Reads every local header, as extractors of streams do. */
  readLocal(): void {
    const bytes = this.#bytes
    this.#read = 0
    let dataEnd = 0
    for (let at = bytes.indexOf(LOCAL); at >= 0;) {
      if (!this.#countEntry()) return
      const header = this.#header(at, LOCAL_BYTES, 18, 26)
      if (header === null) {
        at = bytes.indexOf(LOCAL, at + 4)
        continue
      }
      if (at < dataEnd) this.problems.add('zip-nested')
      else if (this.#central.size > 0 && !this.#central.has(header.name)) this.problems.add('zip-broken')
      dataEnd = Math.max(dataEnd, header.end + header.packed)
      at = bytes.indexOf(LOCAL, header.end)
    }
  }

  finish(): void {
    if (this.#unpacked > this.#limits.zipFreeBytes && this.#unpacked > this.#packed * this.#limits.zipRatio)
      this.problems.add('zip-ratio')
    for (const name of this.names) {
      if (/\.(?:zip|jar|war|ear|nupkg|vsix|7z|rar|gz|tgz|tar|cab)$/i.test(name))
        this.problems.add('zip-nested')
    }
  }

  #countEntry(): boolean {
    if (this.#read++ < this.#limits.zipEntries) return true
    this.problems.add('zip-count')
    return false
  }

  /** Reads a header; null: it is cut off or none. */
  #header(at: number, fixed: number, sizes: number, lengths: number): Header | null {
    const bytes = this.#bytes
    if (at + fixed > bytes.length) return null
    const nameLength = this.#number(at + lengths, 2)
    const extraLength = this.#number(at + lengths + 2, 2)
    const start = at + fixed
    const name = bytes.slice(start, start + Math.min(nameLength, this.#limits.zipNameBytes))
    if (nameLength > this.#limits.zipNameBytes) this.problems.add('zip-broken')
    this.names.add(name)
    const header = { packed: this.#number(at + sizes, 4), unpacked: this.#number(at + sizes + 4, 4) }
    const end = start + nameLength + extraLength
    this.#readExtra(start + nameLength, Math.min(end, bytes.length), header)
    return { name, ...header, end: Math.min(end, bytes.length) }
  }

  #readExtra(from: number, end: number, header: { packed: number; unpacked: number }): void {
    let at = from
    while (at + 4 <= end) {
      const id = this.#number(at, 2)
      const length = this.#number(at + 2, 2)
      const next = at + 4 + length
      if (id === UNICODE_PATH && length > 5) this.names.add(this.#bytes.slice(at + 9, Math.min(next, end)))
      if (id === ZIP64) {
        let field = at + 4
        if (header.unpacked === 0xffffffff && field + 8 <= next) {
          header.unpacked = this.#number(field, 8)
          field += 8
        }
        if (header.packed === 0xffffffff && field + 8 <= next) header.packed = this.#number(field, 8)
      }
      at = next
    }
  }

  /** Little-endian number; bytes that are missing count as zero. */
  #number(at: number, length: number): number {
    let value = 0
    for (let n = length - 1; n >= 0; n--) value = value * 256 + (this.#bytes.charCodeAt(at + n) || 0)
    return value
  }
}
