// What the exception for a refusal says of itself: a path that a client has chosen must not make it look narrower than it is.
import test from 'ava'
import { narrowestException } from '../../src/diagnose/exception.ts'
import type { RuleInfo } from '../../src/ips/rule-set.ts'
import { at, noRules, snapshot } from '../support/snapshot.ts'

const RULE: RuleInfo = {
  id: 'windows-file',
  title: 'File of the Windows system asked for',
  severity: 'high',
  mode: 'enforce',
  pack: 'generic',
  tags: [],
  phase: 'head',
  action: 'block',
  overrides: [],
  rate: null,
  enforceAfterDays: null,
  digest: '',
  refs: [],
  exceptions: [],
  at: at(30),
}

test('an exception that cannot name the path says that it holds for any', t => {
  for (const [path, says, has] of [
    ['/automate', /windows-file \(.*\) does not act on this path from 8\.8\.4\.3/, true],
    ['/**', /does not act on any path from 8\.8\.4\.3/, false],
    ['/a"]\n    sources: [0.0.0.0/0', /does not act on any path from/, false],
  ] as const) {
    const result = narrowestException(
      snapshot({ rules: { ...noRules, rules: [RULE] } }),
      {
        address: '8.8.4.3',
        site: null,
        reason: 'rule',
        class: 'agent',
        path,
        offered: [],
        rules: [{ ruleId: 'windows-file', field: 'args.file', alsoIn: [] }],
      },
      { reason: 'x', owner: 'jo', expires: '2026-12-01', classes: null, evenVirtualPatch: false, nowMs: 0 },
    )
    if (!result.ok) return t.fail(result.problem)
    t.regex(result.opens, says)
    t.is(result.yaml.includes('paths:'), has)
    t.is(result.yaml.match(/sources:/g)?.length, 1)
  }
})
