// Looks for inputs that hold the event loop: plain ones and fuzz made of what the rules look for, 64 KB each, in every place.
import type { RuleSet } from '../../src/ips/rule-set.ts'
import { judge, type Asked } from './asked.ts'
import { Dice, fuzzText, PLAIN_KINDS } from './fuzz.ts'
import { MOST_RATIO, MOST_STALL_MS } from './goals.ts'
import { ANY_BAIT, place, PLACES, type Bait, type Place } from './places.ts'

/** A rule set under test; its rules record, so that all of them see every input. */
export type StallSubject = {
  readonly rules: RuleSet
  readonly baits: readonly { readonly bait: Bait; readonly tokens: readonly string[] }[]
  /** The set with this rule alone. */
  readonly only: (id: string) => RuleSet
}

/** An input and what it took. */
export type Stall = {
  readonly input: string
  readonly ms: number
  /** Time at 64 KB by time at 16 KB. */
  readonly ratio: number
  /** Rules that looked at most characters, with the time of each alone. */
  readonly rules: readonly { readonly id: string; readonly ms: number }[]
}

/** What was tried and what came of it. */
export type StallResult = {
  readonly plain: number
  readonly fuzz: number
  /** Inputs that the gate refuses before rules are asked, for example paths that are none. */
  readonly unasked: number
  /** Inputs for which the rules ran out of their work budget. */
  readonly overBudget: number
  readonly totalMs: number
  /** Inputs over the goal. */
  readonly slow: number
  readonly worst: readonly Stall[]
  /** Inputs whose time grows faster than they do. */
  readonly steep: readonly Stall[]
}

const LONG = 65_536
const SHORT = LONG / 4
const WORST = 12
/** Below this, a ratio of two times is a ratio of two noises. */
const LEAST_FOR_RATIO_MS = 2
const REPEATS = 5
const MAX_RULES_TIMED = 3

type Input = {
  readonly name: string
  /** The same at another length; null: the gate refuses it. */
  readonly make: (length: number) => Asked | null
}

type Timed = { readonly input: Input; readonly ms: number }

/** Tries the inputs. @param fuzz how many of them are fuzz */
export function findStalls(subject: StallSubject, fuzz: number, isQuick: boolean): StallResult {
  const plain = plainInputs(subject, isQuick)
  const inputs = [...plain, ...fuzzInputs(subject, fuzz)]
  warmUp(subject.rules, inputs)
  let unasked = 0
  let overBudget = 0
  let totalMs = 0
  const timed: Timed[] = []
  for (const input of inputs) {
    const asked = input.make(LONG)
    if (asked === null) {
      unasked++
      continue
    }
    let ms = timeOf(() => {
      if (judge(subject.rules, asked).some(hit => hit.ruleId === 'work-budget')) overBudget++
    })
    totalMs += ms
    // Compilation and collection of garbage happen once; what is slow by itself is slow again.
    if (ms > MOST_STALL_MS / 2) ms = Math.min(ms, leastTime(subject.rules, input, LONG, 2))
    timed.push({ input, ms })
  }
  timed.sort((a, b) => b.ms - a.ms)
  const worst = timed.slice(0, WORST).map(entry => explained(subject, entry))
  const typical = timed.filter(({ input }) => input.name.startsWith(`${ANY_BAIT.id}:`)).slice(0, 2 * WORST)
  const steep = typical
    .map(entry => explained(subject, entry))
    .concat(worst)
    .filter(({ ratio }) => ratio > MOST_RATIO)
  return {
    plain: plain.length,
    fuzz,
    unasked,
    overBudget,
    totalMs,
    slow: timed.filter(({ ms }) => ms > MOST_STALL_MS).length,
    worst,
    steep,
  }
}

function plainInputs({ baits }: StallSubject, isQuick: boolean): readonly Input[] {
  const distinct = new Map<string, Bait>([['', ANY_BAIT]])
  for (const { bait } of baits) {
    const { id: _, ...asked } = bait
    const key = JSON.stringify(asked)
    if (!distinct.has(key)) distinct.set(key, bait)
  }
  const chosen = [...distinct.values()].filter((_, index) => !isQuick || index % 10 === 0)
  const seeds = new Dice(1)
  return chosen.flatMap(bait =>
    Object.entries(PLAIN_KINDS).flatMap(([kind, make]) =>
      PLACES.map(where => {
        const seed = seeds.next(1 << 30)
        return inputOf(`${bait.id}: ${kind} in ${where}`, where, bait, length => make(length, new Dice(seed)))
      }),
    ),
  )
}

function fuzzInputs({ baits }: StallSubject, count: number): readonly Input[] {
  const seeds = new Dice(2)
  return Array.from({ length: count }, (_, index) => {
    const { bait, tokens } = baits[index % baits.length] ?? { bait: ANY_BAIT, tokens: [] }
    const seed = seeds.next(1 << 30)
    const where = PLACES[seeds.next(PLACES.length)] ?? 'query'
    return inputOf(`${bait.id}: fuzz ${index} in ${where}`, where, bait, length =>
      fuzzText(tokens, length, new Dice(seed)),
    )
  })
}

function inputOf(name: string, where: Place, bait: Bait, text: (length: number) => string): Input {
  return { name, make: length => place(text(length), where, bait) }
}

function warmUp(rules: RuleSet, inputs: readonly Input[]): void {
  const step = Math.max(1, Math.floor(inputs.length / 100))
  for (let at = 0; at < inputs.length; at += step) {
    const asked = inputs[at]?.make(SHORT)
    if (asked !== null && asked !== undefined) judge(rules, asked)
  }
}

/** CPU time in milliseconds; of the whole process, because that of a thread alone comes in ticks of the kernel. */
function timeOf(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

/** The least time of some turns; in each the input comes `times` times, and the time is that of one. */
function leastTime(rules: RuleSet, input: Input, length: number, turns: number, times = 1): number {
  let least = Infinity
  for (let turn = 0; turn < turns; turn++) {
    const asked = Array.from({ length: times }, () => input.make(length)).filter(entry => entry !== null)
    const ms = timeOf(() => {
      for (const entry of asked) judge(rules, entry)
    })
    least = Math.min(least, ms / times)
  }
  return least
}

function explained({ rules, only }: StallSubject, { input, ms }: Timed): Stall {
  const long = leastTime(rules, input, LONG, REPEATS)
  const short = leastTime(rules, input, SHORT, REPEATS, LONG / SHORT)
  const ratio = long < LEAST_FOR_RATIO_MS ? 1 : long / short
  const before = rules.counters()
  const asked = input.make(LONG)
  if (asked !== null) judge(rules, asked)
  const work = rules
    .counters()
    .map((after, index) => ({ id: after.id, work: after.work - (before[index]?.work ?? 0) }))
  const most = work.sort((a, b) => b.work - a.work).filter(entry => entry.work > 0)
  const alone = most
    .slice(0, MAX_RULES_TIMED)
    .map(({ id }) => ({ id, ms: leastTime(only(id), input, LONG, 2) }))
  return {
    input: input.name,
    ms: Math.min(ms, long),
    ratio,
    rules: alone.sort((a, b) => b.ms - a.ms),
  }
}
