// The heartbeats of a policy: what they compile to, what is wrong with them, what is warned about, and what a change is called.
import test from 'ava'
import { diffSnapshots } from '../../src/config/diff.ts'
import { effectiveJson } from '../../src/config/effective.ts'
import { GOOD_POLICY, GOOD_PROFILE, load, policyDirectory, snapshotOf } from './support.ts'

const policy = (heartbeats: string, more = ''): string => `${GOOD_POLICY}heartbeats: ${heartbeats}\n${more}`
const AUTOMATE = '{ automate: { address: "0.0.0.0:75", upstream: "10.0.0.5:75" } }'

test('a listener has an address, a server, and limits that suit a fleet', t => {
  const { snapshot, warnings } = snapshotOf(t, policy(AUTOMATE))
  t.deepEqual(warnings, [])
  t.like(snapshot.heartbeats, [
    {
      id: 'automate',
      endpoints: [{ host: '0.0.0.0', port: 75 }],
      upstream: { host: '10.0.0.5', port: 75 },
      idleMs: 150_000,
      datagramBytes: 1_472,
      flows: 10_000,
      flowsPerSource: 2_000,
      newFlows: 1_000,
      newFlowsPerSource: 100,
      expectedEveryMs: null,
      replyRatio: 3,
      expectsReplies: true,
    },
  ])
  t.like(effectiveJson(snapshot)['heartbeats'], [{ upstream: '10.0.0.5:75', replies: 'expected' }])
  t.deepEqual(snapshotOf(t, GOOD_POLICY).snapshot.heartbeats, [])
})

test('how often agents send comes from the profile, unless the listener says it', t => {
  const everyOf = (heartbeats: string, profile: string): number | null | undefined => {
    const files = { 'portcullis.yaml': policy(heartbeats), 'profiles/tiny.yaml': profile }
    const result = load(policyDirectory(t, files))
    return result.ok ? result.snapshot.heartbeats[0]?.expectedEveryMs : undefined
  }
  const stated = `${GOOD_PROFILE}heartbeat: { expectedEvery: 5s }\n`
  t.is(everyOf(AUTOMATE, GOOD_PROFILE), null)
  t.is(everyOf(AUTOMATE, stated), 5_000)
  t.is(everyOf(AUTOMATE.replace(' } }', ', expectedEvery: 1m } }'), stated), 60_000)
})

const WRONG: readonly (readonly [string, string, RegExp])[] = [
  ['the server is the gate', '{ a: { address: "0.0.0.0:75", upstream: "127.0.0.1:75" } }', /in a circle/],
  [
    'the server is another listener of the gate',
    '{ a: { address: "10.0.0.1:75", upstream: "10.0.0.1:76" }, b: { address: "10.0.0.1:76", upstream: "10.0.0.5:75" } }',
    /heartbeats b of this gate/,
  ],
  [
    'two want one port',
    '{ a: { address: "0.0.0.0:75", upstream: "10.0.0.5:75" }, b: { address: "10.0.0.1:75", upstream: "10.0.0.5:75" } }',
    /UDP 10\.0\.0\.1:75 is taken by heartbeats a/,
  ],
  ['every address is no server', '{ a: { address: "0.0.0.0:75", upstream: "0.0.0.0:76" } }', /no address of/],
  ['no port of a server', '{ a: { address: "0.0.0.0:75", upstream: "10.0.0.5:0" } }', /no address of/],
  ['the id of a TLS listener', '{ https: { address: "0.0.0.0:75", upstream: "10.0.0.5:75" } }', /already/],
  ['a misspelt key', '{ a: { address: "0.0.0.0:75", upstream: "10.0.0.5:75", idel: 2m } }', /idel/],
  ['a name for a server', '{ a: { address: "0.0.0.0:75", upstream: "rmm.example.com:75" } }', /address/],
  [
    'an absurd size',
    '{ a: { address: "0.0.0.0:75", upstream: "10.0.0.5:75", datagramSize: 1MiB } }',
    /datagramSize|65507|63.*KiB|at most/i,
  ],
]

for (const [name, heartbeats, says] of WRONG) {
  test(`refused: ${name}`, t => {
    const result = load(policyDirectory(t, { 'portcullis.yaml': policy(heartbeats) }))
    t.false(result.ok)
    const texts = result.ok ? [] : result.problems.map(problem => problem.message)
    t.true(
      texts.some(text => says.test(text)),
      texts.join('\n'),
    )
  })
}

test('a TLS port and a UDP port of the same number do not collide, and neither do both families', t => {
  const both = '{ a: { address: ["0.0.0.0:8443", "[::]:8443"], upstream: "10.0.0.5:75" } }'
  t.is(snapshotOf(t, policy(both)).snapshot.heartbeats[0]?.endpoints.length, 2)
})

const WARNED: readonly (readonly [string, string, string, RegExp])[] = [
  [
    'a key that no datagram carries',
    AUTOMATE,
    'classes: { heartbeat: { keys: [{ header: x, sha256: "' + 'ab'.repeat(32) + '" }] } }\n',
    /carry none/,
  ],
  ['a closed class', AUTOMATE, 'classes: { heartbeat: { access: closed } }\n', /every datagram is refused/],
  ['a TLS version', AUTOMATE, 'classes: { heartbeat: { tls: TLSv1.3 } }\n', /not encrypted/],
  ['a short idle time', AUTOMATE.replace(' } }', ', idle: 30s } }'), '', /two minutes after/],
  ['one address for all new flows', AUTOMATE.replace(' } }', ', newFlows: 50 } }'), '', /all 50 new flows/],
  [
    'forgotten before gone',
    AUTOMATE.replace(' } }', ', expectedEvery: 1m } }'),
    '',
    /before it counts as gone/,
  ],
  ['one address for all flows', AUTOMATE.replace(' } }', ', flows: 100 } }'), '', /all 100 flows/],
]

for (const [name, heartbeats, more, says] of WARNED) {
  test(`warned: ${name}`, t => {
    const { warnings } = snapshotOf(t, policy(heartbeats, more))
    t.true(
      warnings.some(warning => says.test(warning)),
      warnings.join('\n') || 'no warning',
    )
  })
}

test('changes are told in sentences', t => {
  const about = (before: string, after: string): readonly string[] =>
    diffSnapshots(snapshotOf(t, before).snapshot, snapshotOf(t, after).snapshot).filter(line =>
      line.startsWith('heartbeats'),
    )
  const some = policy(AUTOMATE)
  const other = policy(AUTOMATE.replace('10.0.0.5', '10.0.0.6').replace(' } }', ', idle: 3m } }'))
  t.regex(
    about(GOOD_POLICY, some).join(),
    /^heartbeats automate added: address 0\.0\.0\.0:75; upstream 10\.0\.0\.5:75; idle 150s/,
  )
  t.deepEqual(about(some, other), [
    'heartbeats automate, upstream: 10.0.0.5:75 -> 10.0.0.6:75',
    'heartbeats automate, idle: 150s -> 3m',
  ])
  t.deepEqual(about(some, GOOD_POLICY), ['heartbeats automate removed'])
  t.deepEqual(about(some, some), [])
})
