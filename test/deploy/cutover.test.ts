// P10, P14: the order of the cut-over, and the firewall lines that it and the policy need.
import { spawnSync } from 'node:child_process'
import test from 'ava'
import * as fc from 'fast-check'
import {
  CUTOVER_STEPS,
  fleetShare,
  judgeCutover,
  MARKED_STEPS,
  standsBefore,
  WAIT_MS,
  type CutoverFacts,
} from '../../src/deploy/cutover.ts'
import {
  cutoverRules,
  gateLines,
  gateNftables,
  placements,
  portText,
  productPorts,
} from '../../src/deploy/firewall.ts'
import type { InvitationPolicy } from '../../src/policy/invitations.ts'
import { parseAddress, type Address } from '../../src/net/address.ts'
import { at, cidr, listener, snapshot, upstreamGroup } from '../support/snapshot.ts'

const NOW = 100 * WAIT_MS
const nothing: CutoverFacts = {
  nowMs: NOW,
  knownAgents: 0,
  refusedKnown: 0,
  share: null,
  marks: {},
  closedMs: null,
  rehearsedMs: null,
}
const address = (text: string): Address => parseAddress(text) ?? (undefined as never)

test('P14: the steps come in their order, each with what is missing', t => {
  let facts = nothing
  const seen: (string | null)[] = []
  const go = (more: Partial<CutoverFacts>): void => {
    facts = { ...facts, ...more }
    seen.push(judgeCutover(facts).current)
  }
  go({})
  go({ knownAgents: 3, refusedKnown: 1 })
  go({ refusedKnown: 0 })
  go({ marks: { template: NOW } })
  go({ marks: { template: NOW, 'all-templates': NOW } })
  go({ share: 0.94 })
  go({ share: 0.95 })
  go({ nowMs: NOW + WAIT_MS })
  go({ closedMs: NOW })
  go({ rehearsedMs: NOW })
  go({ marks: { ...facts.marks, redirector: NOW } })
  go({ marks: { ...facts.marks, sso: NOW } })
  t.deepEqual(seen, [
    'trial',
    'trial',
    'template',
    'all-templates',
    'wait',
    'wait',
    'wait',
    'firewall',
    'firewall',
    'redirector',
    'sso',
    null,
  ])
})

test('nothing is done without its step being complete, and what was done too early is said', t => {
  const time = fc.option(fc.integer({ min: 0, max: NOW }))
  const marks = fc.dictionary(fc.constantFrom(...MARKED_STEPS), fc.integer({ min: 0, max: NOW }))
  const arbitrary = fc.record({
    nowMs: fc.constant(NOW),
    knownAgents: fc.nat(3),
    refusedKnown: fc.nat(2),
    share: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    marks,
    closedMs: time,
    rehearsedMs: time,
  })
  fc.assert(
    fc.property(arbitrary, facts => {
      const state = judgeCutover(facts)
      const first = state.steps.findIndex(step => !step.done)
      t.is(state.current, first < 0 ? null : (CUTOVER_STEPS[first] ?? null))
      for (const [index, id] of CUTOVER_STEPS.entries())
        t.is(standsBefore(state, id) === null, first < 0 || first >= index)
      if (facts.closedMs !== null && (facts.share ?? 0) < 0.9) t.regex(state.warnings.join(), /done before/)
    }),
  )
})

test('P10: the redirector comes after the firewall, single sign-on last', t => {
  t.deepEqual(CUTOVER_STEPS.slice(-3), ['firewall', 'redirector', 'sso'])
  const early = judgeCutover({ ...nothing, marks: { redirector: NOW } })
  t.regex(early.warnings.join(), /Redirector address.*done before/)
})

test('shares count agents, not addresses; an empty fleet has none', t => {
  t.deepEqual(fleetShare([]), { known: 0, using: 0, share: null })
  const parts = [
    { what: 'a', agents: 30, seen: true },
    { what: 'b', agents: 10, seen: false },
  ]
  t.deepEqual(fleetShare(parts), { known: 40, using: 30, share: 0.75 })
})

const EGRESS = [address('203.0.113.5'), address('2001:db8::5')]

test('P14, P15: every firewall text admits the gate alone and has its way back', t => {
  const texts = cutoverRules(EGRESS, productPorts('connectwise-automate'), address('10.0.0.5'))
  t.is(texts.length, 6)
  for (const { title, lines, undo } of texts) {
    const text = lines.join('\n')
    t.true(text.includes('203.0.113.5'), title)
    // The router's table is for the IPv4 address of the server.
    if (!title.includes('router')) t.true(text.includes('2001:db8::5'), title)
    t.true(text.includes('443') && text.includes('75'), title)
    t.true(undo.length > 0, title)
  }
  t.false(
    texts
      .find(entry => entry.title.includes('PowerShell'))
      ?.lines.join()
      .includes('-Action Block') ?? true,
  )
})

const nftCheck = (lines: readonly string[]): string => {
  const { status, stderr } = spawnSync('nft', ['-c', '-f', '-'], { input: lines.join('\n') })
  return status === 0 ? '' : String(stderr)
}
const hasNft = spawnSync('nft', ['-c', '-f', '-'], { input: 'table inet portcullis_try { }' }).status === 0
const needsNft = hasNft ? test : test.skip

needsNft('nftables takes the printed tables (needs nft and root)', t => {
  for (const egress of [EGRESS, EGRESS.slice(0, 1), EGRESS.slice(1)]) {
    for (const server of ['10.0.0.5', '2001:db8::9']) {
      const [own, router] = cutoverRules(egress, productPorts('connectwise-automate'), address(server))
      t.is(nftCheck(own?.lines ?? []), '')
      t.is(nftCheck(router?.lines ?? []), '')
      // Others behind the router keep their way out.
      for (const line of router?.lines.filter(text => text.endsWith('drop')) ?? [])
        t.true(line.includes(`daddr ${server} `))
    }
  }
  const policy = snapshot({
    listeners: [
      listener({ endpoints: [{ host: '0.0.0.0', port: 443 }] }),
      listener({
        id: 'lb',
        endpoints: [{ host: '0.0.0.0', port: 8443 }],
        loadBalancers: [cidr('10.0.0.0/8'), cidr('2001:db8::/32')],
      }),
    ],
  })
  t.is(nftCheck(gateNftables(gateLines({ ...policy, invitations: INVITATIONS }))), '')
})

const INVITATIONS: InvitationPolicy = {
  publicHost: null,
  host: '0.0.0.0',
  ports: { first: 51_000, last: 51_099 },
  longestMs: 3_600_000,
  targets: [cidr('10.20.0.0/16')],
  targetPorts: [
    { first: 3_389, last: 3_389 },
    { first: 49_152, last: 65_535 },
  ],
  connections: 10,
  at: at(90),
}

test('the public ports of invitations, and the way to the PCs, are in the plan: TCP and UDP, as ranges', t => {
  const lines = gateLines(snapshot({ listeners: [], upstreams: new Map(), invitations: INVITATIONS }))
  t.deepEqual(
    lines.map(line => `${line.direction} ${line.protocol}/${portText(line)} ${line.peer}`),
    ['tcp', 'udp'].flatMap(protocol => [
      `in ${protocol}/51000-51099 any`,
      `out ${protocol}/3389 10.20.0.0/16`,
      `out ${protocol}/49152-65535 10.20.0.0/16`,
    ]),
  )
  t.true(gateNftables(lines).includes('    udp dport 51000-51099 accept'))
})

test('N7, S9: lines come from the policy itself, in four placements', t => {
  const policy = snapshot({
    listeners: [
      listener({ endpoints: [{ host: '0.0.0.0', port: 443 }], loadBalancers: [cidr('10.9.0.0/16')] }),
    ],
    upstreams: new Map([['rmm', upstreamGroup([9_443])]]),
  })
  const lines = gateLines(policy)
  t.deepEqual(
    lines.map(({ direction, protocol, port, peer }) => `${direction} ${protocol}/${port} ${peer}`),
    ['in tcp/443 10.9.0.0/16', 'out tcp/9443 127.0.0.1'],
  )
  const places = placements(lines)
  t.is(places.length, 4)
  for (const { lines: text } of places) t.true(text.join('\n').includes('tcp/443'))
  t.true(gateNftables(lines).join('\n').includes('tcp dport 443 ip saddr { 10.9.0.0/16 } accept'))
})
