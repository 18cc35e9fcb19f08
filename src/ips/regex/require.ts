// Works out what every text must contain for a pattern to match, so that most patterns need not be asked at all.
import { keyOf, normalise } from './char-set.ts'
import { sequenceFrequency, setFrequency } from './rarity.ts'
import type { Requirement, Sequence } from './requirement.ts'
import type { Node } from './syntax.ts'

/** What matches of a part begin or end with; `whole` when the match is just that. */
type Literal = { readonly sets: Sequence; readonly whole: boolean }

/** A set of sequences, one of which is in every match. Cost: how many of them to expect per character of harmless text. */
type Choice = { readonly sequences: readonly Sequence[]; readonly cost: number }

/** What is known of the matches of a part. Lists are never empty. */
type Info = {
  readonly begins: readonly Literal[]
  readonly ends: readonly Literal[]
  readonly best: Choice | null
}

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
  const best = bestOf(describe(root))
  return best !== null && best.cost <= MAX_COST ? best.sequences : null
}

function describe(node: Node): Info {
  switch (node.kind) {
    case 'empty':
    case 'assert':
      return EMPTY_INFO
    case 'set': {
      const literals = [{ sets: [node.set], whole: true }]
      return { begins: literals, ends: literals, best: choose(literals) }
    }
    case 'group':
      return describe(node.part)
    case 'concat':
      return node.parts.map(describe).reduce(join, EMPTY_INFO)
    case 'choice':
      return either(node.parts.map(describe))
    case 'repeat':
      return repeat(describe(node.part), node.min, node.max)
  }
}

function join(a: Info, b: Info): Info {
  const begins = extend(a.begins, b.begins, 'begin')
  const ends = extend(b.ends, a.ends, 'end')
  const across =
    a.ends.length * b.begins.length > MAX_PRODUCT
      ? null
      : choose(a.ends.flatMap(x => b.begins.map(y => ({ sets: [...x.sets, ...y.sets], whole: false }))))
  return { begins, ends, best: cheapest([a.best, b.best, across, choose(begins), choose(ends)]) }
}

/** Lengthens the literals at one rim that are whole by those of the neighbour. */
function extend(near: readonly Literal[], far: readonly Literal[], rim: 'begin' | 'end'): readonly Literal[] {
  const open = near.filter(literal => literal.whole)
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

function atRim(sets: Sequence, rim: 'begin' | 'end', length: number): Sequence {
  return rim === 'begin' ? sets.slice(0, length) : sets.slice(-length)
}

function either(infos: readonly Info[]): Info {
  const bests = infos.map(bestOf)
  const all = bests.flatMap(best => best?.sequences ?? [])
  const best = bests.includes(null) ? null : chooseAmong(all)
  return {
    begins: limit(unique(infos.flatMap(info => info.begins)), 'begin'),
    ends: limit(unique(infos.flatMap(info => info.ends)), 'end'),
    best,
  }
}

function repeat(part: Info, min: number, max: number): Info {
  if (max === 0) return EMPTY_INFO
  let times = part
  for (let n = 1; n < Math.min(min, MAX_LENGTH); n++) times = join(times, part)
  const once = min === max && min <= MAX_LENGTH
  const more =
    once || (min === 0 && max === 1)
      ? times
      : { ...times, begins: times.begins.map(cut), ends: times.ends.map(cut) }
  if (min > 0) return more
  return { begins: unique([NOTHING, ...more.begins]), ends: unique([NOTHING, ...more.ends]), best: null }
}

function cut(literal: Literal): Literal {
  return literal.whole ? { sets: literal.sets, whole: false } : literal
}

/** Shortens literals until there are few enough of them. */
function limit(literals: readonly Literal[], rim: 'begin' | 'end'): readonly Literal[] {
  let left = literals
  for (let length = MAX_LENGTH - 1; length > 0 && left.length > MAX_PRODUCT; length--) {
    left = unique(
      left.map(literal => {
        if (literal.sets.length <= length) return literal
        return { sets: atRim(literal.sets, rim, length), whole: false }
      }),
    )
  }
  if (left.length <= MAX_PRODUCT) return left
  const first = left.map(literal => (rim === 'begin' ? literal.sets[0] : literal.sets.at(-1)))
  const united = first.includes(undefined) ? [] : [normalise(first.flatMap(set => set ?? []))]
  return [{ sets: united, whole: false }]
}

function unique(literals: readonly Literal[]): readonly Literal[] {
  const found = new Map<string, Literal>()
  for (const literal of literals)
    found.set(`${keyOfSequence(literal.sets)}${literal.whole ? '$' : ''}`, literal)
  return [...found.values()]
}

function keyOfSequence(sequence: Sequence): string {
  return sequence.map(keyOf).join('|')
}

function bestOf(info: Info): Choice | null {
  return cheapest([info.best, choose(info.begins), choose(info.ends)])
}

function cheapest(choices: readonly (Choice | null)[]): Choice | null {
  let best: Choice | null = null
  for (const choice of choices)
    if (choice !== null && (best === null || choice.cost < best.cost)) best = choice
  return best
}

function choose(literals: readonly Literal[]): Choice | null {
  return chooseAmong(literals.map(literal => literal.sets))
}

/** The sequences as a choice, each cut to its rarest stretch; null if one says nothing or they are too many. */
function chooseAmong(sequences: readonly Sequence[]): Choice | null {
  const found = new Map<string, Sequence>()
  for (const sequence of sequences) {
    const stretch = rarestStretch(sequence)
    if (stretch.length === 0) return null
    found.set(keyOfSequence(stretch), stretch)
  }
  if (found.size > MAX_SEQUENCES) return chooseAmong(shorter([...found.values()]))
  const kept = [...found.values()]
  return { sequences: kept, cost: kept.reduce((sum, sequence) => sum + sequenceFrequency(sequence), 0) }
}

/** Fewer sequences that stand for all of these: the longest lose their ends, single sets unite. */
function shorter(sequences: readonly Sequence[]): readonly Sequence[] {
  const longest = Math.max(...sequences.map(sequence => sequence.length))
  if (longest === 1) return [[normalise(sequences.flatMap(sequence => sequence[0] ?? []))]]
  return sequences.map(sequence => (sequence.length === longest ? sequence.slice(0, -1) : sequence))
}

function rarestStretch(sequence: Sequence): Sequence {
  let from = 0
  let to = sequence.length
  const isWide = (at: number): boolean => setFrequency(sequence[at] ?? []) > WIDE
  while (from < to && isWide(from)) from++
  while (to > from && isWide(to - 1)) to--
  while (to - from > MAX_LENGTH) {
    if (setFrequency(sequence[from] ?? []) > setFrequency(sequence[to - 1] ?? [])) from++
    else to--
  }
  return sequence.slice(from, to)
}
