// Every shipped rule recognises the attacks that it names and leaves real traffic alone.
import test from 'ava'
import { compileRules } from '../../src/ips/compile.ts'
import { runRuleTests } from '../../src/ips/rule-tests.ts'
import { shippedRules } from './read-rules.ts'

test('shipped rules compile and pass their own tests', t => {
  const documents = shippedRules()
  const { ruleSet, problems } = compileRules(documents)
  t.deepEqual(problems, [])
  const failures = runRuleTests(ruleSet, documents)
  t.deepEqual(
    failures.map(({ ruleId, message, at }) => `${at.file}:${at.line} ${ruleId} ${message}`),
    [],
  )
  t.true(ruleSet.size >= 40)
  for (const { id, refs } of ruleSet.rules) t.true(refs.length > 0, `${id} cites nothing`)
})
