// Reads the rule files, has the rules in use compiled and tested, and turns what is wrong with them into problems.
import type { RuleDocument, RuleProblem } from '../ips/rule-document.ts'
import type { RuleSet } from '../ips/rule-set.ts'
import { compileRules, DEFAULT_THRESHOLD } from '../ips/compile.ts'
import { joinRuleSets } from '../ips/seclang/rule-set.ts'
import type { Disk } from './compile.ts'
import { chooseRules, type RuleChoice } from './choose-rules.ts'
import type { Findings, Reporter } from './context.ts'
import { importedSet, loadImported } from './imported-rules.ts'
import { problemAt } from './problems.ts'
import type { WrittenPolicy } from './schema.ts'
import { readRuleFile } from './rule-files.ts'
import { testedRules } from './tested-rules.ts'

/** Loads the rules that the policy chose. */
export function loadRules(
  written: WrittenPolicy['rules'],
  disk: Disk,
  choice: RuleChoice,
  findings: Findings,
  report: Reporter,
): RuleSet {
  const documents: RuleDocument[] = []
  const lines = new Map<string, readonly string[]>()
  for (const name of disk.list('rules')) {
    const file = readRuleFile(disk, name, findings, choice.nowMs)
    if (file === null) continue
    lines.set(file.file, file.lines)
    const twice = documents.find(document => document.pack === file.pack)
    if (twice !== undefined) {
      findings.problems.push(
        problemAt(
          file.packAt,
          file.lines,
          `pack ${file.pack} is already in ${twice.at.file}`,
          'one pack is one file',
        ),
      )
    }
    for (const document of file.documents) {
      const other = documents.find(entry => entry.id === document.id)
      if (other === undefined) documents.push(document)
      else {
        findings.problems.push(
          problemAt(
            document.at,
            file.lines,
            `rule ${document.id} exists already: ${other.at.file}:${other.at.line}`,
            'ids are unique over all packs',
          ),
        )
      }
    }
  }
  const packs = new Set(documents.map(document => document.pack))
  for (const { pack, at } of written.packs === undefined ? choice.usualPacks : []) {
    if (!packs.has(pack)) {
      findings.problems.push(problemAt(at, [], `there is no rule pack ${JSON.stringify(pack)} in rules/`))
    }
  }
  const imports = loadImported(written.imported, disk, report)
  const {
    documents: chosen,
    builtIn,
    imported,
  } = chooseRules(
    written,
    documents,
    imports.flatMap(({ rules }) => rules),
    choice,
    report,
  )
  if (chosen.length === 0 && imports.length === 0) {
    report.warn(['rules'], 'no rule is in use: known attacks on RMM servers are let through')
  }
  const options = { threshold: written.threshold, builtIn, onDemand: choice.forReading }
  const { ruleSet, problems } = compileRules(chosen, options)
  // Tests belong to the rule files: they hold for the modes that those state, whatever the policy makes of them.
  const stated = new Map(documents.map(document => [document.id, document]))
  const asShipped = chosen.map(document => {
    const { mode, overrides } = stated.get(document.id) ?? document
    return { ...document, mode, overrides }
  })
  const isChanged =
    written.threshold !== DEFAULT_THRESHOLD ||
    chosen.some(({ id, mode, overrides }) => mode !== stated.get(id)?.mode || overrides.length > 0)
  const wrong: RuleProblem[] = []
  const importedSets = imports.map(entry => importedSet(entry, imported, wrong))
  const tested = (): readonly RuleProblem[] =>
    testedRules(isChanged ? compileRules(asShipped).ruleSet : ruleSet, asShipped, DEFAULT_THRESHOLD)
  const failed: readonly RuleProblem[] = [...problems, ...wrong, ...(choice.forReading ? [] : tested())]
  for (const problem of failed) {
    const at = problem.at
    findings.problems.push(
      problemAt(at, lines.get(at.file) ?? report.lines, `rule ${problem.ruleId}: ${problem.message}`),
    )
  }
  if (isChanged && !choice.forReading && failed.length === 0) {
    const [first, ...others] = testedRules(ruleSet, chosen, written.threshold)
    if (first !== undefined) {
      const more = others.length === 0 ? '' : ` (and ${others.length} more like it)`
      report.warn(
        ['rules', 'modes'],
        `enforced like this, rules refuse traffic that they know to be legitimate: ${first.message}${more}`,
        'let them detect, or add exceptions where such traffic is expected',
      )
    }
  }
  return joinRuleSets([ruleSet, ...importedSets])
}
