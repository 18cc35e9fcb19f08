// What policies come to: models, classes, sites, countries, limits and the warnings about them.
import test from 'ava'
import { parseAddress } from '../../src/net/address.ts'
import { CLASSES, type TrafficClass } from '../../src/policy/classes.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import { formatSourceLine } from '../../src/policy/source-line.ts'
import { GOOD_POLICY, GOOD_PROFILE, GOOD_RULES, load, policyDirectory, snapshotOf } from './support.ts'

const policy = (model: string, more = ''): string => GOOD_POLICY.replace('all-traffic', model) + more

function accesses(classes: Snapshot['classes']): Record<string, string> {
  return Object.fromEntries([...classes].map(([name, entry]) => [name, entry.access.value]))
}

function countriesOf(snapshot: Snapshot, trafficClass: TrafficClass): unknown {
  const countries = snapshot.classes.get(trafficClass)?.countries.value
  return countries === 'any' ? 'any' : [...(countries ?? [])].sort()
}

const AGENTS = { agent: 'open', update: 'open', transfer: 'open', heartbeat: 'open', relay: 'open' }

test('each model opens what its line says, and every class has a policy', t => {
  const all = accesses(snapshotOf(t, policy('all-traffic')).snapshot.classes)
  t.deepEqual(Object.keys(all), [...CLASSES])
  t.true(Object.values(all).every(access => access === 'open'))
  const rest = (access: string): Record<string, string> => ({
    enroll: access,
    console: access,
    api: access,
    other: access,
  })
  t.deepEqual(accesses(snapshotOf(t, policy('agent-only')).snapshot.classes), {
    ...AGENTS,
    ...rest('closed'),
  })
  t.deepEqual(accesses(snapshotOf(t, policy('mixed')).snapshot.classes), { ...AGENTS, ...rest('trusted') })
})

test('a class overrides one part of the model and keeps the others', t => {
  const { snapshot } = snapshotOf(
    t,
    policy('agent-only', 'classes:\n  enroll: { access: open }\n  agent: { countries: [home, CA] }\n'),
  )
  t.is(snapshot.classes.get('enroll')?.access.value, 'open')
  t.deepEqual(countriesOf(snapshot, 'enroll'), ['US'])
  t.is(snapshot.classes.get('agent')?.access.value, 'open')
  t.deepEqual(countriesOf(snapshot, 'agent'), ['CA', 'US'])
  const at = snapshot.classes.get('enroll')?.access.at
  t.is(at === undefined ? '' : formatSourceLine(at), 'policies/portcullis.yaml:12:21')
  const model = snapshot.classes.get('console')?.access.at
  t.is(model === undefined ? '' : formatSourceLine(model), 'policies/portcullis.yaml:3:8')
})

test('admittedSomewhere is the union of what classes and class settings of sites admit, closed classes left out', t => {
  const admitted = (more: string, model = 'all-traffic'): unknown => {
    const { admittedSomewhere } = snapshotOf(t, policy(model, more)).snapshot.geo
    return admittedSomewhere === 'any' ? 'any' : [...admittedSomewhere].sort()
  }
  t.deepEqual(admitted(''), ['US'])
  t.deepEqual(admitted('classes: { agent: { countries: [home, CA] } }\n'), ['CA', 'US'])
  t.deepEqual(admitted('classes: { console: { countries: [CA], access: closed } }\n'), ['US'])
  t.deepEqual(admitted('classes: { console: { countries: [CA] } }\n', 'agent-only'), ['US'])
  t.is(admitted('classes: { agent: { countries: any } }\n'), 'any')
  const site = 'sites: { acme: { addresses: [192.0.2.1], classes: { agent: { countries: [NO] } } } }\n'
  t.deepEqual(admitted(site), ['NO', 'US'])
  // Countries of the site itself are asked of the site, so they open nothing to anybody else.
  t.deepEqual(admitted('sites: { acme: { addresses: [192.0.2.1], countries: [NO] } }\n'), ['US'])
})

test('a site has its own model and classes; what it does not say stays general', t => {
  const { snapshot } = snapshotOf(
    t,
    policy(
      'mixed',
      `trusted: [203.0.113.1]
classes: { api: { tls: TLSv1.3 } }
sites:
  acme:
    addresses: [198.51.100.0/24, "2001:db8::/48"]
    model: agent-only
    classes: { enroll: { access: open, countries: [home, MX] } }
  borealis: { addresses: [198.51.100.7], name: Borealis, trusted: true, connectionsPerSource: 500 }
`,
    ),
  )
  const match = (text: string): string | undefined => {
    const address = parseAddress(text)
    return address === undefined ? undefined : snapshot.siteByAddress.match(address)?.id
  }
  t.is(match('198.51.100.6'), 'acme')
  t.is(match('198.51.100.7'), 'borealis')
  t.is(match('2001:db8:0:1::1'), 'acme')
  t.is(match('192.0.2.1'), undefined)
  const [acme, borealis] = snapshot.sites
  t.deepEqual(accesses(acme?.classes ?? new Map()), {
    ...AGENTS,
    enroll: 'open',
    console: 'closed',
    api: 'closed',
    other: 'closed',
  })
  t.is(acme?.classes.get('api')?.minimumTls?.value, 'TLSv1.3')
  t.is(borealis?.classes.size, 0)
  t.is(borealis?.name, 'Borealis')
  t.is(acme?.name, 'acme')
})

test('trap 24: NO is Norway, quoted or not', t => {
  const { snapshot } = snapshotOf(t, GOOD_POLICY.replace('[US]', '[US, NO, "NO"]'))
  t.deepEqual([...snapshot.home.value], ['US', 'NO'])
})

test('windows are minutes of the week, one per day, past midnight and past Sunday', t => {
  const { snapshot } = snapshotOf(
    t,
    policy(
      'all-traffic',
      'classes: { console: { windows: ["Mon-Tue 07:00-19:30", "Sun 22:00-06:00", "Sat 00:00-24:00"] } }\n',
    ),
  )
  const windows = snapshot.classes
    .get('console')
    ?.windows.map(({ fromMinute, toMinute }) => [fromMinute, toMinute])
  t.deepEqual(windows, [
    [420, 1_170],
    [1_860, 2_610],
    [9_960, 360],
    [7_200, 8_640],
  ])
})

test('keys are kept as digests, and a plain one is warned about without being shown', t => {
  const secret = 'correct-horse-battery'
  const { snapshot, warnings } = snapshotOf(
    t,
    policy('all-traffic', `classes: { api: { keys: { header: X-Gate-Key, value: ${secret} } } }\n`),
  )
  const [key] = snapshot.classes.get('api')?.keys ?? []
  t.is(key?.name, 'x-gate-key')
  t.is(key?.sha256Hex, '62249369389075490555a758353aec61500c6218fa597252d52dc4bd0148f12d')
  t.true(warnings.some(warning => warning.includes('plain text')))
  t.false(JSON.stringify([warnings, [...snapshot.classes]]).includes(secret))
})

test('limits: built-in, then profile, then policy, then site; several profiles give the widest', t => {
  const { snapshot } = snapshotOf(
    t,
    policy(
      'all-traffic',
      `classes: { console: { limits: { bodyIdle: 9s } } }
sites: { acme: { addresses: [192.0.2.1], classes: { console: { limits: { maxBody: 1MiB, methods: GET } } } } }
`,
    ).replace(
      '{ upstream: rmm }',
      '{ upstream: rmm }\n  other.example.test: { upstream: rmm, profile: wide }',
    ),
    {
      'profiles/tiny.yaml': `${GOOD_PROFILE}limits: { console: { response: 2h, maxResponse: 1GiB } }\n`,
      'profiles/wide.yaml': `${GOOD_PROFILE}limits: { console: { response: 3h, maxBody: none } }\n`,
    },
  )
  const general = snapshot.classes.get('console')?.limits
  t.is(general?.bodyIdleMs, 9_000)
  t.is(general?.responseMs, 10_800_000)
  t.is(general?.maxBodyBytes, Number.MAX_SAFE_INTEGER)
  t.is(general?.maxResponseBytes, 0)
  const site = snapshot.sites[0]?.classes.get('console')?.limits
  t.is(site?.maxBodyBytes, 1_048_576)
  t.is(site?.bodyIdleMs, 9_000)
  t.deepEqual([...(site?.methods ?? [])], ['GET'])
})

test('routes of the policy come before the lines of every profile', t => {
  const { snapshot } = snapshotOf(
    t,
    policy('all-traffic', 'routes: [{ class: other, path: [/Agent/Old, /Two] }]\n'),
  )
  const lines = snapshot.names[0]?.profile.rules.map(rule => `${rule.class} ${rule.pattern}`)
  t.deepEqual(lines, [
    'other /agent/old',
    'other /two',
    'console /agent/console.asmx',
    'agent /agent',
    'enroll /deploy',
  ])
})

test('trap 20: names that carry agents are reset when their upstream is down, others answer 503', t => {
  const whenDown = (text: string): string | undefined => snapshotOf(t, text).snapshot.names[0]?.whenDown
  t.is(whenDown(policy('all-traffic')), 'reset')
  t.is(whenDown(policy('all-traffic', 'classes: { agent: { access: closed } }\n')), 'unavailable')
  t.is(
    whenDown(policy('all-traffic').replace('upstream: rmm }', 'upstream: rmm, whenDown: unavailable }')),
    'unavailable',
  )
})

test('upstreams: ports, server names and probes have their usual values', t => {
  const { snapshot } = snapshotOf(
    t,
    GOOD_POLICY.replace(
      /\{ primary.*/,
      '{ primary: "https://[2001:db8::5]", secondary: "http://10.0.0.6", health: { interval: 2s }, tls: { serverName: a.test } }',
    ),
  )
  const group = snapshot.upstreams.get('rmm')
  t.deepEqual(
    group?.members.map(member => [member.id, member.origin, member.tls?.serverName]),
    [
      ['rmm/primary', { protocol: 'https', host: '2001:db8::5', port: 443 }, 'a.test'],
      ['rmm/secondary', { protocol: 'http', host: '10.0.0.6', port: 80 }, undefined],
    ],
  )
  t.is(group?.health.path, '/Agent/Health')
  t.is(group?.health.intervalMs, 2_000)
  t.is(group?.returnAfterMs, 60_000)
})

test('rules: modes of the policy replace those of packs, which replace the rule’s own', t => {
  const mode = (text: string): string | undefined =>
    snapshotOf(t, GOOD_POLICY + text).snapshot.rules.rules[0]?.mode
  t.is(mode(''), 'enforce')
  t.is(mode('rules: { modes: { generic: detect } }\n'), 'detect')
  t.is(mode('rules: { modes: { generic: detect, no-secrets: enforce } }\n'), 'enforce')
})

const WARNINGS: readonly (readonly [string, string, RegExp])[] = [
  ['agent-only closes deployments', policy('agent-only'), /closes class enroll/],
  ['mixed without trusted addresses', policy('mixed'), /nobody can use enroll, console, api, other/],
  [
    'agents closed',
    policy('all-traffic', 'classes: { agent: { access: closed } }\n'),
    /agents that use class agent are lost/,
  ],
  [
    'agents at office hours',
    policy('all-traffic', 'classes: { agent: { windows: ["Mon-Fri 07:00-19:00"] } }\n'),
    /outside of these hours/,
  ],
  [
    'agents with a key',
    policy('all-traffic', `classes: { agent: { keys: { header: X, sha256: ${'a'.repeat(64)} } } }\n`),
    /cannot be told to send a key/,
  ],
  [
    'home left out',
    policy('all-traffic', 'classes: { agent: { countries: [CA] } }\n'),
    /not open to the home country US/,
  ],
  [
    'short WebSocket silence',
    policy('all-traffic', 'classes: { agent: { limits: { webSocketIdle: 15s } } }\n'),
    /silent for minutes/,
  ],
  [
    'a trial says what it exposes',
    policy('mixed', 'trial: { expires: 2099-01-01, stages: [country, access] }\n'),
    /the trial lets pass what stands to be refused: every country; .*console, api, .* from everywhere/,
  ],
  [
    'a trial of TLS',
    policy('all-traffic', 'trial: [{ expires: 2099-01-01, stages: tls }]\n'),
    /TLS 1\.0 and 1\.1 with weak ciphers/,
  ],
  [
    'a trial without an end in sight',
    policy('all-traffic', 'trial: { expires: 2099-01-01 }\n'),
    /so long it is no trial/,
  ],
  [
    'a trial that is over',
    policy('all-traffic', 'trial: { expires: 2001-01-01 }\n'),
    /the trial ended on 2001-01-01 and has no effect any more/,
  ],
  [
    'allow without an end',
    policy('all-traffic', 'allow: [{ address: 192.0.2.1, reason: x, owner: y }]\n'),
    /has no end/,
  ],
  [
    'expired ban',
    policy('all-traffic', 'bans: [{ address: 192.0.2.1, reason: x, owner: y, expires: 2026-11-20 }]\n'),
    /ended on 2026-11-20/,
  ],
  [
    'exception that ends soon',
    policy(
      'all-traffic',
      'sites: { a: { addresses: [192.0.2.1], tlsException: { minimum: TLSv1, reason: x, owner: y, expires: 2026-12-01 } } }\n',
    ),
    /ends on 2026-12-01/,
  ],
  [
    'exception without effect',
    policy(
      'all-traffic',
      'sites: { a: { addresses: [192.0.2.1], tlsException: { minimum: TLSv1.2, reason: x, owner: y, expires: 2027-12-01 } } }\n',
    ),
    /changes nothing/,
  ],
  [
    'exception against a class',
    policy(
      'all-traffic',
      'classes: { agent: { tls: TLSv1.2 } }\nsites: { a: { addresses: [192.0.2.1], tlsException: { minimum: TLSv1, reason: x, owner: y, expires: 2027-12-01 } } }\n',
    ),
    /class agent demands TLSv1\.2/,
  ],
  [
    'ban over a site',
    policy(
      'all-traffic',
      'bans: [{ address: 192.0.2.0/24, reason: x, owner: y }]\nsites: { a: { addresses: [192.0.2.1] } }\n',
    ),
    /covers addresses of site a/,
  ],
  [
    'ban over a trusted address',
    policy('all-traffic', 'bans: [{ address: 192.0.2.1, reason: x, owner: y }]\ntrusted: [192.0.2.0/24]\n'),
    /covers a trusted address/,
  ],
  [
    'no certificate',
    GOOD_POLICY.replace('rmm.example.test', 'rmm.example.com'),
    /no certificate in the certs directory is for rmm\.example\.com/,
  ],
  ['plain HTTP to another machine', GOOD_POLICY.replace('127.0.0.1:9080', '10.0.0.5:80'), /not encrypted/],
  [
    'admin reachable',
    policy('all-traffic', 'admin: { address: "0.0.0.0:9090" }\n'),
    /neither TLS nor password/,
  ],
  [
    'dashboard reachable',
    policy('all-traffic', 'dashboard: { address: "192.168.7.5:9443" }\n'),
    /other machines can reach the login of the dashboard/,
  ],
  ['unknown addresses admitted', policy('all-traffic', 'geo: { unknown: allow }\n'), /count as home/],
  [
    'strict listener',
    GOOD_POLICY.replace('8443" }', '8443", tls: strict }'),
    /every client without TLS 1\.3/,
  ],
  [
    'agents told 503',
    GOOD_POLICY.replace('upstream: rmm }', 'upstream: rmm, whenDown: unavailable }'),
    /do not try their secondary/,
  ],
  [
    'unused upstream',
    GOOD_POLICY + '  spare: { primary: "http://127.0.0.1:9081" }\n',
    /no name uses upstream spare/,
  ],
  ['short keep-alive', policy('all-traffic', 'limits: { keepAlive: 5s }\n'), /every 30 s/],
]

for (const [name, text, says] of WARNINGS) {
  test(`warned: ${name}`, t => {
    const { warnings } = snapshotOf(t, text)
    t.true(
      warnings.some(warning => says.test(warning)),
      warnings.join('\n') || 'no warning',
    )
  })
}

test('the good policy gives no warning', t => {
  t.deepEqual(snapshotOf(t, GOOD_POLICY).warnings, [])
})

test('a line of a profile that can never decide is warned about', t => {
  const { warnings } = snapshotOf(t, GOOD_POLICY, {
    'profiles/tiny.yaml': GOOD_PROFILE.replace(
      '{ class: enroll, path: /Deploy }',
      '{ class: enroll, path: /agent/deploy }',
    ),
  })
  t.true(warnings.some(warning => warning.includes('this line never decides: line 6')))
})

test('equal files give equal ids, a changed file another', t => {
  const id = (text: string): string | undefined => {
    const result = load(policyDirectory(t, { 'portcullis.yaml': text }))
    return result.ok ? result.snapshot.id : undefined
  }
  t.is(id(GOOD_POLICY), id(GOOD_POLICY))
  t.not(id(GOOD_POLICY), id(`${GOOD_POLICY}# a note\n`))
})

test('a file that breaks off in a line is taken with a warning', t => {
  const { warnings } = snapshotOf(t, GOOD_POLICY.trimEnd())
  t.deepEqual(warnings, ['the last line does not end: is the file complete?'])
})

test('a byte order mark and Windows line ends are taken as they are', t => {
  const { snapshot } = snapshotOf(t, `\uFEFF${GOOD_POLICY.replaceAll('\n', '\r\n')}`)
  t.is(snapshot.home.at.line, 2)
  t.is(snapshot.home.at.column, 7)
})

test('a rule that the policy enforces although its file lets it detect is a warning when it hits legitimate traffic, not a refused policy', t => {
  const eager = `  - id: eager
    title: Suspicious word
    severity: low
    mode: detect
    when: { in: path, matches: '^/public' }
    tests: { fires: [GET /public], quiet: [GET /other] }
`
  const files = { 'rules/generic.yaml': GOOD_RULES + eager }
  t.deepEqual(snapshotOf(t, GOOD_POLICY, files).warnings, [])
  const strict = snapshotOf(t, `${GOOD_POLICY}rules: { modes: { generic: enforce } }\n`, files)
  t.is(strict.snapshot.rules.rules.find(rule => rule.id === 'eager')?.mode, 'enforce')
  t.regex(strict.warnings.join(), /eager fires on GET \/public/)
  const enforcing = { 'rules/generic.yaml': GOOD_RULES + eager.replace('mode: detect', 'mode: enforce') }
  t.false(load(policyDirectory(t, enforcing)).ok, 'the file itself must not contradict its tests')
})
