// The flow table on a virtual clock: single rules, and a seeded simulation with invariants after every step.
import { randomOf } from '../../support/random.ts'
import test from 'ava'
import {
  COUNT_MS,
  FlowTable,
  GRACE_MS,
  HEADER_BYTES,
  JUDGE_MS,
  SILENT_MS,
} from '../../../src/edge/udp/flow-table.ts'
import type { Flow, Received } from '../../../src/edge/udp/flow.ts'
import { RefusalTally, TALLIED_SOURCES, TALLY_MS } from '../../../src/edge/udp/refusal-tally.ts'
import { sourceKey } from '../../../src/ips/rate/source-key.ts'
import { parseAddress, type Address } from '../../../src/net/address.ts'
import { decideHeartbeat } from '../../../src/policy/decide-heartbeat.ts'
import type { ClassPolicy, HeartbeatListener, Overlay, Snapshot } from '../../../src/policy/snapshot.ts'
import { at, cidr, classPolicy, emptyOverlay, snapshot } from '../../support/snapshot.ts'

const SETTINGS: HeartbeatListener = {
  id: 'automate',
  endpoints: [{ host: '0.0.0.0', port: 75 }],
  upstream: { host: '127.0.0.1', port: 75 },
  idleMs: 150_000,
  datagramBytes: 1_000,
  flows: 8,
  flowsPerSource: 3,
  newFlows: 1_000,
  newFlowsPerSource: 1_000,
  expectedEveryMs: null,
  replyRatio: 3,
  expectsReplies: true,
  at: at(70),
}

const address = (text: string): Address => {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}
const US = address('198.51.100.1')
const CN = address('203.0.113.66')

const keyOf = (from: Address, port: number): string => `1 ${port} ${from.text}`

/** A table with a policy that can be exchanged. Addresses in 203.0.113.0/24 are in China, all others in the United States. */
function world(settings: Partial<HeartbeatListener> = {}, policy: Partial<Snapshot> = {}) {
  let inForce: { snapshot: Snapshot; overlay: Overlay } = {
    snapshot: snapshot(policy),
    overlay: emptyOverlay(),
  }
  let judged = 0
  const table = new FlowTable<string>({
    settings: { ...SETTINGS, ...settings },
    policy: () => inForce,
    judge: (source, nowMs) => {
      judged++
      const country = source.text.startsWith('203.0.113.') ? 'CN' : 'US'
      const geo = { scope: 'public', country, second: null, available: true } as const
      return decideHeartbeat(inForce.snapshot, inForce.overlay, { address: source, geo }, 'automate', nowMs)
    },
  })
  const send = (from: Address, port: number, nowMs: number, bytes = 60): Received<string> => {
    const result = table.received(keyOf(from, port), () => from, port, bytes, nowMs)
    if (result === null) throw new Error('nothing')
    return result
  }
  return {
    table,
    send,
    judged: () => judged,
    change: (next: Partial<typeof inForce>) => {
      inForce = { ...inForce, ...next }
    },
  }
}

function opened(result: Received<string>): Flow<string> {
  if (result.kind === 'refuse') throw new Error(result.refusal.reason)
  return result.flow
}

const reasonOf = (result: Received<string>): string =>
  result.kind === 'refuse' ? result.refusal.reason : result.kind

function ban(from: Address): Overlay {
  const overlay = emptyOverlay()
  const range = cidr(from.text)
  const entry = { range, classes: null, reason: 'a test', owner: 'jane', expiresMs: null, at: at(8) }
  overlay.ban.insert(range, entry)
  return overlay
}

test('the second datagram of a client goes the way of the first, and the policy is asked once', t => {
  const { table, send, judged } = world()
  const first = send(US, 5_000, 0)
  t.is(first.kind, 'open')
  const again = send(US, 5_000, 5_000)
  t.is(again.kind, 'forward')
  t.is(opened(again), opened(first))
  t.is(judged(), 1)
  t.is(send(US, 5_001, 5_000).kind, 'open', 'another port is another flow')
  t.is(table.size, 2)
  t.is(table.sources(), 1)
})

test('a refused source leaves no state: country, ban, closed class, key that no datagram can carry', t => {
  const closed = new Map<'heartbeat', ClassPolicy>([
    ['heartbeat', { ...classPolicy(), access: { value: 'closed', at: at(9) } }],
  ])
  const keyed = new Map<'heartbeat', ClassPolicy>([
    ['heartbeat', { ...classPolicy(), keys: [{ place: 'header', name: 'x', sha256Hex: 'ab', at: at(9) }] }],
  ])
  const banned = world()
  banned.change({ overlay: ban(US) })
  const cases = [
    [world(), CN, 'country-refused'],
    [banned, US, 'banned'],
    [world({}, { classes: closed }), US, 'class-closed'],
    [world({}, { classes: keyed }), US, 'class-key'],
  ] as const
  for (const [{ table, send }, from, reason] of cases) {
    t.is(reasonOf(send(from, 1, 0)), reason)
    t.is(table.size, 0)
    t.is(table.sources(), 0)
  }
})

test('a ban ends a flow at the next datagram or tick, and flows of others stay', t => {
  const { table, send, change } = world()
  const kept = opened(send(address('198.51.100.2'), 1, 0))
  const lost = opened(send(US, 1, 0))
  opened(send(US, 2, 0))
  change({ overlay: ban(US) })
  const refused = send(US, 1, 1_000)
  t.is(reasonOf(refused), 'banned')
  t.is(refused.kind === 'refuse' && refused.ended?.flow, lost)
  t.false(table.replied(lost, 1, 1_000), 'nothing goes back to a flow that has ended')
  t.deepEqual(
    table.tick(2_000).ended.map(entry => [entry.flow.port, entry.end]),
    [[2, 'refused']],
  )
  t.deepEqual([...table.flows()], [kept])
})

test('a verdict is asked again after a while even when the policy stays the same', t => {
  const { send, judged } = world()
  send(US, 1, 0)
  send(US, 1, JUDGE_MS - 1)
  t.is(judged(), 1)
  send(US, 1, JUDGE_MS)
  t.is(judged(), 2)
})

test('a client that came back never gives way; clients that sent once do, the oldest first', t => {
  const { table, send } = world()
  send(US, 1, 0)
  send(US, 1, 5_000)
  send(US, 2, 5_001)
  send(US, 3, 5_002)
  const more = send(US, 4, 5_003)
  t.is(more.kind, 'open')
  t.is(more.kind === 'open' && more.ended?.flow.port, 2)
  t.is(more.kind === 'open' && more.ended?.end, 'displaced')
  send(US, 3, 10_000)
  send(US, 4, 10_000)
  t.is(reasonOf(send(US, 5, 10_001)), 'flow-limit-source')
  for (let index = 10; index < 15; index++) send(address(`198.51.100.${index}`), 1, 11_000)
  t.is(table.size, 8)
  const spoofed = send(address('198.51.100.99'), 1, 11_001)
  t.is(spoofed.kind === 'open' && spoofed.ended?.flow.address.text, '198.51.100.10')
  for (let index = 11; index < 15; index++) send(address(`198.51.100.${index}`), 1, 13_000)
  send(address('198.51.100.99'), 1, 13_000)
  t.is(reasonOf(send(address('198.51.100.100'), 1, 13_001)), 'flow-limit-total')
})

test('addresses of one IPv6 network of 64 bits are one source', t => {
  const { send } = world({ flowsPerSource: 1 })
  const first = address('2001:db8:1:2::1')
  send(first, 1, 0)
  send(first, 1, 5_000)
  t.is(reasonOf(send(address('2001:db8:1:2:ffff::9'), 1, 5_000)), 'flow-limit-source')
  t.is(send(address('2001:db8:1:3::1'), 1, 5_000).kind, 'open')
})

test('a datagram beyond the size is refused and opens nothing', t => {
  const { table, send } = world()
  t.is(reasonOf(send(US, 1, 0, 1_001)), 'datagram-too-large')
  t.is(table.size, 0)
  t.is(send(US, 1, 0, 1_000).kind, 'open')
  t.is(reasonOf(send(US, 1, 1, 1_001)), 'datagram-too-large')
  t.is(table.size, 1, 'one large datagram does not end a flow')
  t.is(send(US, 2, 0, 0).kind, 'open', 'an empty datagram is one, too')
})

test('no more goes back than the ratio allows, headers counted, and more heartbeats pay for more', t => {
  const { table, send } = world()
  const flow = opened(send(US, 1, 0, 10))
  const paid = 3 * (10 + HEADER_BYTES)
  t.false(table.replied(flow, paid - HEADER_BYTES + 1, 1))
  t.is(flow.withheld, 1)
  t.true(table.replied(flow, paid - HEADER_BYTES, 2))
  t.false(table.replied(flow, 0, 3))
  send(US, 1, 5_000, 10)
  t.true(table.replied(flow, 4, 5_001), 'the server may speak later, by itself')
})

test('only the client keeps a flow alive; it ends after the idle time', t => {
  const { table, send } = world()
  const flow = opened(send(US, 1, 0))
  t.true(table.replied(flow, 1, 149_000))
  t.deepEqual(table.tick(149_999).ended, [])
  t.deepEqual(table.tick(150_000).ended, [{ flow, end: 'idle' }])
  t.is(table.size + table.sources(), 0)
  t.false(table.replied(flow, 1, 150_001))
})

test('flows are counted every 20 s; a reply on its way leaves no heartbeat unanswered', t => {
  const { table, send } = world()
  const flow = opened(send(US, 1, 0))
  table.replied(flow, 20, 10)
  t.deepEqual(table.tick(COUNT_MS - 1).counted, [])
  t.like(table.tick(COUNT_MS).counted, [
    { heartbeats: 1, replies: 1, bytesIn: 60, bytesOut: 20, answered: true },
  ])
  send(US, 1, 2 * COUNT_MS)
  t.deepEqual(table.tick(2 * COUNT_MS).counted, [], 'too young to judge')
  t.like(table.tick(2 * COUNT_MS + GRACE_MS).counted, [{ heartbeats: 1, replies: 0, answered: false }])
})

test('a server that answers nobody is noticed once, its return too; one that need not answer never', t => {
  const { table, send } = world()
  const quiet = world({ expectsReplies: false })
  const first = opened(send(US, 1, 0))
  for (let nowMs = 0; nowMs < SILENT_MS; nowMs += 5_000) {
    send(US, 1, nowMs)
    quiet.send(US, 1, nowMs)
    t.is(table.tick(nowMs).silent, null)
  }
  t.deepEqual(table.tick(SILENT_MS).silent, { sinceMs: 0, heartbeats: 7 })
  t.is(table.tick(SILENT_MS + 1).silent, null)
  t.is(quiet.table.tick(SILENT_MS).silent, null)
  t.false(table.takeRecovery())
  t.true(table.replied(first, 10, SILENT_MS + 2))
  t.true(table.takeRecovery())
  t.false(table.takeRecovery())
})

test('refusals of one source: the first at once, the rest once a minute, in bounded memory', t => {
  const tally = new RefusalTally<string>()
  tally.take(0)
  t.true(tally.note('a', () => 'A'))
  for (let index = 0; index < 5; index++) t.false(tally.note('a', () => 'A'))
  t.deepEqual(tally.take(TALLY_MS - 1), [])
  t.deepEqual(tally.take(TALLY_MS), [{ fields: 'A', count: 5 }])
  t.false(
    tally.note('a', () => 'A'),
    'it goes on, so it stays gathered',
  )
  t.deepEqual(tally.take(2 * TALLY_MS), [{ fields: 'A', count: 1 }])
  t.deepEqual(tally.take(3 * TALLY_MS), [])
  t.true(
    tally.note('a', () => 'A'),
    'it had stopped',
  )
  for (let index = 0; index < TALLIED_SOURCES; index++) t.true(tally.note(`b${index}`, () => 'B'))
  t.true(tally.note('one more', () => 'B'))
  t.true(
    tally.note('one more', () => 'B'),
    'not remembered, so reported each time',
  )
})

for (const seed of [1, 20_261, 0x5eed]) {
  test(`simulation ${seed}: bounds, payment, expiry and the policy hold after every step`, t => {
    const random = randomOf(seed)
    const { table, send, change } = world({ idleMs: 30_000 })
    const alive = new Map<Flow<string>, { paid: number; sent: number; heardMs: number }>()
    const sources = Array.from({ length: 12 }, (_, index) =>
      address(index < 9 ? `198.51.100.${index}` : `203.0.113.${index}`),
    )
    let banned = null as Address | null
    let nowMs = 0
    let seen = { open: 0, forward: 0, refuse: 0, displaced: 0, idle: 0, withheld: 0 }
    for (let step = 0; step < 20_000; step++) {
      const must = (holds: boolean, what: string): void => {
        if (!holds) throw new Error(`step ${step}: ${what}`)
      }
      nowMs += random(40) === 0 ? 20_000 : random(400)
      const what = random(100)
      if (what < 60) {
        const from = sources[random(sources.length)] ?? US
        const bytes = random(1_100)
        const sizeBefore = table.size
        const port = 1 + random(4)
        const result = send(from, port, nowMs, bytes)
        seen = { ...seen, [result.kind]: seen[result.kind] + 1 }
        if (result.kind !== 'forward' && result.ended !== null) {
          must(alive.delete(result.ended.flow), 'an ended flow was alive')
          if (result.ended.end === 'displaced') {
            seen.displaced++
            const { confirmed, lastReplyMs } = result.ended.flow
            must(!confirmed || lastReplyMs === null, 'who came again and was answered never gives way')
          }
        }
        if (result.kind === 'refuse') {
          must(table.size <= sizeBefore, 'a refusal adds nothing')
          if (result.refusal.stage !== 'limits')
            must(
              ![...table.flows()].some(flow => flow.key === keyOf(from, port)),
              'no state for a refused source',
            )
        } else {
          must(!from.text.startsWith('203.') && from !== banned, 'no flow for a refused source')
          must(bytes <= SETTINGS.datagramBytes, 'size')
          const facts = alive.get(result.flow) ?? { paid: 0, sent: 0, heardMs: 0 }
          must((result.kind === 'open') === (facts.paid === 0), 'opened once')
          alive.set(result.flow, { ...facts, paid: facts.paid + bytes + HEADER_BYTES, heardMs: nowMs })
        }
      } else if (what < 85) {
        const [flow, facts] = [...alive][random(Math.max(1, alive.size))] ?? []
        if (flow === undefined || facts === undefined) continue
        const bytes = random(2_000)
        if (table.replied(flow, bytes, nowMs)) facts.sent += bytes + HEADER_BYTES
        else {
          seen.withheld++
          must(facts.sent + bytes + HEADER_BYTES > 3 * facts.paid, 'only what is not paid for is kept back')
        }
      } else if (what < 87) {
        banned = random(2) === 0 ? null : (sources[random(9)] ?? null)
        change({ overlay: banned === null ? emptyOverlay() : ban(banned) })
      } else {
        for (const { flow, end } of table.tick(nowMs).ended) {
          const facts = alive.get(flow)
          t.truthy(facts)
          if (end === 'idle') {
            seen.idle++
            must(nowMs - (facts?.heardMs ?? 0) >= 30_000, 'not before its time')
          } else must(flow.address === banned, 'only the banned are cut')
          alive.delete(flow)
        }
        for (const [flow, { heardMs }] of alive) {
          must(nowMs - heardMs < 30_000, 'nothing outlives the idle time')
          must(flow.address !== banned, 'nothing outlives a ban')
        }
      }
      must(table.size === alive.size && [...table.flows()].every(flow => alive.has(flow)), 'the same flows')
      must(table.size <= SETTINGS.flows, 'flows in all')
      const perSource = Map.groupBy(alive.keys(), flow => sourceKey(flow.address))
      must(table.sources() === perSource.size, 'sources')
      for (const own of perSource.values()) must(own.length <= SETTINGS.flowsPerSource, 'flows of a source')
      for (const { paid, sent } of alive.values()) must(sent <= SETTINGS.replyRatio * paid, 'payment')
    }
    for (const [what, times] of Object.entries(seen)) t.true(times > 20, `${what}: ${times}`)
  })
}
