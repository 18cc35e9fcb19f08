// The gateway of a policy: which client an address leads to, what is wrong with it, and what a change is called.
import test from 'ava'
import { diffSnapshots } from '../../src/config/diff.ts'
import { GOOD_POLICY, load, policyDirectory, snapshotOf } from './support.ts'

const policy = (gateway: string, primary: string): string => {
  const text = `${GOOD_POLICY}gateway: ${gateway}\n`
  return text.replace(/primary: *\S+?(?=[\s,}])/, `primary: '${primary}'`)
}

test('connector:// leads to the client of the named key, connector+tls:// to the same with TLS of the gate', t => {
  const one = snapshotOf(
    t,
    policy('{ connectors: { rmm: { key: head-office } } }', 'connector://rmm/https'),
  ).snapshot
  t.deepEqual([...one.upstreams.values()][0]?.members[0]?.via, {
    connector: 'rmm',
    client: 'rmm',
    key: 'head-office',
    service: 'https',
  })
  const two = snapshotOf(
    t,
    policy('{ connectors: { rmm: { key: branch, client: SRV-01 } } }', 'connector+tls://rmm/https'),
  ).snapshot
  const member = [...two.upstreams.values()][0]?.members[0]
  t.is(member?.origin.protocol, 'https')
  t.is(member?.via?.client, 'SRV-01')
  t.deepEqual(
    diffSnapshots(one, two).filter(line => line.startsWith('connector')),
    ['connector rmm, client: rmm -> SRV-01', 'connector rmm, key: head-office -> branch'],
  )
})

const WRONG: readonly (readonly [string, string, string, RegExp])[] = [
  [
    'an unknown connector',
    '{ connectors: { rmm: { key: a } } }',
    'connector://rnm/https',
    /does not have[^]*did you mean "rmm"/,
  ],
  ['no service', '{ connectors: { rmm: { key: a } } }', 'connector://rmm', /not connector:\/\/name\/service/],
  [
    'a path',
    '{ connectors: { rmm: { key: a } } }',
    'connector://rmm/https/x',
    /not connector:\/\/name\/service/,
  ],
  [
    'one client twice',
    '{ connectors: { rmm: { key: a }, twin: { key: a, client: rmm } } }',
    'connector://rmm/https',
    /same client as connector rmm/,
  ],
]
for (const [what, gateway, primary, message] of WRONG) {
  test(`what is wrong: ${what}`, t => {
    const result = load(policyDirectory(t, { 'portcullis.yaml': policy(gateway, primary) }))
    t.false(result.ok)
    if (!result.ok)
      t.regex(result.problems.map(problem => `${problem.message} ${problem.hint ?? ''}`).join('\n'), message)
  })
}
