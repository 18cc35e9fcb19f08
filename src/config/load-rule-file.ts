// Loads one rule file by itself, wherever it is, and runs its tests: what an author of rules does all day.
import { compileRules } from '../ips/compile.ts'
import type { RuleDocument } from '../ips/rule-document.ts'
import { runRuleTests } from '../ips/rule-tests.ts'
import { ruleDocuments } from './compile-rules.ts'
import { reporter, type Findings } from './context.ts'
import { readWhole } from './files.ts'
import { problemAt, sortProblems, type Problem } from './problems.ts'
import { decodeText, MAX_FILE_BYTES, readYaml } from './read.ts'
import { ruleFile } from './schema-rules.ts'
import { validate } from './validate.ts'

/** What became of a rule file. */
export type RuleFileResult = {
  readonly documents: readonly RuleDocument[]
  /** Everything that is wrong: with the text, with patterns, with tests that failed. Empty: the file may go live. */
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
}

/**
 * Reads, validates, compiles and tests a rule file.
 * @param path absolute path
 * @param label how messages name the file
 */
export function loadRuleFile(path: string, label: string, nowMs: number): RuleFileResult {
  const findings: Findings = { problems: [], warnings: [] }
  const whole = { file: label, line: 0, column: 0 }
  const fail = (message: string, hint?: string): RuleFileResult => ({
    documents: [],
    problems: [problemAt(whole, [], message, hint ?? null)],
    warnings: [],
  })
  const read = readWhole(path, MAX_FILE_BYTES)
  if (!read.ok) return fail(read.problem, read.hint ?? undefined)
  const text = decodeText(read.bytes)
  if ('problem' in text) return fail(text.problem)
  const parsed = readYaml(label, text.text)
  if (!parsed.ok) return { documents: [], problems: sortProblems(parsed.problems), warnings: [] }
  const { source } = parsed
  const validated = validate(ruleFile, source)
  findings.problems.push(...validated.problems)
  if (validated.value === null) return { documents: [], ...sorted(findings) }
  const report = reporter(findings, source.lines, validated.at)
  const { pack, rules } = validated.value
  const documents = ruleDocuments({ pack, rules, report }, nowMs)
  const { ruleSet, problems } = compileRules(documents)
  for (const { ruleId, message, at } of [...problems, ...runRuleTests(ruleSet, documents)]) {
    findings.problems.push(problemAt(at, source.lines, `rule ${ruleId}: ${message}`))
  }
  return { documents, ...sorted(findings) }
}

function sorted({ problems, warnings }: Findings): Omit<RuleFileResult, 'documents'> {
  return { problems: sortProblems(problems), warnings: sortProblems(warnings) }
}
