// Path patterns: meaning by table, equivalence with a plain regular expression, and time that a path cannot blow up.
import test from 'ava'
import * as fc from 'fast-check'
import { matchesPath } from '../../src/policy/path-pattern.ts'

const table: [pattern: string, yes: string[], no: string[]][] = [
  ['/agent', ['/agent', '/agent/', '/agent/x/y'], ['/agents', '/agent.aspx', '/', '/x/agent']],
  ['/agent.aspx', ['/agent.aspx', '/agent.aspx/path-info'], ['/agentxaspx', '/agent.aspxx']],
  ['/api/', ['/api/', '/api/x'], ['/api', '/apis']],
  ['/', ['/', '/anything/below'], []],
  ['/login$', ['/login'], ['/login/', '/login/x', '/logins']],
  ['/$', ['/'], ['/x']],
  ['/a/*', ['/a/x', '/a/x/y', '/a/'], ['/a', '/b/x']],
  ['/a/*$', ['/a/x', '/a/'], ['/a/x/y', '/a']],
  ['/a/*/c', ['/a/b/c', '/a/b/c/d'], ['/a/b/x/c', '/a/c']],
  ['/a/*/', ['/a/b/', '/a/b/c'], ['/a/b']],
  ['/*.ashx', ['/agent.ashx', '/agent.ashx/x'], ['/x/agent.ashx', '/agent.ashxx']],
  ['/a/**/c', ['/a/c', '/a/b/c', '/a/b/d/c', '/a/b/c/d'], ['/a', '/a/bc', '/ac']],
  ['/a/**', ['/a/', '/a/b/c'], ['/a', '/b']],
  ['/a/**.zip$', ['/a/b/c.zip', '/a/.zip'], ['/a/b.zip/c', '/b.zip']],
  ['/**/control.ashx', ['/control.ashx', '/dept/control.ashx', '/x/y/control.ashx/z'], ['/xcontrol.ashx']],
]

for (const [pattern, yes, no] of table) {
  test(`pattern ${pattern}`, t => {
    for (const path of yes) t.true(matchesPath(pattern, path), path)
    for (const path of no) t.false(matchesPath(pattern, path), path)
  })
}

function oracle(pattern: string): RegExp {
  const exact = pattern.endsWith('$')
  const body = (exact ? pattern.slice(0, -1) : pattern)
    .replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll(/\/\*{2,}\//g, '\u0001')
    .replaceAll(/\*{2,}/g, '\u0002')
    .replaceAll('*', '[^/]*')
    .replaceAll('\u0001', '/(?:[^/]*/)*')
    .replaceAll('\u0002', '.*')
  return new RegExp(`^${body}${exact ? '' : pattern.endsWith('/') ? '.*' : '(?:/.*)?'}$`, 's')
}

test('patterns mean what the equivalent regular expression means', t => {
  const text = fc.string({ unit: fc.constantFrom('/', 'a', 'b', '.'), maxLength: 12 }).map(rest => `/${rest}`)
  const pattern = fc
    .array(fc.constantFrom('/', 'a', 'b', '*', '**', '/**/', '.'), { minLength: 1, maxLength: 6 })
    .map(parts => `/${parts.join('')}`.replaceAll(/\*{3,}/g, '**').replaceAll('/**/**/', '/**/'))
  fc.assert(
    fc.property(pattern, fc.boolean(), text, (body, exact, path) => {
      const whole = exact ? `${body}$` : body
      t.is(matchesPath(whole, path), oracle(whole).test(path), `${whole} on ${path}`)
    }),
    { numRuns: 5000 },
  )
})

test('a pattern with many stars ends on a path made to make it backtrack', t => {
  // A backtracking matcher would need more steps here than there are atoms.
  const pattern = `${'/**/a*'.repeat(20)}/end$`
  t.false(matchesPath(pattern, `${'/a/aa'.repeat(1500)}/x`))
  t.true(matchesPath(pattern, `${'/a'.repeat(1000)}/end`))
})
