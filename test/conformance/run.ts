// `npm run conformance -- --crs <dir>`: runs the official regression tests of the Core Rule Set and prints what passed per level.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compileForTests } from './crs-rules.ts'
import { EngineLevel, type Outcome } from './engine-level.ts'
import { readOfficialTests } from './official-tests.ts'
import { OVERRIDES } from './overrides.ts'
import { runSocketLevel } from './socket-level.ts'
import { printStalls } from './stalls.ts'
import { paranoiaOf, printTable } from './table.ts'

const { values } = parseArgs({
  options: {
    crs: { type: 'string' },
    level: { type: 'string', default: 'engine' },
    'no-libinjection': { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    stalls: { type: 'boolean', default: false },
  },
})
const folder = values.crs
if (
  folder === undefined ||
  !existsSync(join(folder, 'rules')) ||
  !['engine', 'socket'].includes(values.level)
) {
  process.stderr.write(
    'usage: npm run conformance -- --crs <checkout of the Core Rule Set> [--level engine|socket] [--no-libinjection] [--only <beginning of test names>] [--stalls]\n',
  )
  process.exit(2)
}

const compiled = compileForTests(folder, !values['no-libinjection'])
const print = (line: string): void => void process.stdout.write(`${line}\n`)
print(`${compiled.rules.length} rules compiled, ${compiled.unasked.length} listed and not asked`)
for (const problem of compiled.problems) {
  print(`${problem.level}: ${problem.at.file}:${problem.at.line}: ${problem.message}`)
}

if (values.stalls) {
  process.exitCode = printStalls(compiled, print) ? 0 : 1
} else {
  const tests = readOfficialTests(join(folder, 'tests/regression/tests')).filter(({ name }) =>
    name.startsWith(values.only),
  )
  const outcomes: readonly Outcome[] =
    values.level === 'socket' ? await runSocketLevel(folder, tests) : new EngineLevel(compiled).testAll(tests)
  const goal = values.level === 'socket' ? 0.985 : values['no-libinjection'] ? 0.99 : 0.995
  process.exitCode = printTable(outcomes, paranoiaOf(compiled), OVERRIDES, goal, print) ? 0 : 1
}
