// Tells from the characters of a value that transforms leave it as it is, without trying them.
import type { Transform } from '../rule.ts'

/** Any value may be changed. */
const ANY = 1 << 31
/** Kinds of transforms that are told apart: one bit each beside ANY; those beyond count as ANY. */
const MAX_KINDS = 31
/** A look at more characters than these costs as much as most transforms. */
const MAX_LENGTH = 300

/** Bits of a value and of transforms: where they have none in common, the transforms change nothing. */
export class Inertia {
  readonly #byUnit = new Int32Array(256).fill(ANY)
  readonly #ofTransforms: readonly number[]

  constructor(transforms: readonly Transform[]) {
    const kinds = new Map<string, number>()
    this.#ofTransforms = transforms.map(({ changes }) => {
      if (changes === undefined) return ANY
      const known = kinds.get(changes)
      if (known !== undefined) return known
      if (kinds.size === MAX_KINDS) return ANY
      const bit = 1 << kinds.size
      kinds.set(changes, bit)
      for (let at = 0; at < changes.length; at++) {
        const unit = changes.charCodeAt(at)
        this.#byUnit[unit] = (this.#byUnit[unit] as number) | bit
      }
      return bit
    })
  }

  /** The bits of a value; never 0. */
  ofValue(value: string): number {
    if (value.length > MAX_LENGTH) return -1
    const byUnit = this.#byUnit
    let bits = ANY
    for (let at = 0; at < value.length; at++) {
      const unit = value.charCodeAt(at)
      if (unit > 255) return -1
      bits |= byUnit[unit] as number
    }
    return bits
  }

  /** The bits of a list of transforms. */
  ofChain(transforms: readonly number[]): number {
    return transforms.reduce((bits, transform) => bits | (this.#ofTransforms[transform] ?? ANY), 0)
  }
}
