// PURE. The compact form of one source's finished day in the ledger: varints, grouped by shape.

/** One hour of one shape inside a packed day. */
export type PackedEntry = {
  readonly shape: number
  /** 0 to 23. */
  readonly hour: number
  readonly count: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Second of the hour. */
  readonly first: number
  readonly last: number
}

const FORMAT = 1

/** Packs entries; equal shapes and hours are added up. */
export function packDay(entries: readonly PackedEntry[]): Uint8Array {
  const bytes: number[] = [FORMAT]
  const sorted = merge(entries)
  for (let at = 0; at < sorted.length;) {
    const shape = sorted[at]?.shape
    let end = at
    while (end < sorted.length && sorted[end]?.shape === shape) end++
    push(bytes, shape ?? 0)
    push(bytes, end - at)
    for (; at < end; at++) {
      const entry = sorted[at]
      if (entry === undefined) continue
      push(bytes, entry.hour)
      push(bytes, entry.count)
      push(bytes, entry.bytesIn)
      push(bytes, entry.bytesOut)
      push(bytes, entry.first)
      push(bytes, Math.max(0, entry.last - entry.first))
    }
  }
  return Uint8Array.from(bytes)
}

/** Reads the numbers of a packed day, after its format. */
class Reader {
  readonly #bytes: Uint8Array
  #at = 1

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** The next number; not a number when it is cut off. */
  pull(): number {
    let value = 0
    for (let scale = 1; this.#at < this.#bytes.length; scale *= 128) {
      const byte = this.#bytes[this.#at++] ?? 0
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    return Number.NaN
  }

  /** Goes past a number that nobody asks for. */
  skip(): void {
    while (!this.isAtEnd && (this.#bytes[this.#at++] ?? 0) >= 128);
  }
}

/** Unpacks a day; what is cut off or of an unknown format yields the entries before it. */
export function unpackDay(bytes: Uint8Array): PackedEntry[] {
  const entries: PackedEntry[] = []
  if (bytes[0] !== FORMAT) return entries
  const reader = new Reader(bytes)
  while (!reader.isAtEnd) {
    const shape = reader.pull()
    const hours = reader.pull()
    for (let index = 0; index < hours; index++) {
      const hour = reader.pull()
      const count = reader.pull()
      const bytesIn = reader.pull()
      const bytesOut = reader.pull()
      const first = reader.pull()
      const span = reader.pull()
      if (Number.isNaN(span)) return entries
      entries.push({ shape, hour, count, bytesIn, bytesOut, first, last: first + span })
    }
  }
  return entries
}

/** One shape of a packed day, its hours added up. */
export type PackedShape = {
  readonly shape: number
  readonly hours: number
  readonly count: number
  /** Second of the day. */
  readonly last: number
}

/** The shapes of a packed day: what a replay needs, at a fraction of the cost of unpacking. */
export function unpackShapes(bytes: Uint8Array): PackedShape[] {
  const shapes: PackedShape[] = []
  if (bytes[0] !== FORMAT) return shapes
  const reader = new Reader(bytes)
  while (!reader.isAtEnd) {
    const shape = reader.pull()
    const hours = reader.pull()
    let count = 0
    let last = 0
    for (let index = 0; index < hours; index++) {
      const hour = reader.pull()
      count += reader.pull()
      reader.skip()
      reader.skip()
      last = Math.max(last, hour * 3_600 + reader.pull() + reader.pull())
    }
    if (Number.isNaN(last)) return shapes
    shapes.push({ shape, hours, count, last })
  }
  return shapes
}

function merge(entries: readonly PackedEntry[]): PackedEntry[] {
  const sorted = entries.toSorted((a, b) => a.shape - b.shape || a.hour - b.hour)
  const merged: PackedEntry[] = []
  for (const entry of sorted) {
    const previous = merged.at(-1)
    if (previous === undefined || previous.shape !== entry.shape || previous.hour !== entry.hour) {
      merged.push(entry)
      continue
    }
    merged[merged.length - 1] = {
      shape: entry.shape,
      hour: entry.hour,
      count: previous.count + entry.count,
      bytesIn: previous.bytesIn + entry.bytesIn,
      bytesOut: previous.bytesOut + entry.bytesOut,
      first: Math.min(previous.first, entry.first),
      last: Math.max(previous.last, entry.last),
    }
  }
  return merged
}

function push(bytes: number[], value: number): void {
  let left = Math.max(0, Math.floor(value))
  while (left >= 128) {
    bytes.push((left % 128) + 128)
    left = Math.floor(left / 128)
  }
  bytes.push(left)
}
