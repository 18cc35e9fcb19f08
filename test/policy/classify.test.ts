// Classes cannot be changed by the way a path is written; and no verdict changes by being traced.
import test from 'ava'
import * as fc from 'fast-check'
import { CLASSES, type TrafficClass } from '../../src/policy/classes.ts'
import type { ClassPolicy } from '../../src/policy/snapshot.ts'
import type { AcceptVerdict } from '../../src/policy/standing.ts'
import type { Trace } from '../../src/policy/verdict.ts'
import { at, name, site, snapshot, source, stated } from '../support/snapshot.ts'
import { accept, classes, trie, type Scoped } from './policies.ts'
import { ask, outcome, requestFacts } from './request.ts'

test('trap 16: below the agent prefix the console keeps its own class, with path-info and in any case', t => {
  const policy = snapshot({ classes: classes({ console: { access: stated('closed') } }) })
  for (const target of [
    '/LabTech/ControlCenter.asmx',
    '/LABTECH/controlcenter.asmx/Login',
    '/labtech/%43ontrolCenter.asmx?x',
  ]) {
    t.is(outcome(ask(policy, requestFacts('POST', target))), 'class-closed', target)
  }
  t.is(outcome(ask(policy, requestFacts('GET', '/LabTech/Agent.aspx/x'))), 'agent')
})

const evasions = [
  '/automate/..%2flabtech/agent.aspx',
  '/automate/..%5clabtech/agent.aspx',
  '/%61utomate/..%2flabtech/agent.aspx',
  '/labtech%2fcontrolcenter.asmx%2f..%2fagent.aspx',
  '/automate/..;/labtech/agent.aspx',
  '/automate\\..\\labtech/agent.aspx',
  '/automate/%2e%2e/labtech/agent.aspx',
  '/automate/%252e%252e/labtech/agent.aspx',
  '/automate//../labtech/agent.aspx',
  '/automate/x/../../labtech/agent.aspx',
  '/labtech/controlcenter.asmx/..%2fagent.aspx',
  '/labtech/transfer/..%252fcontrolcenter.asmx',
  '/labtech/transfer/(S(x))/../../automate',
  '/agent/..;/automate',
  '/agent/%2e%2e%3b/automate',
  '//agent/automate',
  '/(S(x))/automate',
  '/auto(S(x))mate',
  '/automate.',
  '/automate%20/x',
  '/automate::$INDEX_ALLOCATION/x',
  '/agent%2f..%2fautomate',
  '/%EF%BC%8Fautomate',
  '/\u00ef\u00bc\u0081utomate/..%2fautomate',
  '/au%E1%B5%97omate',
  '/secret.aspx/..;/labtech/agent.aspx',
]

for (const target of evasions) {
  test(`a refused class cannot be reached as ${JSON.stringify(target)}`, t => {
    const shut = { access: stated('closed' as const) }
    const policy = snapshot({ classes: classes({ console: shut, other: shut }) })
    const verdict = ask(policy, requestFacts('GET', target))
    t.false(verdict.allow, outcome(verdict))
  })
}

test('odd but honest paths keep their class', t => {
  const shut = { access: stated('closed' as const) }
  const policy = snapshot({ classes: classes({ console: shut, other: shut }) })
  for (const target of [
    '//LabTech/Agent.aspx',
    '/LabTech//Agent.aspx',
    '/LabTech/Agent.aspx;jsessionid=1',
    '/LabTech/Transfer/a%20b%20(1).zip',
    '/LabTech/Transfer/M%C3%BCller%20%E4%B8%AD.zip',
    '/LabTech/Transfer/M%FCller.zip',
    '/LabTech/Transfer/a%2Fb.zip',
    '/LabTech/Transfer/50%25.txt',
    '/LabTech/Transfer/x;v=1/y.cab',
    '/LabTech/Transfer/a:b',
  ]) {
    t.true(ask(policy, requestFacts('GET', target)).allow, target)
  }
})

test('on a product that minds case, a path in another case cannot change its class', t => {
  const base = snapshot()
  const profile = { ...name().profile, caseSensitive: true }
  const policy = {
    ...base,
    names: [name({ profile })],
    classes: classes({ console: { access: stated('closed') } }),
  }
  t.is(outcome(ask(policy, requestFacts('GET', '/automate'))), 'class-closed')
  t.is(outcome(ask(policy, requestFacts('GET', '/Automate'))), 'target-invalid')
  t.is(outcome(ask(policy, requestFacts('GET', '/Elsewhere'))), 'other')
})

const anyTarget = fc.constantFrom(
  '/agent',
  '/automate',
  '/cwa/api/x',
  '/labtech/transfer/x',
  '/x',
  ...evasions,
)
const anyAddress = fc.constantFrom('198.51.100.1', '198.51.100.77', '10.0.0.1', '100.64.1.1', '2001:db8::1')
const anyScope = fc.option(fc.subarray([...CLASSES]), { nil: undefined })
const anyEntry = fc.record({
  range: fc.constantFrom('198.51.100.0/24', '198.51.100.1', '0.0.0.0/0', '2001:db8::/32'),
  classes: anyScope,
  expiresMs: fc.option(fc.constantFrom(50, 150), { nil: undefined }),
})
const anyClass: fc.Arbitrary<Partial<ClassPolicy>> = fc.record({
  access: fc.constantFrom('open', 'trusted', 'closed').map(value => stated(value as 'open')),
  countries: fc
    .constantFrom<'any' | Set<string>>('any', new Set(['US']), new Set(['DE']))
    .map(value => stated(value)),
  minimumTls: fc.constantFrom(null, stated('TLSv1.3' as const)),
  keys: fc.constantFrom([], [{ place: 'query' as const, name: 'k', sha256Hex: 'x', at: at(1) }]),
})

test('a verdict is the same with and without a trace, and a refusal is its last step', t => {
  fc.assert(
    fc.property(
      fc.record({
        allow: fc.array(anyEntry, { maxLength: 3 }),
        ban: fc.array(anyEntry, { maxLength: 3 }),
        temporaryAllow: fc.array(anyEntry, { maxLength: 2 }),
        temporaryBan: fc.array(anyEntry, { maxLength: 2 }),
        console: anyClass,
        agent: anyClass,
        inSite: fc.boolean(),
        country: fc.constantFrom(null, 'US', 'DE', 'CN'),
        address: anyAddress,
        target: anyTarget,
        tlsVersion: fc.constantFrom('TLSv1', 'TLSv1.2', 'TLSv1.3'),
        nowMs: fc.constantFrom(0, 100, 200),
      }),
      drawn => {
        const policy = snapshot({
          allow: trie(...drawn.allow.map(scoped)),
          ban: trie(...drawn.ban.map(scoped)),
          classes: classes({ console: drawn.console, agent: drawn.agent }),
          sites: drawn.inSite ? [site('s', ['198.51.100.0/24'])] : [],
        })
        const overlay = {
          allow: trie(...drawn.temporaryAllow.map(scoped)),
          ban: trie(...drawn.temporaryBan.map(scoped)),
        }
        const from = source(drawn.address, drawn.country)
        const trace: Trace = { steps: [] }
        const plain = accept(policy, from, { overlay, nowMs: drawn.nowMs })
        const traced = accept(policy, from, { overlay, nowMs: drawn.nowMs, trace })
        t.deepEqual(summary(traced), summary(plain))
        if (!traced.allow) t.like(trace.steps.at(-1), { outcome: 'refuse', line: traced.refusal.line })
        const facts = requestFacts('GET', drawn.target, { nowMs: drawn.nowMs })
        const asked = { overlay, from, tlsVersion: drawn.tlsVersion as 'TLSv1' }
        const requestTrace: Trace = { steps: [] }
        const first = ask(policy, facts, asked)
        const second = ask(policy, facts, { ...asked, trace: requestTrace })
        t.deepEqual(second, first)
        t.true(requestTrace.steps.length > 0)
        if (!second.allow) t.like(requestTrace.steps.at(-1), { outcome: 'refuse', line: second.refusal.line })
        t.is(requestTrace.steps.filter(step => step.outcome === 'refuse').length, second.allow ? 0 : 1)
      },
    ),
    { numRuns: 600 },
  )
})

function scoped(drawn: {
  range: string
  classes: TrafficClass[] | undefined
  expiresMs: number | undefined
}): Scoped {
  return {
    range: drawn.range,
    ...(drawn.classes === undefined ? {} : { classes: drawn.classes }),
    ...(drawn.expiresMs === undefined ? {} : { expiresMs: drawn.expiresMs }),
  }
}

function summary(verdict: AcceptVerdict): unknown {
  return verdict.allow ? 'allowed' : verdict.refusal
}
