// Works out what every text must contain for a pattern to match, so that most patterns need not be asked at all.
import { SetTable } from './alphabet.ts'
import { normalise } from './char-set.ts'
import { setFrequency } from './rarity.ts'
import type { Requirement } from './requirement.ts'
import type { Node } from './syntax.ts'

/** Sets one after another, by their number. */
type Numbers = readonly number[]

/** What matches of a part begin or end with; `whole` when the match is just that. */
type Literal = { readonly sets: Numbers; readonly whole: boolean }

/** Sequences one of which is in every match. Cost: how many of them to expect per character of harmless text. */
type Choice = { readonly sequences: readonly Numbers[]; readonly cost: number }

/** What is known of the matches of a part. Lists are never empty. */
type Info = {
  readonly begins: readonly Literal[]
  readonly ends: readonly Literal[]
  readonly best: Choice | null
}

type Rim = 'begin' | 'end'

const MAX_LENGTH = 8
const MAX_SEQUENCES = 256
/** Most literals that joining two parts may lead to. */
const MAX_PRODUCT = 256
/** A choice that is expected more often than this is of no use. */
const MAX_COST = 0.3
/** A set that holds more of all characters than this says nothing at the rim of a sequence. */
const WIDE = 0.6

const NOTHING: Literal = { sets: [], whole: true }
const EMPTY_INFO: Info = { begins: [NOTHING], ends: [NOTHING], best: null }

/** The requirement of a pattern; null when nothing useful is known. Never misses a text that matches. */
export function findRequirement(root: Node): Requirement | null {
  return new Finder().find(root)
}

class Finder {
  readonly #table = new SetTable()
  readonly #frequencies: number[] = []

  find(root: Node): Requirement | null {
    const best = this.#bestOf(this.#describe(root))
    if (best === null || best.cost > MAX_COST) return null
    return best.sequences.map(sequence => sequence.map(number => this.#table.sets[number] ?? []))
  }

  #describe(node: Node): Info {
    switch (node.kind) {
      case 'empty':
      case 'assert':
        return EMPTY_INFO
      case 'set': {
        const literals = [{ sets: [this.#number(node.set)], whole: true }]
        return { begins: literals, ends: literals, best: this.#choose(literals) }
      }
      case 'group':
        return this.#describe(node.part)
      case 'concat':
        return node.parts.map(part => this.#describe(part)).reduce((a, b) => this.#join(a, b), EMPTY_INFO)
      case 'choice':
        return this.#either(node.parts.map(part => this.#describe(part)))
      case 'repeat':
        return this.#repeat(this.#describe(node.part), node.min, node.max)
    }
  }

  #number(set: Requirement[number][number]): number {
    const number = this.#table.add(set)
    this.#frequencies[number] ??= setFrequency(set)
    return number
  }

  #frequency(number: number | undefined): number {
    return this.#frequencies[number ?? -1] ?? 0
  }

  #join(a: Info, b: Info): Info {
    if (a === EMPTY_INFO) return b
    const begins = extend(a.begins, b.begins, 'begin')
    const ends = extend(b.ends, a.ends, 'end')
    const across =
      a.ends.length * b.begins.length > MAX_PRODUCT
        ? null
        : this.#chooseAmong(a.ends.flatMap(x => b.begins.map(y => [...x.sets, ...y.sets])))
    return {
      begins,
      ends,
      best: cheapest([a.best, b.best, across, this.#choose(begins), this.#choose(ends)]),
    }
  }

  #either(infos: readonly Info[]): Info {
    const bests = infos.map(info => this.#bestOf(info))
    const all = bests.flatMap(best => best?.sequences ?? [])
    return {
      begins: this.#limit(unique(infos.flatMap(info => info.begins)), 'begin'),
      ends: this.#limit(unique(infos.flatMap(info => info.ends)), 'end'),
      best: bests.includes(null) ? null : this.#chooseAmong(all),
    }
  }

  #repeat(part: Info, min: number, max: number): Info {
    if (max === 0) return EMPTY_INFO
    let times = part
    for (let n = 1; n < Math.min(min, MAX_LENGTH); n++) times = this.#join(times, part)
    const isKnown = (min === max && min <= MAX_LENGTH) || (min === 0 && max === 1)
    const more = isKnown
      ? times
      : { best: times.best, begins: times.begins.map(cut), ends: times.ends.map(cut) }
    if (min > 0) return more
    return { begins: unique([NOTHING, ...more.begins]), ends: unique([NOTHING, ...more.ends]), best: null }
  }

  /** Shortens literals until there are few enough of them. */
  #limit(literals: readonly Literal[], rim: Rim): readonly Literal[] {
    let left = literals
    for (let length = MAX_LENGTH - 1; length > 0 && left.length > MAX_PRODUCT; length--) {
      left = unique(
        left.map(literal =>
          literal.sets.length <= length ? literal : { sets: atRim(literal.sets, rim, length), whole: false },
        ),
      )
    }
    if (left.length <= MAX_PRODUCT) return left
    const rims = left.map(literal => atRim(literal.sets, rim, 1))
    return [{ sets: rims.some(sets => sets.length === 0) ? [] : this.#unite(rims), whole: false }]
  }

  /** One set for sequences of one set each. */
  #unite(sequences: readonly Numbers[]): Numbers {
    return [this.#number(normalise(sequences.flatMap(sets => this.#table.sets[sets[0] ?? 0] ?? [])))]
  }

  #bestOf(info: Info): Choice | null {
    return cheapest([info.best, this.#choose(info.begins), this.#choose(info.ends)])
  }

  #choose(literals: readonly Literal[]): Choice | null {
    return this.#chooseAmong(literals.map(literal => literal.sets))
  }

  /** The sequences as a choice, each cut to its rarest stretch; null if one says nothing. */
  #chooseAmong(sequences: readonly Numbers[]): Choice | null {
    const found = new Map<string, Numbers>()
    let cost = 0
    for (const sequence of sequences) {
      const stretch = this.#rarestStretch(sequence)
      if (stretch.length === 0) return null
      const key = stretch.join()
      if (found.has(key)) continue
      found.set(key, stretch)
      cost += stretch.reduce((product, number) => product * this.#frequency(number), 1)
    }
    const kept = [...found.values()]
    return kept.length > MAX_SEQUENCES ? this.#chooseAmong(this.#shorter(kept)) : { sequences: kept, cost }
  }

  /** Fewer sequences that stand for all of these: the longest lose their ends, single sets unite. */
  #shorter(sequences: readonly Numbers[]): readonly Numbers[] {
    const longest = Math.max(...sequences.map(sequence => sequence.length))
    if (longest === 1) return [this.#unite(sequences)]
    return sequences.map(sequence => (sequence.length === longest ? sequence.slice(0, -1) : sequence))
  }

  #rarestStretch(sequence: Numbers): Numbers {
    let from = 0
    let to = sequence.length
    while (from < to && this.#frequency(sequence[from]) > WIDE) from++
    while (to > from && this.#frequency(sequence[to - 1]) > WIDE) to--
    while (to - from > MAX_LENGTH) {
      if (this.#frequency(sequence[from]) > this.#frequency(sequence[to - 1])) from++
      else to--
    }
    return from === 0 && to === sequence.length ? sequence : sequence.slice(from, to)
  }
}

/** Lengthens the literals at one rim that are whole by those of the neighbour. */
function extend(near: readonly Literal[], far: readonly Literal[], rim: Rim): readonly Literal[] {
  const open = near.filter(literal => literal.whole)
  if (open.length === 0) return near
  if (open.length * far.length + near.length > MAX_PRODUCT) return near.map(cut)
  const longer = open.flatMap(x =>
    far.map(y => {
      const sets = rim === 'begin' ? [...x.sets, ...y.sets] : [...y.sets, ...x.sets]
      return sets.length <= MAX_LENGTH
        ? { sets, whole: y.whole }
        : { sets: atRim(sets, rim, MAX_LENGTH), whole: false }
    }),
  )
  return unique([...near.filter(literal => !literal.whole), ...longer])
}

function atRim(sets: Numbers, rim: Rim, length: number): Numbers {
  return rim === 'begin' ? sets.slice(0, length) : sets.slice(-length)
}

function cut(literal: Literal): Literal {
  return literal.whole ? { sets: literal.sets, whole: false } : literal
}

function unique(literals: readonly Literal[]): readonly Literal[] {
  const found = new Map<string, Literal>()
  for (const literal of literals) {
    const key = literal.sets.join()
    found.set(literal.whole ? `${key}$` : key, literal)
  }
  return [...found.values()]
}

function cheapest(choices: readonly (Choice | null)[]): Choice | null {
  let best: Choice | null = null
  for (const choice of choices) {
    if (choice !== null && (best === null || choice.cost < best.cost)) best = choice
  }
  return best
}
