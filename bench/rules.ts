// Measures what rules cost, without a gate around them: CPU per request of real shapes, growth with the number of rules, and
// inputs that hold the event loop. `npm run bench:rules -- --crs <dir>`; see bench/rules/options.ts.
import { cpus, loadavg } from 'node:os'
import {
  shippedPolicy,
  importedOnly,
  importedRules,
  imported,
  multiplied,
  recording,
  ruleSetOf,
  shippedDocuments,
} from './rules/rule-sets.ts'
import type { RuleDocument } from '../src/ips/rule-document.ts'
import type { SecCompiled } from '../src/ips/seclang/compile.ts'
import { note, print } from './report/print.ts'
import { align } from './report/table.ts'
import { tokensOfDocument, tokensOfRule } from './rules/fuzz.ts'
import {
  atMost,
  IMPORTED_GOALS,
  MOST_GROWTH,
  MOST_RATIO,
  MOST_STALL_MS,
  OWN_GOALS,
  QUADRATIC_RATIO,
  type RuleGoal,
} from './rules/goals.ts'
import { parseRuleBenchOptions, USAGE, type PartId, type RuleBenchOptions } from './rules/options.ts'
import { ANY_BAIT, baitOf } from './rules/places.ts'
import { IMPORTED_SHAPES, SHAPES } from './rules/requests.ts'
import { measureSpeeds, type Speed, type Subject } from './rules/speed.ts'
import { findStalls, type StallResult } from './rules/stalls.ts'

type Section = {
  readonly title: string
  readonly speeds?: readonly Speed[]
  readonly stalls?: StallResult
  readonly goals: readonly RuleGoal[]
}

let options: RuleBenchOptions
try {
  options = parseRuleBenchOptions(process.argv.slice(2))
} catch (error) {
  note(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
  process.exit(2)
}

const policy = shippedPolicy()
const profile = policy.names[0]?.profile
if (profile === undefined) throw new Error('the shipped policy serves no name')
const crs = options.crs === null ? null : importedRules(options.crs)
const inUse = new Set(policy.rules.rules.map(({ id }) => id))
const documents = shippedDocuments()
const sections: Section[] = []
const has = (part: PartId): boolean => options.parts.includes(part)
const begin = (title: string): void => note(`${title} ...`)

if (has('speed')) {
  begin('CPU per request, rules of the shipped policy')
  const by = profile
  const speeds = measureSpeeds(
    SHAPES.map((shape): Subject => ({ id: shape.id, title: shape.title, rules: policy.rules, shape, by })),
    options,
  )
  const goals = speeds.flatMap(({ id, title, microseconds }) => {
    const most = OWN_GOALS[id]
    return most === undefined ? [] : [atMost(title, microseconds, most * options.slack, 'us')]
  })
  sections.push({ title: `CPU per request, ${policy.rules.size} rules of the shipped policy`, speeds, goals })
}
if (has('growth')) {
  begin('Growth')
  sections.push(growth(documents.filter(({ id }) => inUse.has(id))))
}
if (has('crs') && crs !== null) {
  begin('CPU per request, imported rules')
  sections.push(importedSpeed(crs))
}
if (has('stalls')) {
  begin('Stalls, every shipped rule')
  sections.push(ownStalls())
  if (crs !== null) {
    begin('Stalls, imported rules')
    sections.push(importedStalls(crs))
  }
}
report()

function growth(own: readonly RuleDocument[]): Section {
  const sizes = [100, 1_000]
  const by = profile
  if (by === undefined) return { title: 'Growth', goals: [] }
  const sets = sizes.map(size => ({ size, rules: ruleSetOf(multiplied(own, size)) }))
  const subjects = SHAPES.flatMap(shape =>
    sets.map(({ size, rules }): Subject => ({
      id: shape.id,
      title: `${shape.title}, ${size} rules`,
      rules,
      shape,
      by,
    })),
  )
  const speeds = measureSpeeds(subjects, options)
  const goals = SHAPES.map(({ id, title }) => {
    const [few, many] = speeds.filter(speed => speed.id === id)
    const ratio = (many?.microseconds ?? NaN) / (few?.microseconds ?? NaN)
    return atMost(`${title}: 1,000 rules by 100`, ratio, MOST_GROWTH * options.slack, 'x')
  })
  return { title: 'Growth with the number of rules', speeds, goals }
}

function importedSpeed(compiled: SecCompiled): Section {
  const rules = imported(compiled, 'enforce')
  // Imported rules never see what agents post; as another class they see everything.
  const speeds = measureSpeeds(
    IMPORTED_SHAPES.map((shape): Subject => ({
      id: shape.id,
      title: shape.title,
      rules,
      shape,
      by: 'other',
    })),
    options,
  )
  const goals = speeds.flatMap(({ id, title, microseconds }) => {
    const most = IMPORTED_GOALS[id]
    return most === undefined ? [] : [atMost(`imported, ${title}`, microseconds, most * options.slack, 'us')]
  })
  return { title: `CPU per request, ${rules.size} imported rules at paranoia level 1`, speeds, goals }
}

function ownStalls(): Section {
  const all = recording(documents)
  const alone = new Map(all.map(document => [document.id, document]))
  const stalls = findStalls(
    {
      rules: ruleSetOf(all),
      baits: all.map(document => ({ bait: baitOf(document), tokens: tokensOfDocument(document) })),
      only: id => ruleSetOf([alone.get(id) ?? []].flat()),
    },
    options.fuzz,
    options.fuzz < 1_000,
  )
  return {
    title: `Inputs of 64 KB, ${all.length} shipped rules`,
    stalls,
    goals: stallGoals('shipped rules', stalls),
  }
}

function importedStalls(compiled: SecCompiled): Section {
  const rules = compiled.rules.filter(({ isLogged }) => isLogged)
  const stalls = findStalls(
    {
      rules: imported(compiled, 'detect'),
      baits: rules.map(rule => ({ bait: { ...ANY_BAIT, id: rule.id }, tokens: tokensOfRule(rule) })),
      only: id => importedOnly(compiled, id),
    },
    options.fuzz,
    options.fuzz < 1_000,
  )
  return {
    title: `Inputs of 64 KB, ${rules.length} imported rules`,
    stalls,
    goals: stallGoals('imported rules', stalls),
  }
}

function stallGoals(what: string, { worst, steep }: StallResult): readonly RuleGoal[] {
  return [
    atMost(`slowest input, ${what}`, worst[0]?.ms ?? NaN, MOST_STALL_MS * options.slack, 'ms'),
    {
      text: `no input is worse than linear, ${what}`,
      reached: `${steep.length} are`,
      // Four times as much in 16 times the time or more is quadratic; in short runs less than that may be noise.
      met: steep.every(({ ratio }) => ratio <= (options.slack === 1 ? MOST_RATIO : QUADRATIC_RATIO)),
    },
  ]
}

function report(): void {
  const goals = sections.flatMap(section => section.goals)
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}, Node ${process.version}`
  if (options.json) print(JSON.stringify({ machine, sections }))
  else {
    print(machine)
    for (const section of sections) print(`\n${textOf(section)}`)
    print(
      `\nGoals\n${align(goals.map(({ met, text, reached }) => [met ? 'met   ' : 'MISSED', text, reached]))}`,
    )
  }
  process.exit(options.strict && goals.some(({ met }) => !met) ? 1 : 0)
}

function textOf({ title, speeds, stalls }: Section): string {
  const parts = [title]
  if (speeds !== undefined) {
    const rows = speeds.map(speed => [
      `  ${speed.title}`,
      `${speed.microseconds.toFixed(0)} us`,
      `spread ${(100 * speed.spread).toFixed(0)} %`,
      `${speed.bytes} bytes`,
      `${speed.requests} requests`,
      `${speed.refused} refused`,
    ])
    parts.push(align(rows))
  }
  if (stalls !== undefined) {
    const { plain, fuzz, unasked, overBudget, totalMs, slow, worst, steep } = stalls
    parts.push(
      `  ${plain} plain and ${fuzz} fuzz inputs, ${unasked} of them refused before rules; ${overBudget} over the work budget`,
      `  ${(totalMs / (plain + fuzz - unasked)).toFixed(1)} ms on average, ${slow} over ${MOST_STALL_MS} ms; the slowest, with the rules that looked at most, each alone:`,
      align(
        [...worst, ...steep.filter(entry => !worst.includes(entry))].map(({ input, ms, ratio, rules }) => [
          `  ${input}`,
          `${ms.toFixed(1)} ms`,
          `${ratio.toFixed(1)} x of 16 KB`,
          rules.map(rule => `${rule.id} ${rule.ms.toFixed(1)}`).join(', '),
        ]),
      ),
    )
  }
  return parts.join('\n')
}
