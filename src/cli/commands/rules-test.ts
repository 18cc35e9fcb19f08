// portcullis rules test: compiles a rule file and runs the tests in it, without a policy and without a gate.
import { resolve } from 'node:path'
import { loadRuleFile } from '../../config/load-rule-file.ts'
import { renderProblem } from '../../config/problems.ts'
import { usageError, type CommandArguments, type CommandContext } from '../command.ts'
import { counted } from '../format.ts'
import { shownDirectory } from '../gate-access.ts'

/** Runs it. Exit code 1: a rule is wrong or fails its tests. */
export function testRules(args: CommandArguments, context: CommandContext): number {
  const files = args.positionals.slice(1)
  if (files.length === 0) {
    throw usageError(
      'rules test needs a rule file',
      'For example: portcullis rules test policies/rules/generic.yaml',
    )
  }
  const { terminal, cwd } = context
  const results = files.map(file => {
    const path = resolve(cwd, file)
    const label = shownDirectory(path, cwd)
    return { file: label, ...loadRuleFile(path, label, context.nowMs()) }
  })
  const wrong = results.reduce((sum, result) => sum + result.problems.length, 0)
  if (args.flag('json')) {
    terminal.json(
      results.map(({ file, documents, problems, warnings }) => ({
        file,
        ok: problems.length === 0,
        rules: documents.map(({ id, tests }) => ({
          id,
          fires: tests.fires.length,
          quiet: tests.quiet.length,
        })),
        problems,
        warnings,
      })),
    )
    return wrong === 0 ? 0 : 1
  }
  for (const { file, documents, problems, warnings } of results) {
    terminal.print(terminal.tone('strong', file))
    const failed = new Set(problems.flatMap(problem => /^rule (\S+): /.exec(problem.message)?.[1] ?? []))
    terminal.print(
      terminal.table(
        documents.map(({ id, title, tests }) => [
          failed.has(id) ? terminal.tone('bad', '✗') : terminal.tone('good', '✓'),
          id,
          `${tests.fires.length} fire`,
          `${tests.quiet.length} quiet`,
          title,
        ]),
        '  ',
      ),
      '',
    )
    for (const problem of [...problems, ...warnings]) terminal.print(renderProblem(problem), '')
  }
  const rules = results.reduce((sum, result) => sum + result.documents.length, 0)
  terminal.print(
    wrong === 0
      ? terminal.tone(
          'good',
          `✓ ${counted(rules, 'rule')} recognised every request of fires and left every one of quiet alone.`,
        )
      : terminal.tone('bad', `✗ ${counted(wrong, 'problem')}; a rule that fails its tests does not go live.`),
  )
  return wrong === 0 ? 0 : 1
}
