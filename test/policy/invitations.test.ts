// Forwards for invitations: what may be a target, which port is next, and what a new policy leaves of those that are open.
import * as fc from 'fast-check'
import test from 'ava'
import { parseAddress } from '../../src/net/address.ts'
import { ForwardTable, NO_FORWARDS, REST_MS } from '../../src/policy/forward-table.ts'
import {
  forwardDatagrams,
  forwardProblem,
  forwardStream,
  serverHosts,
  targetProblem,
  type InvitationForward,
  type InvitationPolicy,
} from '../../src/policy/invitations.ts'
import { at, cidr, snapshot, upstreamGroup } from '../support/snapshot.ts'

const POLICY: InvitationPolicy = {
  publicHost: null,
  host: '0.0.0.0',
  ports: { first: 51_000, last: 51_004 },
  longestMs: 3_600_000,
  targets: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'].map(cidr),
  targetPorts: [
    { first: 3_389, last: 3_389 },
    { first: 49_152, last: 65_535 },
  ],
  connections: 10,
  at: at(90),
}
const NEVER = { own: new Set(['10.0.0.1', 'fd00::1']), servers: new Set(['10.0.0.2']) }

test('a target is a private address of a PC, even where the policy allows every private network', t => {
  const cases: readonly (readonly [string, number, RegExp | null])[] = [
    ['10.0.0.5', 3_389, null],
    ['172.31.255.254', 51_930, null],
    ['192.168.1.20', 49_152, null],
    ['fd12:3456::5', 65_535, null],
    ['::ffff:10.0.0.5', 3_389, null],
    ['10.0.0.5', 22, /port 22/],
    ['10.0.0.5', 49_151, /port 49151/],
    ['10.0.0.1', 3_389, /this gate itself/],
    ['::ffff:10.0.0.1', 3_389, /this gate itself/],
    ['fd00::1', 3_389, /this gate itself/],
    ['10.0.0.2', 3_389, /a server behind this gate/],
    ['127.0.0.1', 3_389, /loopback/],
    ['127.255.255.254', 3_389, /loopback/],
    ['::1', 3_389, /loopback/],
    ['::ffff:127.0.0.1', 3_389, /loopback/],
    ['0.0.0.0', 3_389, /reserved/],
    ['::', 3_389, /reserved/],
    ['169.254.169.254', 3_389, /link-local/],
    ['::ffff:169.254.169.254', 3_389, /link-local/],
    ['fe80::1', 3_389, /link-local/],
    ['fd00:ec2::254', 3_389, /metadata/],
    ['fd00:0ec2:0::1', 49_152, /metadata/],
    ['fd20:ce::254', 3_389, /metadata/],
    ['100.100.100.200', 3_389, /carrier-grade/],
    ['168.63.129.16', 3_389, /public/],
    ['8.8.8.8', 3_389, /public/],
    ['2001:4860::8', 3_389, /public/],
    ['64:ff9b::a00:5', 3_389, /public|reserved/],
    ['2002:a00:5::1', 3_389, /public|reserved/],
    ['224.0.0.1', 3_389, /reserved/],
    ['255.255.255.255', 3_389, /reserved/],
    ['ff02::1', 3_389, /reserved/],
    ['fec0::1', 3_389, /not in invitations/],
  ]
  for (const [text, port, why] of cases) {
    const address = parseAddress(text)
    if (address === undefined) return t.fail(text)
    const problem = targetProblem(address, port, POLICY, NEVER)
    if (why === null) t.is(problem, null, text)
    else t.regex(problem ?? '', why, text)
  }
  const narrow = { ...POLICY, targets: [cidr('10.0.0.0/24')] }
  const other = parseAddress('10.0.1.5')
  t.regex((other && targetProblem(other, 3_389, narrow, NEVER)) ?? '', /not in invitations\.targets/)
  return undefined
})

test('every server that the policy names, but for those that only a connector reaches', t => {
  const direct = { host: '10.0.0.9', port: 443 }
  const hosts = serverHosts(
    snapshot({
      upstreams: new Map([['rmm', upstreamGroup([443])]]),
      heartbeats: [forwardDatagrams(forward(51_000, 1, 'rmm.internal'), POLICY)],
      streams: [forwardStream(forward(51_000, 1, '10.0.0.8'), POLICY)],
      deployment: { direct, egress: [] },
    }),
  )
  t.deepEqual([...hosts].toSorted(), ['10.0.0.8', '10.0.0.9', '127.0.0.1', 'rmm.internal'])
})

const forward = (port: number, expiresMs: number, host = '10.0.0.5'): InvitationForward => ({
  port,
  target: { host, port: 3_389 },
  from: null,
  owner: 'jo',
  openedMs: 0,
  expiresMs,
})

test('what a new policy does not allow any more, it says', t => {
  const problem = (more: Partial<InvitationPolicy>, entry = forward(51_000, 1)) =>
    forwardProblem(entry, { invitations: { ...POLICY, ...more }, sites: [] }, NEVER)
  t.is(problem({}), null)
  t.regex(problem({ ports: { first: 51_001, last: 51_004 } }) ?? '', /port 51000/)
  t.regex(problem({ targets: [cidr('10.1.0.0/16')] }) ?? '', /10\.0\.0\.5 is not in/)
  t.regex(problem({}, forward(51_000, 1, '10.0.0.2')) ?? '', /server behind this gate/)
  t.regex(
    problem({}, forward(51_000, 1, 'localhost')) ?? '',
    /is no address/,
    'a file that was tampered with',
  )
  const from = { sites: ['acme'], ranges: [] }
  t.regex(problem({}, { ...forward(51_000, 1), from }) ?? '', /no site acme/)
  t.regex(forwardProblem(forward(51_000, 1), { invitations: null, sites: [] }, NEVER) ?? '', /no invitations/)
})

test('a clock that is set back makes no forward last longer than it was opened for', t => {
  const table = new ForwardTable(NO_FORWARDS)
  const open = (port: number, openedMs: number): void =>
    table.put({ ...forward(port, openedMs + 600_000), openedMs })
  open(51_000, 90_000_000)
  open(51_001, 3_000_000)
  t.false(table.meetClock(90_000_000))
  t.true(table.meetClock(3_600_000))
  t.false(table.meetClock(3_600_000))
  t.deepEqual(
    table.list().map(({ openedMs, expiresMs }) => [openedMs, expiresMs]),
    [
      [3_600_000, 4_200_000],
      [3_000_000, 3_600_000],
    ],
  )
  t.is(table.expired(4_200_000).length, 2)
})

test('any order of opening, ending, waiting and restarting: no port twice, none before it has rested, all in turn', t => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('open' as const), lifeMs: fc.integer({ min: 1, max: 3_600_000 }) }),
    fc.record({ kind: fc.constant('end' as const), which: fc.nat(9) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: REST_MS }) }),
    fc.record({ kind: fc.constant('restart' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let table = new ForwardTable(NO_FORWARDS)
      let nowMs = 0
      const openMs = new Map<number, number>()
      const endedMs = new Map<number, number>()
      const over = (port: number): void => {
        table.end(port, nowMs)
        openMs.delete(port)
        endedMs.set(port, nowMs)
      }
      const isBusy = (port: number): boolean =>
        openMs.has(port) || nowMs < (endedMs.get(port) ?? -Infinity) + REST_MS
      for (const entry of steps) {
        if (entry.kind === 'wait') {
          nowMs += entry.ms
          for (const { port } of table.expired(nowMs)) over(port)
        } else if (entry.kind === 'restart') table = new ForwardTable(structuredClone(table.saved()))
        else if (entry.kind === 'end') {
          const found = table.list()[entry.which]
          if (found !== undefined) over(found.port)
        } else {
          const lastPort = table.saved().lastPort
          const choice = table.choose(POLICY.ports, nowMs, new Set())
          const free = [51_000, 51_001, 51_002, 51_003, 51_004].filter(port => !isBusy(port))
          const next = free.find(port => port > lastPort) ?? free[0] ?? null
          if (choice.port !== next) return false
          if (choice.port === null) {
            if (choice.freeMs === null || choice.freeMs <= nowMs) return false
            continue
          }
          table.put(forward(choice.port, nowMs + entry.lifeMs))
          openMs.set(choice.port, nowMs)
        }
        if (table.size !== openMs.size) return false
      }
      return true
    }),
    { seed: 20_261_121, numRuns: 300 },
  )
  t.pass()
})
