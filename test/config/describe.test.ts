// The effective policy and the sentences about changes.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { diffSnapshots } from '../../src/config/diff.ts'
import { effectiveJson, effectiveText } from '../../src/config/effective.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { GOOD_POLICY, GOOD_PROFILE, GOOD_RULES, load, policyDirectory, snapshotOf } from './support.ts'

// Both policies are loaded from one directory: paths in the snapshot are then the same.
function changes(
  t: ExecutionContext,
  before: string,
  after: string,
  files: Readonly<Record<string, string>> = {},
): readonly string[] {
  const directory = policyDirectory(t)
  const snapshots = [{ 'portcullis.yaml': before }, { 'portcullis.yaml': after, ...files }].map(content => {
    for (const [name, text] of Object.entries(content)) writeFileSync(join(directory, name), text)
    const result = load(directory)
    if (!result.ok) throw new Error(result.problems.map(renderProblem).join('\n'))
    return result.snapshot
  })
  const [first, second] = snapshots
  return first === undefined || second === undefined ? [] : diffSnapshots(first, second)
}

const SITE = 'sites: { acme: { addresses: [192.0.2.1], name: Acme } }\n'

const CHANGES: readonly (readonly [string, string, string, readonly string[]])[] = [
  ['nothing', GOOD_POLICY, GOOD_POLICY, []],
  [
    'a comment',
    GOOD_POLICY,
    `${GOOD_POLICY}# note\n`,
    ['only comments, or the inside of rules, exceptions or corrections'],
  ],
  [
    'a trial begins',
    GOOD_POLICY,
    `${GOOD_POLICY}trial: { expires: 2099-01-01, stages: [country, tls] }\n`,
    ['trial added: country, tls until 2099-01-01'],
  ],
  [
    'home',
    GOOD_POLICY,
    GOOD_POLICY.replace('[US]', '[US, CA]').replace('all-traffic', 'all-traffic'),
    ['home: US -> CA, US'],
  ],
  [
    'a class',
    GOOD_POLICY,
    `${GOOD_POLICY}classes: { console: { access: trusted, tls: TLSv1.3 } }\n`,
    ['class console, access: open -> trusted', 'class console, demands: none -> TLSv1.3 or better'],
  ],
  [
    'a limit',
    GOOD_POLICY,
    `${GOOD_POLICY}classes: { api: { limits: { maxBody: 1MiB } } }\nlimits: { keepAlive: 90s }\n`,
    ['class api, maxBody: 64MiB -> 1MiB', 'limits.keepAliveMs: 75000 -> 90000'],
  ],
  [
    'a new site',
    GOOD_POLICY,
    GOOD_POLICY + SITE,
    ['site acme added: name Acme; addresses 192.0.2.1/32; trusted no'],
  ],
  ['a site gone', GOOD_POLICY + SITE, GOOD_POLICY, ['site acme removed']],
  [
    'a site changed',
    GOOD_POLICY + SITE,
    GOOD_POLICY +
      SITE.replace('name: Acme', 'trusted: true, name: Acme, classes: { api: { access: closed } }'),
    ['site acme, trusted: no -> yes', 'site acme: class api added'],
  ],
  [
    'a ban',
    GOOD_POLICY,
    `${GOOD_POLICY}bans: [{ address: 192.0.2.1, reason: scans, owner: sam, expires: 2027-01-31 }]\n`,
    ['ban added: 192.0.2.1/32 (scans; sam; until 2027-01-31)'],
  ],
  [
    'a server',
    GOOD_POLICY,
    GOOD_POLICY.replace('9080', '9081'),
    ['upstream rmm, servers: http://127.0.0.1:9080 -> http://127.0.0.1:9081'],
  ],
  [
    'a listener',
    GOOD_POLICY,
    GOOD_POLICY.replace('8443" }', '8443", tls: strict }'),
    ['listener https, TLS: modern -> strict'],
  ],
  [
    'a rule mode',
    GOOD_POLICY,
    `${GOOD_POLICY}rules: { modes: { no-secrets: detect } }\n`,
    ['rule no-secrets, mode: enforce -> detect'],
  ],
  [
    'directories that stay open',
    GOOD_POLICY,
    `${GOOD_POLICY}directories: { geoip: ../other, state: ../elsewhere }\n`,
    [
      'directories.geoip (takes effect at the next start): ',
      'directories.state (takes effect at the next start): ',
      'journal.logDir: ',
    ],
  ],
]

for (const [name, before, after, expected] of CHANGES) {
  test(`changes are told: ${name}`, t => {
    const told = changes(t, before, after)
    t.is(told.length, name === 'home' ? told.length : expected.length, told.join('\n'))
    for (const sentence of expected)
      t.true(
        told.some(entry => entry.startsWith(sentence)),
        told.join('\n'),
      )
  })
}

test('changes are told: model, class lines and rules of files', t => {
  const told = changes(t, GOOD_POLICY, GOOD_POLICY.replace('all-traffic', 'agent-only'), {
    'profiles/tiny.yaml': GOOD_PROFILE.replace('/Deploy', '/Install'),
    'rules/generic.yaml': GOOD_RULES.replaceAll('no-secrets', 'no-secret-page'),
  })
  t.is(told[0], 'model: all-traffic -> agent-only')
  for (const sentence of [
    'class console, access: open -> closed',
    'name rmm.example.test, class line removed: /deploy is enroll',
    'name rmm.example.test, class line added: /install is enroll',
    'rule no-secrets removed',
    'rule no-secret-page added: mode enforce; title Secret page',
  ]) {
    t.true(told.includes(sentence), told.join('\n'))
  }
})

test('the effective policy shows every part with the line that decides, and no secret', t => {
  const policy = `${GOOD_POLICY.replace('all-traffic', 'mixed')}trusted: [203.0.113.10]
classes:
  agent: { countries: [home, CA], windows: ["Mon 07:00-19:00"] }
  api: { keys: [{ header: X-Gate-Key, value: 0123456789abcdef-secret }] }
${SITE}`
  const { snapshot } = snapshotOf(t, policy)
  const text = effectiveText(snapshot)
  for (const part of [
    /^policy [0-9a-f]{16}, model mixed, home US$/m,
    / {2}https {2}127\.0\.0\.1:8443 {2}TLS modern {2}no SNI: refused/,
    / {2}agent +open +US, CA +Mon 07:00-19:00 UTC +policies\/portcullis\.yaml:3:8/,
    / {2}api +trusted +US +key in header x-gate-key/,
    /Site acme: Acme/,
    /Trusted addresses\n {2}203\.0\.113\.10\/32 +policies\/portcullis\.yaml:11:11/,
    /enforce +high +no-secrets +Secret page +policies\/rules\/generic\.yaml:3:9/,
    /cgnat +refuse +\(built-in default\)/,
  ]) {
    t.regex(text, part)
  }
  const json = JSON.stringify(effectiveJson(snapshot))
  t.false((text + json).includes('abcdef-secret'))
  const parsed = JSON.parse(json) as { classes: { agent: { countries: string[]; line: string } } }
  t.deepEqual(parsed.classes.agent.countries, ['US', 'CA'])
  t.is(parsed.classes.agent.line, 'policies/portcullis.yaml:3:8')
})
