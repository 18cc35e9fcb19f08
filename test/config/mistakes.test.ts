// More than sixty kinds of bad configuration: each is refused at the right place, in words that help.
import test from 'ava'
import { formatSourceLine } from '../../src/policy/source-line.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { GOOD_POLICY, GOOD_PROFILE, GOOD_RULES, load, policyDirectory } from './support.ts'
import { CLASSES_MISTAKES } from './mistakes/classes.ts'
import { EDGE_MISTAKES } from './mistakes/edge.ts'
import { SOURCES_MISTAKES } from './mistakes/sources.ts'
import { TEXT_MISTAKES } from './mistakes/text.ts'

const MISTAKES = [...TEXT_MISTAKES, ...SOURCES_MISTAKES, ...CLASSES_MISTAKES, ...EDGE_MISTAKES]

for (const { name, add = '', replace, policy, profile, rules, at, says, hint } of MISTAKES) {
  test(`refused: ${name}`, t => {
    const text = policy ?? (replace === undefined ? GOOD_POLICY + add : GOOD_POLICY.replace(...replace))
    if (profile === undefined && rules === undefined) t.not(text, GOOD_POLICY)
    const directory = policyDirectory(t, {
      'portcullis.yaml': text,
      ...(profile === undefined ? {} : { 'profiles/tiny.yaml': GOOD_PROFILE.replace(...profile) }),
      ...(rules === undefined ? {} : { 'rules/generic.yaml': GOOD_RULES.replace(...rules) }),
    })
    const result = load(directory)
    if (result.ok) {
      t.fail('the policy was accepted')
      return
    }
    const file =
      profile !== undefined
        ? 'policies/profiles/tiny.yaml'
        : rules !== undefined
          ? 'policies/rules/generic.yaml'
          : 'policies/portcullis.yaml'
    const wanted = at === '' ? file : `${file}:${at}`
    const shown = result.problems.map(renderProblem).join('\n')
    const found = result.problems.filter(problem => formatSourceLine(problem) === wanted)
    const match = found.find(problem => says.test(problem.message))
    t.truthy(match, `wanted ${wanted} ${String(says)}, got:\n${shown}`)
    if (hint !== undefined) t.regex(found.map(problem => problem.hint ?? '').join(' '), hint, shown)
  })
}

test('the good policy, which the mistakes start from, is accepted', t => {
  const result = load(policyDirectory(t))
  t.true(result.ok, result.ok ? '' : result.problems.map(renderProblem).join('\n'))
  t.true(MISTAKES.length >= 60)
})
