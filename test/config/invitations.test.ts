// The section invitations: what it comes to, what is refused where, what a change is called, and what only deserves a warning.
import test, { type ExecutionContext } from 'ava'
import { diffSnapshots } from '../../src/config/diff.ts'
import { effectiveText } from '../../src/config/effective.ts'
import { GOOD_POLICY, load, policyDirectory } from './support.ts'

const USUAL = 'address: 0.0.0.0:51000-51099, targets: 10.20.0.0/16'

function loaded(t: ExecutionContext, section: string, more = '') {
  return load(policyDirectory(t, { 'portcullis.yaml': `${GOOD_POLICY}invitations: { ${section} }\n${more}` }))
}

function good(t: ExecutionContext, section: string, more = '') {
  const result = loaded(t, section, more)
  if (!result.ok) throw new Error(result.problems.map(entry => entry.message).join('\n'))
  return result
}

test('without the section there are no forwards; with it, its defaults are narrow', t => {
  const without = load(policyDirectory(t, { 'portcullis.yaml': GOOD_POLICY }))
  if (!without.ok) return t.fail()
  t.is(without.snapshot.invitations, null)
  const { snapshot, warnings } = good(t, `public: help.example.com, ${USUAL}`)
  t.deepEqual(warnings, [])
  t.like(snapshot.invitations, {
    publicHost: 'help.example.com',
    host: '0.0.0.0',
    ports: { first: 51_000, last: 51_099 },
    longestMs: 4 * 3_600_000,
    connections: 10,
    targetPorts: [
      { first: 3_389, last: 3_389 },
      { first: 49_152, last: 65_535 },
    ],
  })
  t.regex(effectiveText(snapshot), /Invitations[^]*targets +10\.20\.0\.0\/16[^]*longest +4h/)
  t.regex(diffSnapshots(without.snapshot, snapshot).join('\n'), /forwards for invitations/)
  const shorter = good(t, `public: help.example.com, ${USUAL}, longest: 1h`).snapshot
  t.regex(diffSnapshots(snapshot, shorter).join('\n'), /longest: 4h -> 1h/)
  return undefined
})

test('what would be a way past the policy, or take a port of something else, is refused at its place', t => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['address: 0.0.0.0:51000-51099', '', /targets/],
    ['address: 0.0.0.0:51000-51099, targets: 0.0.0.0/0', '', /0\.0\.0\.0\/0 is not private/],
    ['address: 0.0.0.0:51000-51099, targets: [10.0.0.0/8, 8.8.8.0/24]', '', /8\.8\.8\.0\/24 is not private/],
    ['address: 0.0.0.0:51000-51099, targets: 10.0.0.0/7', '', /10\.0\.0\.0\/7/],
    ['address: 0.0.0.0:51000-51099, targets: 127.0.0.0/8', '', /127\.0\.0\.0\/8 is not private/],
    ['address: 0.0.0.0:51000-51099, targets: 169.254.0.0/16', '', /169\.254\.0\.0\/16 is not private/],
    ['address: 0.0.0.0:51000-51099, targets: fe80::/10', '', /fe80::\/10 is not private/],
    ['address: 0.0.0.0, targets: 10.0.0.0/8', '', /has no ports/],
    ['address: 0.0.0.0:51000-51300, targets: 10.0.0.0/8', '', /301 ports are more than the 200/],
    ['address: 0.0.0.0:443, targets: 10.0.0.0/8', '', /among those of well-known services/],
    ['address: 0.0.0.0:8440-8449, targets: 10.0.0.0/8', '', /port 8443 is taken by listener https/],
    ['address: "[::]:9090-9091, targets: 10.0.0.0/8"', '', /not an address|targets/],
    ['address: "[::]:9090-9091", targets: 10.0.0.0/8', '', /port 9090 is taken by the admin address/],
    [
      USUAL,
      'streams: { s: { kind: tcp, address: "127.0.0.1:51005", upstream: "10.0.0.9:1" } }\n',
      /port 51005 is taken by stream s/,
    ],
    [
      USUAL,
      'heartbeats: { h: { address: "0.0.0.0:51006", upstream: "10.0.0.9:75" } }\n',
      /port 51006 is taken by heartbeats h/,
    ],
    [`${USUAL}, targetPorts: 0`, '', /./],
    [`${USUAL}, targetPorts: '3390-3389'`, '', /no port or range/],
    [`${USUAL}, longest: 2d`, '', /./],
    [`${USUAL}, connections: 0`, '', /./],
    [`public: 'help.example.com:51000', ${USUAL}`, '', /has a port/],
  ]
  for (const [section, more, says] of cases) {
    const result = loaded(t, section, more)
    const problems = result.ok ? [] : result.problems
    t.true(problems.length > 0, section)
    t.regex(problems.map(({ message }) => message).join('\n'), says, section)
    for (const { line } of problems) t.true(line >= 11, section)
  }
})

test('a class relay that nobody gets into, or targets that are every private address, are worth a warning', t => {
  const { warnings } = good(t, USUAL, 'classes: { relay: { access: closed } }\n')
  t.regex(warnings.map(({ message }) => message).join('\n'), /class relay is closed/)
  const wide = good(t, 'address: 0.0.0.0:51000-51099, targets: [10.20.0.0/16, 192.168.0.0/16]').warnings
  t.deepEqual(
    wide.map(({ message }) => message),
    ['192.168.0.0/16 is every private address of its kind'],
  )
})
