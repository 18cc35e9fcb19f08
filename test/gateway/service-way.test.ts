// The way of an operator over several gates, with gates by hand and a clock by hand: who is asked, in which order, and who is not.
import { EventEmitter } from 'node:events'
import * as fc from 'fast-check'
import test from 'ava'
import { PortcullisError } from '../../src/policy/error.ts'
import type { GateSession, TunnelStream } from '../../src/tunnel/h2/gate-session.ts'
import {
  askOrder,
  gatesToLookAt,
  hasBetter,
  newOrder,
  noteOutcome,
  type GateOutcome,
} from '../../src/tunnel/operator/gate-order.ts'
import type { OperatorClient } from '../../src/tunnel/operator/operator-client.ts'
import { createServiceWay } from '../../src/tunnel/operator/service-way.ts'

const error = (code: string, status?: number): PortcullisError =>
  new PortcullisError(code, {
    code,
    side: 'upstream',
    remedy: 'none',
    ...(status === undefined ? {} : { status }),
  })

/** A gate by hand. */
class FakeGate implements OperatorClient {
  readonly place: string
  /** What it answers to the next questions; null: it lets them through. */
  refuses: Error | null = null
  asked = 0
  readonly sessions: { streams: number; open: boolean; finished: boolean; break: (why: string) => void }[] =
    []

  constructor(place: string) {
    this.place = place
  }

  readonly look = async (): Promise<void> => {
    if (this.refuses !== null) throw this.refuses
  }
  readonly ask = (): Promise<unknown> => Promise.reject(new Error('not asked here'))
  readonly connect: OperatorClient['connect'] = async () => {
    this.asked++
    if (this.refuses !== null) throw this.refuses
    const closed = Promise.withResolvers<string>()
    const state = {
      streams: 0,
      open: true,
      finished: false,
      break: (why: string) => ((state.open = false), closed.resolve(why)),
    }
    this.sessions.push(state)
    const session: GateSession = {
      open: () => {
        if (!state.open) throw error('client-gone', 502)
        state.streams++
        const stream = new EventEmitter()
        queueMicrotask(() => stream.emit('connect'))
        return stream as unknown as TunnelStream
      },
      streams: () => state.streams,
      finish: () => (state.finished = true),
      end: why => state.break(why),
      isOpen: () => state.open && !state.finished,
    }
    return { session, closed: closed.promise }
  }
}

function world(count = 2) {
  const gates = Array.from({ length: count }, (_, index) => new FakeGate(`gate-${index}`))
  const clock = { nowMs: 0 }
  const said: string[] = []
  const ticks = new Set<() => void>()
  let onWait: () => void = () => undefined
  const way = createServiceWay(gates, 'PC', 'rdp', {
    nowMs: () => clock.nowMs,
    wait: async ms => {
      clock.nowMs += ms
      onWait()
    },
    every: (_ms, tick) => {
      ticks.add(tick)
      return () => ticks.delete(tick)
    },
    lost: why => said.push(`lost: ${why}`),
    left: (gate, why) => said.push(`left ${gate}: ${why}`),
    moved: gate => said.push(`moved to ${gate}`),
  })
  const carried = (): number[] =>
    gates.map(gate => gate.sessions.reduce((sum, { streams }) => sum + streams, 0))
  /** Lets the way look at its gates, and hear what they say. */
  const look = async (): Promise<void> => {
    for (const tick of ticks) tick()
    await new Promise(setImmediate)
  }
  return { gates, clock, said, way, carried, look, whenWaiting: (work: () => void) => (onWait = work) }
}

const breaking = async (gate: FakeGate | undefined, why: string): Promise<void> => {
  gate?.sessions.at(-1)?.break(why)
  await Promise.resolve()
}

test('what one gate says decides whether another is asked', async t => {
  const rows: readonly (readonly [PortcullisError, boolean])[] = [
    [error('network-unreachable'), true],
    [error('network-broken'), true],
    [error('gate-alert'), true],
    [error('gate-untrusted'), true],
    [error('proxy-refused'), true],
    [error('draining', 503), true],
    [error('login-busy', 503), true],
    [error('client-unknown', 404), true],
    // Who asks, or what is asked for: no other gate hears of it.
    [error('login-refused', 401), false],
    [error('login-held', 429), false],
    [error('role-too-weak', 403), false],
    [error('source-banned', 403), false],
    [error('service-unknown', 404), false],
    [error('proxy-login'), false],
    [error('proxy-unreachable'), false],
  ]
  for (const [refusal, goesOn] of rows) {
    const { gates, way, carried } = world()
    if (gates[0] !== undefined) gates[0].refuses = refusal
    if (goesOn) await way.open()
    else await t.throwsAsync(way.open(), { message: refusal.code })
    t.deepEqual([gates[1]?.asked, carried()[1]], goesOn ? [1, 1] : [0, 0], refusal.code)
    way.close()
  }
})

test('credentials that the standby refuses while the primary is away are an answer, not a reason to go on', async t => {
  const { gates, way } = world(3)
  if (gates[0] !== undefined) gates[0].refuses = error('network-unreachable')
  if (gates[1] !== undefined) gates[1].refuses = error('login-refused', 401)
  await t.throwsAsync(way.open(), { message: 'login-refused' })
  t.is(gates[2]?.asked, 0)
  way.close()
})

test('a primary that breaks is left, and is back for what is new; nothing in progress is ended', async t => {
  const { gates, said, way, carried, clock, look } = world()
  const [primary, standby] = gates
  if (primary === undefined || standby === undefined) return t.fail()
  await way.open()
  await way.open()
  t.is(primary.asked, 1)
  primary.refuses = error('network-unreachable')
  await breaking(primary, 'nothing was heard')
  await way.open()
  await way.open()
  t.deepEqual(carried(), [2, 2])
  // Nobody waits for the primary while it is away.
  t.is(primary.asked, 1)
  primary.refuses = null
  await look()
  await way.open()
  t.deepEqual(carried(), [2, 3], 'not yet: looked at a second after it broke')
  clock.nowMs += 1_000
  await look()
  await way.open()
  t.deepEqual(carried(), [3, 3])
  t.deepEqual(said, ['left gate-0: nothing was heard', 'moved to gate-1', 'moved to gate-0'])
  t.like(standby.sessions[0], { open: true, finished: true })
  way.close()
})

test('while the client changes gates, connections wait for it, but not for ever, and not the first one', async t => {
  const { gates, way, carried, whenWaiting, clock } = world()
  const [primary, standby] = gates
  if (primary === undefined || standby === undefined) return t.fail()
  const absent = error('client-unknown', 404)
  primary.refuses = absent
  standby.refuses = absent
  await t.throwsAsync(way.open(), { message: 'client-unknown And: client-unknown' })
  t.is(clock.nowMs, 0)
  clock.nowMs += 10_000
  primary.refuses = null
  await way.open()
  primary.refuses = error('network-unreachable')
  await breaking(primary, 'gone')
  let waits = 0
  whenWaiting(() => {
    if (++waits === 8) standby.refuses = null
  })
  await way.open()
  t.deepEqual(carried(), [1, 1])
  standby.refuses = absent
  await breaking(standby, 'gone')
  const before = clock.nowMs
  waits = 100
  await t.throwsAsync(way.open(), { message: 'client-unknown' })
  t.is(clock.nowMs - before, 15_000)
  way.close()
})

test('one gate: a broken way is made anew, its loss is told, and there is nobody to wait for', async t => {
  const { gates, way, said, carried } = world(1)
  await way.open()
  await breaking(gates[0], 'the client has gone')
  await way.open()
  t.deepEqual([carried(), said], [[2], ['lost: the client has gone']])
  if (gates[0] !== undefined) gates[0].refuses = error('client-unknown', 404)
  await breaking(gates[0], 'again')
  await t.throwsAsync(way.open(), { message: 'client-unknown' })
  way.close()
})

test('whatever gates do, the order names each that is there once, good ones first, and one that is away is looked at for ever', t => {
  const step = fc.record({
    gate: fc.nat(2),
    is: fc.constantFrom<GateOutcome>('good', 'away', 'absent'),
    afterMs: fc.nat(20_000),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let order = newOrder(3)
      let nowMs = 0
      for (const { gate, is, afterMs } of steps) {
        nowMs += afterMs
        order = noteOutcome(order, gate, is, nowMs)
        const asked = askOrder(order, nowMs)
        const there = [...order.keys()].filter(entry => order[entry]?.is !== 'away')
        t.deepEqual(
          asked.toSorted((one, other) => one - other),
          there.length === 0 ? [0, 1, 2] : there,
        )
        const good = asked.filter(entry => order[entry]?.is === 'good')
        t.deepEqual(
          good,
          [...good].toSorted((one, other) => one - other),
        )
        const [first = 0] = asked
        if (good.length > 0) t.not(order[first]?.is, 'away')
        t.is(
          hasBetter(order, 2, nowMs),
          first < 2 && order[first]?.is !== 'away' && (order[first]?.againMs ?? 0) <= nowMs,
        )
        const due = gatesToLookAt(order, nowMs + 15_000)
        t.deepEqual(
          due,
          [...order.keys()].filter(entry => order[entry]?.is === 'away'),
        )
      }
    }),
  )
})
