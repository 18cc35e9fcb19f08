// CPU per request: rounds that alternate over shapes and rule sets, in one process, so that ratios hold on a busy machine.
import type { RuleSet } from '../../src/ips/rule-set.ts'
import type { TrafficClass } from '../../src/policy/classes.ts'
import type { Profile } from '../../src/policy/snapshot.ts'
import { median, spread } from '../report/statistics.ts'
import { askedOf, judge, type Asked } from './asked.ts'
import type { Shape } from './requests.ts'

/** A pairing that is measured. */
export type Subject = {
  readonly id: string
  readonly title: string
  readonly rules: RuleSet
  readonly shape: Shape
  /** The class of its requests, or the profile that says which. */
  readonly by: TrafficClass | Profile
}

/** What came of it. */
export type Speed = {
  readonly id: string
  readonly title: string
  /** Median of the rounds, and the range of them as a share of it. */
  readonly microseconds: number
  readonly spread: number
  readonly requests: number
  readonly bytes: number
  /** Requests that a rule refused, of `requests`: nothing is wrong with any of them. */
  readonly refused: number
}

/** How long to measure. */
export type SpeedOptions = { readonly rounds: number; readonly roundMs: number }

const BATCH = 32
const WARM_UP_MS = 700

/** Measures every subject in every round; content never comes twice. */
export function measureSpeeds(subjects: readonly Subject[], options: SpeedOptions): readonly Speed[] {
  const meters = subjects.map(subject => new Meter(subject))
  for (const meter of meters) meter.run(WARM_UP_MS)
  for (const meter of meters) meter.forget()
  for (let round = 0; round < options.rounds; round++) {
    for (const meter of meters) meter.round(options.roundMs)
  }
  return meters.map(meter => meter.result())
}

let seed = Math.floor(performance.timeOrigin) >>> 0

class Meter {
  readonly #subject: Subject
  readonly #rounds: number[] = []
  #requests = 0
  #refused = 0
  #bytes = 0

  constructor(subject: Subject) {
    this.#subject = subject
  }

  /** @returns microseconds per request */
  run(ms: number): number {
    const { rules } = this.#subject
    let spent = 0
    let requests = 0
    while (spent < ms * 1_000) {
      const batch: (Asked | null)[] = Array.from({ length: BATCH }, () => this.#fresh())
      const before = process.cpuUsage()
      for (let at = 0; at < BATCH; at++) {
        const asked = batch[at]
        if (asked === null || asked === undefined) continue
        const hits = judge(rules, asked)
        // The gate lets go of a request when it is judged.
        batch[at] = null
        if (hits.some(hit => hit.mode === 'enforce' && hit.exception === null)) this.#refused++
      }
      const { user, system } = process.cpuUsage(before)
      spent += user + system
      requests += BATCH
    }
    this.#requests += requests
    return spent / requests
  }

  round(ms: number): void {
    this.#rounds.push(this.run(ms))
  }

  forget(): void {
    this.#requests = 0
    this.#refused = 0
  }

  result(): Speed {
    const { id, title } = this.#subject
    return {
      id,
      title,
      microseconds: median(this.#rounds),
      spread: spread(this.#rounds),
      requests: this.#requests,
      bytes: this.#bytes,
      refused: this.#refused,
    }
  }

  #fresh(): Asked {
    const { shape, by } = this.#subject
    seed = (seed + 1) >>> 0
    const asked = askedOf(shape.make(seed), by)
    if (asked === null) throw new Error(`${shape.id} is not a request that comes to rules`)
    this.#bytes = asked.body?.length ?? asked.facts.target.length
    return asked
  }
}
