// The health of an upstream group: leaving at once, returning late, flapping, and a seeded simulation with a virtual clock.
import test from 'ava'
import * as fc from 'fast-check'
import {
  GroupHealth,
  MAX_HOLD_OFF_MS,
  unknownMember,
  type HealthChange,
} from '../../src/forward/health-state.ts'

const RETURN_MS = 60_000
const PROBE_MS = 5_000

function group(members: number): GroupHealth {
  return new GroupHealth(
    Array.from({ length: members }, () => unknownMember(0, RETURN_MS)),
    RETURN_MS,
  )
}

function pickAny(health: GroupHealth): number | null {
  return health.pick(() => false)
}

function bringDown(health: GroupHealth, member: number, nowMs: number): HealthChange[] {
  health.take(member, { kind: 'probe-failed', problem: 'refused' }, nowMs)
  return health.take(member, { kind: 'probe-failed', problem: 'refused' }, nowMs)
}

/** Probes the member every five seconds until it serves; returns the time. */
function probeUntilServing(health: GroupHealth, member: number, fromMs: number): number {
  for (let now = fromMs; now < fromMs + 3 * MAX_HOLD_OFF_MS; now += PROBE_MS) {
    health.take(member, { kind: 'probe-ok' }, now)
    if (health.serving === member) return now
  }
  return Infinity
}

test('an unknown group serves optimistically until the first probes', t => {
  const health = group(2)
  t.is(health.serving, 0)
  health.take(0, { kind: 'probe-ok' }, 0)
  t.is(health.records[0]?.state, 'up')
})

test('one live failure sends the next pick elsewhere, and an answer clears the suspicion without a switch', t => {
  const health = group(2)
  t.deepEqual(health.take(0, { kind: 'live-failed', problem: 'refused' }, 1), [
    { kind: 'suspected', member: 0, problem: 'refused' },
  ])
  t.is(pickAny(health), 1)
  t.is(health.serving, 0)
  t.deepEqual(health.take(0, { kind: 'probe-ok' }, 2), [])
  t.is(pickAny(health), 0)
})

test('a suspected member still serves when it is the only one', t => {
  const health = group(1)
  health.take(0, { kind: 'live-failed', problem: 'refused' }, 1)
  t.is(pickAny(health), 0)
  t.is(
    health.pick(member => member === 0),
    null,
  )
})

test('the second failure in a row switches at once, with events', t => {
  const health = group(2)
  health.take(0, { kind: 'live-failed', problem: 'refused' }, 1)
  t.deepEqual(health.take(0, { kind: 'probe-failed', problem: 'refused' }, 2), [
    { kind: 'down', member: 0, problem: 'refused' },
    { kind: 'switched', from: 0, to: 1, why: 'refused' },
  ])
  t.is(pickAny(health), 1)
})

test('traffic returns only after returnAfterMs of unbroken health', t => {
  const health = group(2)
  bringDown(health, 0, 1_000)
  t.deepEqual(health.take(0, { kind: 'probe-ok' }, 10_000), [{ kind: 'up', member: 0, downMs: 9_000 }])
  t.is(health.records[0]?.state, 'returning')
  health.take(0, { kind: 'probe-ok' }, 69_999)
  t.is(health.serving, 1)
  t.deepEqual(health.take(0, { kind: 'probe-ok' }, 70_000), [
    { kind: 'switched', from: 1, to: 0, why: 'healthy for 60 s' },
  ])
})

test('a failure during probation starts it again, longer', t => {
  const health = group(2)
  bringDown(health, 0, 0)
  health.take(0, { kind: 'probe-ok' }, 5_000)
  health.take(0, { kind: 'probe-failed', problem: 'status 503' }, 30_000)
  t.is(health.records[0]?.state, 'down')
  t.is(probeUntilServing(health, 0, 40_000), 40_000 + 2 * RETURN_MS)
})

test('the hold-off doubles with each flap up to half an hour, and half an hour of health takes a flap away', t => {
  const health = group(2)
  let now = 0
  const waits: number[] = []
  for (let flap = 0; flap < 8; flap++) {
    bringDown(health, 0, now)
    const back = probeUntilServing(health, 0, now + PROBE_MS)
    waits.push((back - now - PROBE_MS) / 1000)
    now = back + 1
  }
  t.deepEqual(waits.slice(0, 6), [60, 120, 240, 480, 960, 1800])
  now += 12 * MAX_HOLD_OFF_MS
  health.take(0, { kind: 'probe-ok' }, now)
  bringDown(health, 0, now)
  t.is(probeUntilServing(health, 0, now), now + RETURN_MS)
})

test('all down: nobody serves; the first that answers serves at once, a better one waits its time', t => {
  const health = group(2)
  bringDown(health, 0, 0)
  t.deepEqual(bringDown(health, 1, 1).at(-1), { kind: 'switched', from: 1, to: null, why: 'refused' })
  t.is(pickAny(health), null)
  health.take(1, { kind: 'probe-ok' }, 10)
  t.is(pickAny(health), 1)
  health.take(0, { kind: 'probe-ok' }, 20)
  t.is(pickAny(health), 1)
  t.is(probeUntilServing(health, 0, 20), 20 + RETURN_MS)
})

test('a late answer of a dead member does not revive it', t => {
  const health = group(2)
  bringDown(health, 0, 0)
  health.take(0, { kind: 'live-ok' }, 1)
  t.is(health.records[0]?.state, 'down')
  t.is(health.serving, 1)
})

test('answers on kept connections do not hide that new connections are refused', t => {
  const health = group(2)
  health.take(0, { kind: 'live-failed', problem: 'refused' }, 1)
  health.take(0, { kind: 'live-ok' }, 2)
  t.is(pickAny(health), 0)
  health.take(0, { kind: 'probe-failed', problem: 'refused' }, 3)
  health.take(0, { kind: 'live-ok' }, 4)
  health.take(0, { kind: 'probe-failed', problem: 'refused' }, 5)
  t.is(health.serving, 1)
})

test('a group that is carried over keeps who serves; a new preferred member proves itself first', t => {
  const before = group(2)
  bringDown(before, 0, 0)
  const kept = new GroupHealth(before.records, RETURN_MS, 1)
  t.is(kept.serving, 1)
  const grown = new GroupHealth([unknownMember(0, RETURN_MS), ...before.records.slice(1)], RETURN_MS, 1)
  t.is(grown.serving, 1)
  t.is(probeUntilServing(grown, 0, 10), 10 + RETURN_MS)
})

test('simulation: under any weather the invariants hold after each step', t => {
  const step = fc.record({
    waitMs: fc.integer({ min: 0, max: 20_000 }),
    member: fc.integer({ min: 0, max: 2 }),
    kind: fc.constantFrom('probe-ok', 'probe-ok', 'probe-ok', 'probe-failed', 'live-failed', 'live-ok'),
  })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 300 }), (members, steps) => {
      const health = group(members)
      const healthySince = Array.from({ length: members }, () => 0)
      let now = 0
      let switches = 0
      let downs = 0
      for (const { waitMs, member, kind } of steps) {
        if (member >= members) continue
        now += waitMs
        const before = health.serving
        const stateBefore = health.records[member]?.state
        const changes = health.take(member, { kind, problem: 'x' } as never, now)
        if (changes.some(change => change.kind === 'up')) healthySince[member] = now
        downs += changes.filter(change => change.kind === 'down').length
        switches += changes.filter(change => change.kind === 'switched').length
        const states = health.records.map(record => record.state)
        const serving = health.serving
        const anyAlive = states.some(state => state !== 'down')
        // All down is the only reason to serve nobody, and nobody known down serves.
        t.is(serving === null, !anyAlive)
        if (serving !== null) t.not(states[serving], 'down')
        const picked = pickAny(health)
        t.is(picked === null, !anyAlive)
        if (picked !== null) t.not(states[picked], 'down')
        // Traffic goes back to a better member only after its hold-off.
        if (before !== null && serving !== null && serving < before && states[before] !== 'down') {
          t.true(now - (healthySince[serving] ?? 0) >= RETURN_MS)
          t.is(stateBefore, 'returning')
        }
        for (const record of health.records) {
          t.true(record.holdOffMs >= RETURN_MS && record.holdOffMs <= MAX_HOLD_OFF_MS)
        }
        // Each switch has a cause: a failure, a first answer after all were down, or a return.
        t.true(switches <= 2 * downs + 1)
      }
    }),
    { numRuns: 500, seed: 20_260_101 },
  )
})

test('simulation: a member that flaps for a day is switched to a bounded number of times', t => {
  const health = group(2)
  health.take(1, { kind: 'probe-ok' }, 0)
  let switches = 0
  let good = 0
  for (let now = 0; now < 24 * 3_600_000; now += PROBE_MS) {
    // Healthy just long enough to be taken back, then gone for one probe.
    good = health.serving === 0 ? good + 1 : 0
    const failing = good > 2
    for (const kind of failing ? (['probe-failed', 'probe-failed'] as const) : (['probe-ok'] as const)) {
      const changes = health.take(0, { kind, problem: 'x' }, now)
      switches += changes.filter(change => change.kind === 'switched').length
    }
  }
  t.true(switches >= 10)
  t.true(switches <= 2 * (24 * 2 + 6), `${switches} switches`)
})
