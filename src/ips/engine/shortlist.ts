// Picks, of a list of rules, those that can hold: by what scans of the request's values found, without asking each rule.
import type { Pass } from './pass.ts'
import type { ExpressionPlan, Plan, TargetPlan, TestPlan } from './plan.ts'

type Gate = readonly { readonly target: TargetPlan; readonly test: TestPlan }[]

/** A view that rules wait for, and which of them wait for which requirement. */
type Watched = {
  readonly target: TargetPlan
  readonly chain: readonly number[]
  readonly mask: Uint32Array
  readonly byBit: Map<number, number[]>
}

/** A list of rules by what they cannot hold without. */
export class Shortlist {
  /** Places in the list of rules that may hold whatever a scan says. */
  readonly #open: readonly number[]
  readonly #watched: readonly Watched[]
  readonly #seen: Uint32Array
  #round = 0

  /** @param numbers numbers of the rules, in the order of the list */
  constructor(plan: Plan, numbers: readonly number[]) {
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
      for (const { target, test } of gate) {
        let entry = watched.get(target.view)
        if (entry === undefined) {
          entry = { target, chain: test.chain, mask: new Uint32Array(words), byBit: new Map() }
          watched.set(target.view, entry)
        }
        const { mask, byBit } = entry
        mask[test.bit >> 5] = (mask[test.bit >> 5] as number) | (1 << (test.bit & 31))
        const places = byBit.get(test.bit)
        if (places === undefined) byBit.set(test.bit, [place])
        else places.push(place)
      }
    }
    this.#open = open
    this.#watched = [...watched.values()]
    this.#seen = new Uint32Array(numbers.length)
  }

  /** Places in the list of the rules that can hold, in no order; every rule that does hold is among them. */
  select(pass: Pass): readonly number[] {
    const places = [...this.#open]
    const round = ++this.#round
    for (const { target, chain, mask, byBit } of this.#watched) {
      if (pass.values(target.collection).length === 0) continue
      const any = pass.anyBits(pass.view(target, chain))
      for (let word = 0; word < mask.length; word++) {
        let met = any === null ? (mask[word] as number) : (any[word] as number) & (mask[word] as number)
        while (met !== 0) {
          const bit = 31 - Math.clz32(met)
          met &= ~(1 << bit)
          for (const place of byBit.get(word * 32 + bit) ?? []) {
            if (this.#seen[place] === round) continue
            this.#seen[place] = round
            places.push(place)
          }
        }
      }
    }
    return places
  }
}

/** Tests of which one must have its requirement met; null: it may hold without. */
function gateOf(expression: ExpressionPlan): Gate | null {
  switch (expression.kind) {
    case 'test': {
      const { test } = expression
      const { negated, multiMatch } = test.test
      const isPlain = test.targets.every(
        ({ target }) => !target.count && target.only === null && !target.collection.volatile,
      )
      if (negated || multiMatch || test.bit < 0 || !isPlain) return null
      return test.targets.map(target => ({ target, test }))
    }
    case 'all': {
      let best: Gate | null = null
      for (const part of expression.parts) {
        const gate = gateOf(part)
        if (gate !== null && (best === null || gate.length < best.length)) best = gate
      }
      return best
    }
    case 'any': {
      const gates = expression.parts.map(gateOf)
      return gates.some(gate => gate === null) ? null : gates.flatMap(gate => gate ?? [])
    }
    case 'not':
    case 'always':
      return null
  }
}
