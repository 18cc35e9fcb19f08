// Picks, of a list of rules, those that can hold: by what scans of the request's values found, without asking each rule.
import { gateOf } from './gate.ts'
import type { Pass } from './pass.ts'
import type { Plan } from './plan.ts'

/** A group of views that rules wait for, and which of them wait for which requirement. */
type Watched = {
  readonly group: number
  readonly mask: Uint32Array
  readonly byBit: Map<number, number[]>
  /** Parts of a request one of which all of these rules need. */
  needs: number
}

/** A list of rules by what they cannot hold without. */
export class Shortlist {
  /** Places in the list of rules that may hold whatever a scan says. */
  readonly #open: readonly number[]
  readonly #needs: readonly number[]
  readonly #watched: readonly Watched[]
  readonly #seen: Uint32Array
  #round = 0

  /**
   * @param numbers numbers of the rules, in the order of the list
   * @param needs for each of them, parts of a request (sources.ts) one of which it needs
   */
  constructor(plan: Plan, numbers: readonly number[], needs: readonly number[]) {
    const open: number[] = []
    const watched = new Map<number, Watched>()
    const words = (plan.requirements.length + 31) >> 5
    for (const [place, number] of numbers.entries()) {
      const rule = plan.rules[number]
      const gate = rule === undefined ? null : gateOf(rule.when)
      if (gate === null) {
        open.push(place)
        continue
      }
      for (const { group, bit } of gate) {
        let entry = watched.get(group)
        if (entry === undefined) {
          entry = { group, mask: new Uint32Array(words), byBit: new Map(), needs: 0 }
          watched.set(group, entry)
        }
        entry.needs |= needs[place] ?? 0
        const { mask, byBit } = entry
        mask[bit >> 5] = (mask[bit >> 5] as number) | (1 << (bit & 31))
        const places = byBit.get(bit)
        if (places === undefined) byBit.set(bit, [place])
        else places.push(place)
      }
    }
    this.#open = open
    this.#needs = needs
    this.#watched = [...watched.values()]
    this.#seen = new Uint32Array(numbers.length)
  }

  /**
   * Places in the list of the rules that can hold, in no order; every rule that does hold is among them.
   * @param present the parts that the request has
   */
  select(pass: Pass, present: number): readonly number[] {
    const places: number[] = []
    for (const place of this.#open) if (this.#isPossible(place, present)) places.push(place)
    const round = ++this.#round
    for (const { group, mask, byBit, needs } of this.#watched) {
      // Most requests lack most parts: what cannot be there is not even looked for.
      if ((needs & present) === 0) continue
      const any = pass.groupBits(group)
      if (any !== null && any.length === 0) continue
      for (let word = 0; word < mask.length; word++) {
        let met = any === null ? (mask[word] as number) : (any[word] as number) & (mask[word] as number)
        while (met !== 0) {
          const bit = 31 - Math.clz32(met)
          met &= ~(1 << bit)
          for (const place of byBit.get(word * 32 + bit) ?? []) {
            if (this.#seen[place] === round || !this.#isPossible(place, present)) continue
            this.#seen[place] = round
            places.push(place)
          }
        }
      }
    }
    return places
  }

  #isPossible(place: number, present: number): boolean {
    return ((this.#needs[place] ?? 0) & present) !== 0
  }
}
