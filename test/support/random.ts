// Numbers that look random and are the same for the same seed.

/** Small and repeatable: xorshift of 32 bits. @returns whole numbers from 0, below what is asked for */
export function randomOf(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
