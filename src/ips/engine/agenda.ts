// Which rules of a phase are worth asking: stretch by stretch, because rules jump over what a stretch further on would look at.
import { gateOf } from './gate.ts'
import type { Pass } from './pass.ts'
import type { PhasePlan, Plan } from './plan.ts'

/** A group of views that rules of a stretch wait for, with what they wait for. */
type Watched = {
  readonly group: number
  readonly words: readonly number[]
  readonly masks: readonly number[]
  readonly byBit: ReadonlyMap<number, readonly number[]>
}

/** Rules between two places where a jump may begin or end. */
class Stretch {
  readonly from: number
  readonly to: number
  /** Bit by bit, the rules that may hold whatever a scan says. */
  readonly #open: Uint32Array
  readonly #due: Uint32Array
  readonly #watched: readonly Watched[]

  constructor(plan: Plan, { rules }: PhasePlan, from: number, to: number) {
    this.from = from
    this.to = to
    this.#open = new Uint32Array((to - from + 31) >> 5)
    this.#due = new Uint32Array(this.#open.length)
    const groups = new Map<number, Map<number, number[]>>()
    for (let place = 0; place < to - from; place++) {
      const rule = rules[from + place]
      const gate = rule === undefined ? null : gateOf(rule.when)
      if (gate === null) {
        add(this.#open, place)
        continue
      }
      for (const { group, bit } of gate) {
        const byBit = groups.get(group) ?? new Map<number, number[]>()
        groups.set(group, byBit)
        const places = byBit.get(bit) ?? []
        byBit.set(bit, places)
        places.push(place)
      }
    }
    this.#watched = [...groups].map(([group, byBit]) => {
      const mask = new Uint32Array((plan.requirements.length + 31) >> 5)
      for (const bit of byBit.keys()) add(mask, bit)
      const words = [...mask.keys()].filter(word => mask[word] !== 0)
      return { group, words, masks: words.map(word => mask[word] as number), byBit }
    })
  }

  /** The rules that can hold: bit n is the n-th of the stretch. Good until the next call. */
  due(pass: Pass): Uint32Array {
    const due = this.#due
    due.set(this.#open)
    for (const { group, words, masks, byBit } of this.#watched) {
      const any = pass.groupBits(group)
      if (any !== null && any.length === 0) continue
      for (let index = 0; index < words.length; index++) {
        const word = words[index] as number
        let met = any === null ? (masks[index] as number) : (any[word] as number) & (masks[index] as number)
        while (met !== 0) {
          const bit = 31 - Math.clz32(met)
          met &= ~(1 << bit)
          for (const place of byBit.get(word * 32 + bit) ?? []) add(due, place)
        }
      }
    }
    return due
  }
}

/** The rules of one phase. */
export class Agenda {
  /** Per rule of the phase, the stretch that it is in. */
  readonly #stretches: readonly Stretch[]

  constructor(plan: Plan, phase: PhasePlan) {
    const { rules, markers } = phase
    const bounds = new Set([0, rules.length, ...markers.values()])
    for (const [place, { rule }] of rules.entries()) if (rule.skipTo !== null) bounds.add(place + 1)
    const sorted = [...bounds].sort((a, b) => a - b)
    this.#stretches = sorted.slice(0, -1).flatMap((from, index) => {
      const to = sorted[index + 1] ?? from
      const stretch = new Stretch(plan, phase, from, to)
      return Array.from({ length: to - from }, () => stretch)
    })
  }

  /** The stretch that a rule is in, by its place in the phase. */
  at(place: number): Stretch | undefined {
    return this.#stretches[place]
  }
}

function add(bits: Uint32Array, bit: number): void {
  bits[bit >> 5] = (bits[bit >> 5] as number) | (1 << (bit & 31))
}
