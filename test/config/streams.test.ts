// Streams of a policy: ports by profile and version, what is refused with advice, connectors, and what a change is called.
import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { diffSnapshots } from '../../src/config/diff.ts'
import { effectiveText } from '../../src/config/effective.ts'
import { loadPolicy } from '../../src/config/load.ts'
import { GOOD_POLICY, load, NOW_MS, policyDirectory } from './support.ts'

const POLICIES = fileURLToPath(new URL('../../policies', import.meta.url))

function directory(t: ExecutionContext, streams: string, more = ''): string {
  const made = policyDirectory(t, { 'portcullis.yaml': `${GOOD_POLICY}streams: ${streams}\n${more}` })
  cpSync(join(POLICIES, 'streams'), join(made, 'streams'), { recursive: true })
  return made
}

function good(t: ExecutionContext, streams: string) {
  const result = load(directory(t, streams))
  if (!result.ok) throw new Error(result.problems.map(entry => entry.message).join('\n'))
  return result
}

const portsOf = (t: ExecutionContext, stream: string): readonly number[] =>
  good(t, `{ s: ${stream} }`).snapshot.streams[0]?.endpoints.map(({ port }) => port) ?? []

test('S profile: only the ports of the version, SQL and FTP for trusted addresses, all to the same port of the server', t => {
  const of = (version: string): readonly number[] =>
    portsOf(
      t,
      `{ profile: supportworks, version: '${version}', address: 0.0.0.0, upstream: 10.0.0.9, notifications: tcp }`,
    )
  t.deepEqual(of('7.3'), [5001, 5002, 5003, 5004, 5005, 5006, 5008, 21])
  t.deepEqual(of('7.4.1'), [5001, 5002, 5003, 5004, 5005, 5006, 5008, 5013, 5014, 5015, 5021])
  t.deepEqual(of('7.5.0'), [5001, 5002, 5005, 5006, 5013, 5014, 5015])
  t.deepEqual(of('8.0'), [5001, 5005, 5006, 5013, 5014, 5015])
  const [stream] = good(
    t,
    "{ s: { profile: supportworks, version: '7.5', without: 5002, address: 0.0.0.0, upstream: 10.0.0.9 } }",
  ).snapshot.streams
  t.false(stream?.endpoints.some(({ port }) => port === 5_002))
  t.like(stream, { kind: 'tcp', speaks: 'plain', product: 'Supportworks', idleMs: 0 })
  t.deepEqual([...(stream?.internalPorts.keys() ?? [])], [5002, 21, 5021])
  const action = stream?.services[0]?.action
  t.like(action?.kind === 'forward' ? action.members[0]?.target : {}, { host: '10.0.0.9', port: null })
})

test('the other profiles: kinds, classes and ports', t => {
  const { snapshot } = good(
    t,
    '{ n: { profile: netsupport, address: "0.0.0.0:443", upstream: 10.0.0.8 }, k: { profile: kaseya, address: 0.0.0.0, upstream: 10.0.0.8 }, m: { profile: meshcentral-mps, address: 0.0.0.0, upstream: 10.0.0.8 } }',
  )
  t.like(snapshot.streams, [
    { kind: 'mixed', services: [{ start: 'netsupport', class: 'relay' }] },
    { kind: 'tcp', endpoints: [{ port: 5721 }], services: [{ class: 'agent' }] },
    { kind: 'tls', endpoints: [{ port: 4433 }], services: [{ names: [] }] },
  ])
})

test('every shipped stream profile is used by an example', t => {
  const result = loadPolicy({ directory: POLICIES, file: 'examples/streams.yaml', nowMs: NOW_MS })
  t.true(result.ok)
  const used = result.ok
    ? new Set(result.snapshot.streams.flatMap(({ product }) => product ?? []))
    : new Set()
  t.is(used.size, readdirSync(join(POLICIES, 'streams')).length)
})

const WRONG: readonly (readonly [string, string, RegExp])[] = [
  [
    'S5: notifications over UDP',
    "{ profile: supportworks, version: '7.4.1', notifications: udp, address: 0.0.0.0, upstream: 10.0.0.9 }",
    /cannot pass the gate.*/,
  ],
  [
    'a product without its version',
    '{ profile: supportworks, address: 0.0.0.0, upstream: 10.0.0.9 }',
    /needs its version/,
  ],
  [
    'a profile that is not there',
    '{ profile: suportworks, address: 0.0.0.0, upstream: 10.0.0.9 }',
    /no stream profile/,
  ],
  ['no port', '{ address: 0.0.0.0, upstream: 10.0.0.9 }', /has no port/],
  ['no server', '{ address: "0.0.0.0:16888" }', /upstream is required/],
  [
    'the port of the HTTPS listener',
    '{ address: "0.0.0.0:443-9000", upstream: 10.0.0.9 }',
    /more than|taken by/,
  ],
  ['the gate itself', '{ address: "0.0.0.0:16888", upstream: "127.0.0.1:16888" }', /in a circle/],
  [
    'an unknown listener',
    '{ kind: mixed, address: "0.0.0.0:16888", services: [{ starts: tls, edge: htps }] }',
    /no listener "htps"/,
  ],
  [
    'a mixed listener without services',
    '{ kind: mixed, address: "0.0.0.0:16888", upstream: 10.0.0.9 }',
    /needs services/,
  ],
  [
    'TLS that ends nowhere',
    '{ kind: tls, tls: modern, address: "0.0.0.0:16888", upstream: 10.0.0.9 }',
    /needs a certificate/,
  ],
  ['a range backwards', '{ address: "0.0.0.0:5006-5001", upstream: 10.0.0.9 }', /no range/],
  ['an URL as a server', '{ address: "0.0.0.0:16888", upstream: "https://10.0.0.9" }', /URL/],
  ['an unknown connector', '{ address: "0.0.0.0:16888", upstream: "connector://hq/backup" }', /connector/],
  ['a misspelt key', '{ address: "0.0.0.0:16888", upstream: 10.0.0.9, keepalive: 9s }', /keepalive/],
]

for (const [name, stream, says] of WRONG) {
  test(`refused: ${name}`, t => {
    const result = load(directory(t, `{ s: ${stream} }`))
    t.false(result.ok)
    const texts = result.ok ? [] : result.problems.map(problem => problem.message)
    t.true(
      texts.some(text => says.test(text)),
      texts.join('\n'),
    )
  })
}

const WARNED: readonly (readonly [string, string, string, RegExp])[] = [
  [
    'B7: a low port',
    '{ address: "0.0.0.0:1688", upstream: "10.0.0.9:16888" }',
    '',
    /above 5000|other programs/,
  ],
  ['a database', '{ address: "0.0.0.0:16888", upstream: "10.0.0.9:3306" }', '', /MySQL/],
  ['FTP', '{ address: "0.0.0.0:16888", upstream: "10.0.0.9:21" }', '', /FTP/],
  [
    'a closed class',
    '{ address: "0.0.0.0:16888", upstream: "10.0.0.9" }',
    'classes: { relay: { access: closed } }\n',
    /relay is closed/,
  ],
]

for (const [name, stream, more, says] of WARNED) {
  test(`warned: ${name}`, t => {
    const result = load(directory(t, `{ s: ${stream} }`, more))
    const texts = result.ok ? result.warnings.map(warning => warning.message) : ['not loaded']
    t.true(
      texts.some(text => says.test(text)),
      texts.join('\n'),
    )
  })
}

test('changes are told in sentences, ranges are taken together, and the effective policy shows where streams go', t => {
  const before = good(t, '{ s: { address: "0.0.0.0:16888-16890", upstream: "10.0.0.3:16888" } }').snapshot
  const after = good(
    t,
    '{ s: { address: "0.0.0.0:16888", upstream: "10.0.0.4:16888", connections: 50 } }',
  ).snapshot
  t.deepEqual(
    diffSnapshots(before, after).filter(line => line.startsWith('stream')),
    [
      'stream s, address: 0.0.0.0:16888-16890 -> 0.0.0.0:16888',
      'stream s, services: relay to 10.0.0.3:16888 -> relay to 10.0.0.4:16888',
      'stream s, connections: 10000 -> 50',
    ],
  )
  t.regex(
    effectiveText(before),
    /Streams \(raw TCP\)\n +s +0\.0\.0\.0:16888-16890 +relay to 10\.0\.0\.3:16888/,
  )
})
