// The rule sets that the benchmark asks: the shipped policy's, multiples of it, every shipped rule, and an imported one.
import { fileURLToPath } from 'node:url'
import { compileImport } from '../../src/config/imported-rules.ts'
import { readImportSource } from '../../src/config/import-source.ts'
import { loadPolicy } from '../../src/config/load.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { compileRules } from '../../src/ips/compile.ts'
import type { RuleCondition, RuleDocument } from '../../src/ips/rule-document.ts'
import type { RuleMode, RuleSet } from '../../src/ips/rule-set.ts'
import type { SecCompiled } from '../../src/ips/seclang/compile.ts'
import { importedRuleSet } from '../../src/ips/seclang/rule-set.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import { shippedRules } from '../../test/ips/read-rules.ts'

const POLICIES = fileURLToPath(new URL('../../policies', import.meta.url))

/** The policy as shipped. */
export function shippedPolicy(): Snapshot {
  const loaded = loadPolicy({ directory: POLICIES, nowMs: Date.now() })
  if (!loaded.ok) throw new Error(loaded.problems.map(renderProblem).join('\n'))
  return loaded.snapshot
}

/** Every shipped rule whose mode is not `off`. */
export function shippedDocuments(): readonly RuleDocument[] {
  return shippedRules().filter(({ mode }) => mode !== 'off')
}

/** A rule set of documents. Throws when one does not compile. */
export function ruleSetOf(documents: readonly RuleDocument[]): RuleSet {
  const { ruleSet, problems } = compileRules(documents)
  if (problems.length > 0)
    throw new Error(problems.map(({ ruleId, message }) => `${ruleId}: ${message}`).join('\n'))
  return ruleSet
}

/** The same rules, every one recording and none refusing: then no hit keeps later rules from being asked. */
export function recording(documents: readonly RuleDocument[]): readonly RuleDocument[] {
  return documents.map(document => ({ ...document, mode: 'detect', overrides: [] }))
}

/** So many rules: the documents first, then copies of them with other ids, literals, paths and patterns. */
export function multiplied(documents: readonly RuleDocument[], count: number): readonly RuleDocument[] {
  const all = documents.slice(0, count)
  for (let turn = 1; all.length < count; turn++) {
    for (const document of documents) {
      if (all.length >= count) break
      const copy: RuleDocument = {
        ...document,
        id: `${document.id}-${turn}`,
        when: changed(document.when, turn),
        except: [],
        tests: { fires: [], quiet: [] },
      }
      const fits = compileRules([copy]).problems.length === 0
      all.push(fits ? copy : { ...copy, when: document.when })
    }
  }
  return all
}

function changed(condition: RuleCondition, turn: number): RuleCondition {
  if ('all' in condition) return { all: condition.all.map(part => changed(part, turn)) }
  if ('any' in condition) return { any: condition.any.map(part => changed(part, turn)) }
  if ('not' in condition) return { not: changed(condition.not, turn) }
  const { has, equals, matches } = condition
  const isText = (text: string): boolean => !/^\d+$/.test(text)
  const word = (text: string): string =>
    isText(text) ? text.replace(/[a-z]{3,}/i, found => respelt(found, turn)) : text
  return {
    ...condition,
    ...(has === undefined ? {} : { has: has.map(word) }),
    ...(equals === undefined ? {} : { equals: equals.map(word) }),
    ...(matches === undefined ? {} : { matches: matches.map(pattern => respeltPattern(pattern, turn)) }),
  }
}

// Letters of a word, neither in brackets nor in an escape, a group name or a flag.
const PATTERN_WORD = /(?<![\\\w?<{[:-])[a-z]{3,}(?![^[]*\])/gi

function respeltPattern(pattern: string, turn: number): string {
  return pattern.replaceAll(PATTERN_WORD, found => respelt(found, turn))
}

/** Another word of the same length: each turn changes two letters. */
function respelt(word: string, turn: number): string {
  const letter = (char: string, by: number): string => {
    const code = char.toLowerCase().charCodeAt(0)
    return String.fromCharCode(97 + ((code - 97 + by) % 26))
  }
  const middle = word.length >> 1
  const first = letter(word[middle - 1] ?? 'a', turn % 26)
  const second = letter(word[middle] ?? 'a', 1 + ((turn * 7) % 25))
  return word.slice(0, middle - 1) + first + second + word.slice(middle + 1)
}

/** Compiles a rule set in SecLang at paranoia level 1. Throws when it cannot be read. */
export function importedRules(path: string): SecCompiled {
  const source = readImportSource(path)
  if (typeof source === 'string') throw new Error(`${path}: ${source}`)
  const files = new Map(
    [...source.files].map(([name, bytes]) => [name, Buffer.from(bytes).toString('latin1')]),
  )
  return compileImport('crs', files, { paranoia: 1, threshold: 5 })
}

/** An imported rule set in use. */
export function imported(compiled: SecCompiled, mode: RuleMode): RuleSet {
  return importedRuleSet(compiled, { mode, without: [] })
}

/** The same with one rule only, and what has no pattern: settings and markers. */
export function importedOnly(compiled: SecCompiled, id: string): RuleSet {
  const steps = compiled.steps.filter(step => !('marker' in step) && step.id === id)
  return importedRuleSet({ ...compiled, steps }, { mode: 'detect', without: [] })
}
