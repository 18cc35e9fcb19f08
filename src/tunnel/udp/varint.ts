// Variable-length integers of RFC 9000 section 16: the first two bits say whether 1, 2, 4 or 8 bytes carry the number. Pure.

/** Bytes that a number takes: 1, 2, 4 or 8. */
export function varintLength(value: number): number {
  if (value < 0x40) return 1
  if (value < 0x4000) return 2
  return value < 0x4000_0000 ? 4 : 8
}

/** Bytes of a number that begins with this byte. */
export function varintSize(firstByte: number): number {
  return 1 << (firstByte >>> 6)
}

/**
 * Writes a number, at most Number.MAX_SAFE_INTEGER, in its shortest form.
 * @returns the offset after it
 */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  if (value < 0x40) {
    target[at] = value
    return at + 1
  }
  if (value < 0x4000) {
    target[at] = 0x40 | (value >>> 8)
    target[at + 1] = value & 0xff
    return at + 2
  }
  if (value < 0x4000_0000) {
    target[at] = 0x80 | (value >>> 24)
    target[at + 1] = (value >>> 16) & 0xff
    target[at + 2] = (value >>> 8) & 0xff
    target[at + 3] = value & 0xff
    return at + 4
  }
  const high = Math.floor(value / 0x1_0000_0000)
  for (let index = 0; index < 4; index++) {
    const shift = 24 - 8 * index
    target[at + index] = (high >>> shift) & 0xff
    target[at + 4 + index] = (value >>> shift) & 0xff
  }
  target[at] = 0xc0 | (target[at] ?? 0)
  return at + 8
}

/**
 * Reads the number at an offset. The caller has made sure that all of its bytes are there. Longer forms than needed are
 * fine; numbers beyond Number.MAX_SAFE_INTEGER are read as an approximation that nothing equals.
 */
export function readVarint(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0
  const size = varintSize(first)
  let value = first & 0x3f
  for (let index = 1; index < size; index++) value = value * 256 + (bytes[at + index] ?? 0)
  return value
}
