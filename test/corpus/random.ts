// A seeded source of choices: the same seed gives the same traffic, so that a failure can be seen again.

/** Choices made from a seed. */
export type Random = {
  /** A whole number from `min` to `max`, both included. */
  readonly int: (min: number, max: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <T>(list: readonly T[]) => T
  /** Between `min` and `max` values that `make` makes. */
  readonly list: <T>(min: number, max: number, make: (index: number) => T) => T[]
  readonly hex: (length: number) => string
  readonly digits: (length: number) => string
  readonly guid: () => string
  /** Bytes of any value. */
  readonly bytes: (length: number) => Buffer
}

/** Makes the choices of a seed (a linear congruence with a scrambled output: plain, and good enough for variety). */
export function seeded(seed: number): Random {
  let state = (seed * 2_654_435_761 + 1_013_904_223) >>> 0
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x7feb352d)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b)
    return (mixed ^ (mixed >>> 16)) >>> 0
  }
  const int = (min: number, max: number): number => min + (next() % (max - min + 1))
  const chars = (set: string, length: number): string => {
    let text = ''
    for (let at = 0; at < length; at++) text += set[next() % set.length] ?? ''
    return text
  }
  const hex = (length: number): string => chars('0123456789abcdef', length)
  return {
    int,
    chance: probability => next() < probability * 0x1_0000_0000,
    pick: list => list[next() % list.length] as (typeof list)[number],
    list: (min, max, make) => Array.from({ length: int(min, max) }, (_, index) => make(index)),
    hex,
    digits: length => chars('0123456789', length),
    guid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`,
    bytes: length => Buffer.from(Array.from({ length }, () => next() & 0xff)),
  }
}
