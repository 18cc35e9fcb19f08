// Picks, of a list of rules, those that can hold: by what scans of the request's values found, without asking each rule.
import { gateOf } from './gate.ts'
import type { Pass } from './pass.ts'
import type { Plan } from './plan.ts'

/** A view that rules wait for, and which of them wait for which requirement. */
type Watched = {
  readonly view: number
  /** Parts of a request without one of which the view is empty. */
  readonly source: number
  /** Parts of a request one of which all of these rules need. */
  needs: number
  readonly mask: Uint32Array
  readonly byBit: Map<number, number[]>
}

/** What the rules of a list, and the collections that they look at, cannot do without: parts of a request (sources.ts). */
export type Needs = {
  /** For each rule of the list, parts one of which it needs. */
  readonly ofRules: readonly number[]
  /** For a collection by its id, parts without one of which it is empty. */
  readonly ofCollection: (id: string) => number
}

/** A list of rules by what they cannot hold without. */
export class Shortlist {
  /** Places in the list of rules that wait for what is no part of the request, such as the country of its source. */
  readonly beyondRequest: readonly number[]
  /** Places in the list of rules that may hold whatever a scan says. */
  readonly #open: readonly number[]
  readonly #needs: readonly number[]
  readonly #watched: readonly Watched[]
  readonly #seen: Uint32Array
  #round = 0

  /** @param numbers numbers of the rules, in the order of the list */
  constructor(plan: Plan, numbers: readonly number[], needs: Needs) {
    const open: number[] = []
    const watched = new Map<number, Watched>()
    const words = (plan.requirements.length + 31) >> 5
    const beyond = new Set<number>()
    const watch = (place: number, view: number, bit: number): void => {
      const read = plan.collections[plan.selections[plan.views[view]?.selection ?? -1]?.collection ?? -1]
      if (read?.phase === 'hello') beyond.add(place)
      let entry = watched.get(view)
      if (entry === undefined) {
        const source = needs.ofCollection(read?.id ?? '')
        entry = { view, source, needs: 0, mask: new Uint32Array(words), byBit: new Map() }
        watched.set(view, entry)
      }
      entry.needs |= needs.ofRules[place] ?? 0
      const { mask, byBit } = entry
      mask[bit >> 5] = (mask[bit >> 5] as number) | (1 << (bit & 31))
      const places = byBit.get(bit)
      if (places === undefined) byBit.set(bit, [place])
      else places.push(place)
    }
    for (const [place, number] of numbers.entries()) {
      const rule = plan.rules[number]
      const gate = rule === undefined ? null : gateOf(rule.when)
      if (gate === null) open.push(place)
      else
        for (const { group, bit } of gate)
          for (const view of plan.groups[group] ?? []) watch(place, view, bit)
    }
    this.beyondRequest = [...beyond]
    this.#open = open
    this.#needs = needs.ofRules
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
    for (const { view, source, needs, mask, byBit } of this.#watched) {
      // Most requests lack most parts: what cannot be there is not even looked for.
      if ((needs & present) === 0 || (source & present) === 0) continue
      const any = pass.viewBits(view)
      const words = any === null ? mask.length : any.length
      for (let word = 0; word < words; word++) {
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
