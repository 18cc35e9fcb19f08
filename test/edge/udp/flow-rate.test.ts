// Limits of new flows on a virtual clock, and a seeded flood from forged addresses that real agents must not notice.
import { randomOf } from '../../support/random.ts'
import test from 'ava'
import { BURST_S, FlowRate, MAX_RATED_SOURCES } from '../../../src/edge/udp/flow-rate.ts'
import { FlowTable } from '../../../src/edge/udp/flow-table.ts'
import type { Flow, Received } from '../../../src/edge/udp/flow.ts'
import { parseAddress, type Address } from '../../../src/net/address.ts'
import { decideHeartbeat } from '../../../src/policy/decide-heartbeat.ts'
import type { HeartbeatListener } from '../../../src/policy/snapshot.ts'
import { at, emptyOverlay, site, snapshot } from '../../support/snapshot.ts'

const SETTINGS: HeartbeatListener = {
  id: 'automate',
  endpoints: [{ host: '0.0.0.0', port: 75 }],
  upstream: { host: '127.0.0.1', port: 75 },
  idleMs: 150_000,
  datagramBytes: 1_000,
  flows: 150,
  flowsPerSource: 40,
  newFlows: 5,
  newFlowsPerSource: 2,
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

function table(settings: Partial<HeartbeatListener> = {}) {
  const inForce = {
    snapshot: snapshot({ sites: [site('berlin', ['192.0.2.0/24'])] }),
    overlay: emptyOverlay(),
  }
  const made = new FlowTable<string>({
    settings: { ...SETTINGS, ...settings },
    policy: () => inForce,
    judge: (from, nowMs) => {
      const geo = { scope: 'public', country: 'US', second: null, available: true } as const
      return decideHeartbeat(inForce.snapshot, inForce.overlay, { address: from, geo }, 'automate', nowMs)
    },
  })
  const send = (from: Address, port: number, nowMs: number): Received<string> => {
    const result = made.received(`1 ${port} ${from.text}`, () => from, port, 60, nowMs)
    if (result === null) throw new Error('nothing')
    return result
  }
  return { made, send }
}

const wordOf = (result: Received<string>): string =>
  result.kind === 'refuse' ? result.refusal.reason : result.kind

test('a source opens so many at once, then so many per second; a /64 of IPv6 is one source', t => {
  const { send } = table({ newFlows: 100 })
  const opened = (from: (index: number) => Address, nowMs: number): number =>
    Array.from({ length: 30 }, (_, index) => send(from(index), 1_000 + index + nowMs, nowMs)).filter(
      ({ kind }) => kind === 'open',
    ).length
  const one = address('198.51.100.1')
  t.is(
    opened(() => one, 1_000),
    2 * BURST_S,
  )
  t.is(
    opened(() => one, 2_000),
    2,
  )
  t.is(wordOf(send(one, 9, 2_000)), 'flow-rate-source')
  t.is(
    opened(index => address(`2001:db8:1:2::${index}`), 2_000),
    2 * BURST_S,
    'many addresses of one network',
  )
  t.is(wordOf(send(address('2001:db8:1:3::1'), 9, 2_000)), 'open', 'another network')
})

test('what is refused for its source costs nobody else; known sources have their own share of the total', t => {
  const { send } = table()
  for (let index = 0; index < 5 * BURST_S; index++) send(address(`198.51.100.${index}`), 1, 1_000)
  t.is(wordOf(send(address('198.51.100.200'), 1, 1_000)), 'flow-rate-total')
  t.is(wordOf(send(address('192.0.2.7'), 1, 1_000)), 'open', 'a site')
  t.is(wordOf(send(address('198.51.100.1'), 1, 1_000)), 'forward', 'who has a flow needs no other')
})

test('sources that are remembered are forgotten when they have been quiet, and never are more than so many', t => {
  const rate = new FlowRate({ newFlows: 100_000, newFlowsPerSource: 1 })
  for (let index = 0; index < MAX_RATED_SOURCES + 500; index++) rate.take(`s${index}`, false, 1_000)
  t.is(rate.size, MAX_RATED_SOURCES)
  t.is(rate.take('s600', false, 1_500), null)
  rate.sweep(2_000)
  t.is(rate.size, 1, 'one has opened two')
  rate.sweep(3_000)
  t.is(rate.size, 0)
})

test('a clock that is set back takes nothing away', t => {
  const rate = new FlowRate({ newFlows: 10, newFlowsPerSource: 10 })
  t.is(rate.take('a', false, 1_000_000), null)
  for (let index = 1; index < 10 * BURST_S; index++) t.is(rate.take('a', false, 500_000), null)
  t.is(rate.take('a', false, 500_000), 'source')
  t.is(rate.take('a', false, 501_000), null)
})

type Agent = { readonly from: Address; port: number; nextMs: number }

for (const seed of [7, 0xbeef, 20_261]) {
  test(`simulation ${seed}: forged addresses in any number displace no agent that was answered, and keep no site out`, t => {
    const random = randomOf(seed)
    const settings = { ...SETTINGS, newFlows: 20 }
    const { made, send } = table(settings)
    const answers: { readonly flow: Flow<string>; readonly atMs: number }[] = []
    const agents = Array.from({ length: 60 }, (_, index): Agent => ({
      from: address(index < 20 ? `192.0.2.${index}` : `198.51.100.${index}`),
      port: 2_000 + index,
      nextMs: 1_000 + random(5_000),
    }))
    const openedBy = new Map<string, number>()
    let opened = 0
    let seen = { displaced: 0, doubtful: 0, total: 0, limit: 0, returned: 0 }
    const startMs = 1_000
    let forged: { readonly from: Address; readonly port: number; readonly atMs: number }[] = []
    const take = (result: Received<string>, from: Address, nowMs: number): void => {
      if (result.kind === 'open') {
        opened++
        openedBy.set(from.text, (openedBy.get(from.text) ?? 0) + 1)
      }
      if (result.kind !== 'forward' && result.ended !== null) {
        const { flow } = result.ended
        seen.displaced++
        if (flow.confirmed) seen.doubtful++
        if (flow.confirmed && flow.lastReplyMs !== null)
          throw new Error('an agent that was answered gave way')
        if (flow.known && flow.confirmed) throw new Error('an agent of a site that came again gave way')
      }
      if (result.kind === 'refuse') {
        if (result.refusal.reason === 'flow-rate-total') seen.total++
        if (result.refusal.reason === 'flow-limit-total') seen.limit++
      }
      const passedS = (nowMs - startMs) / 1_000 + BURST_S
      if (opened > 2 * settings.newFlows * passedS) throw new Error('more flows than may be opened')
      if ((openedBy.get(from.text) ?? 0) > SETTINGS.newFlowsPerSource * passedS)
        throw new Error('more flows than one source may open')
      if (made.size > SETTINGS.flows) throw new Error('more flows than may be open')
    }
    for (let nowMs = startMs; nowMs < 240_000; nowMs += 50) {
      if (nowMs % 1_000 === 0) made.tick(nowMs)
      for (const agent of agents) {
        if (agent.nextMs > nowMs) continue
        agent.nextMs = nowMs + 5_000
        // Now and then one is restarted, and sends from another port.
        if (nowMs > 60_000 && random(30) === 0) {
          agent.port += 100
          seen.returned++
        }
        const result = send(agent.from, agent.port, nowMs)
        take(result, agent.from, nowMs)
        if (result.kind === 'refuse') {
          if (nowMs > 30_000) throw new Error('an agent was refused')
        } else answers.push({ flow: result.flow, atMs: nowMs + 20 })
      }
      while (answers.length > 0 && (answers[0]?.atMs ?? 0) <= nowMs) {
        const answer = answers.shift()
        if (answer !== undefined) made.replied(answer.flow, 60, nowMs)
      }
      if (nowMs < 30_000) continue
      // The flood pauses, so that the table is full of forged ones that came twice.
      const some = nowMs % 20_000 < 12_000 ? random(40) : nowMs % 1_000 === 0 ? 1 : 0
      for (let index = some; index > 0; index--) {
        const from = address(`203.${random(256)}.${random(256)}.${random(256)}`)
        const port = 1 + random(65_535)
        const result = send(from, port, nowMs)
        take(result, from, nowMs)
        // They come a second time, so that they look like agents.
        if (result.kind === 'open') forged.push({ from, port, atMs: nowMs + 1_200 })
      }
      for (const { from, port } of forged.filter(({ atMs }) => atMs <= nowMs))
        take(send(from, port, nowMs), from, nowMs)
      forged = forged.filter(({ atMs }) => atMs > nowMs)
    }
    const alive = new Set([...made.flows()].map(({ key }) => key))
    for (const { from, port } of agents) t.true(alive.has(`1 ${port} ${from.text}`), from.text)
    for (const [what, times] of Object.entries(seen)) t.true(times > 10, `${what}: ${times}`)
  })
}
