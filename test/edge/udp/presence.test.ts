// Who is late and who is gone, on a virtual clock: by sender, by place, in all, and a seeded simulation with invariants.
import { randomOf } from '../../support/random.ts'
import test from 'ava'
import {
  MAX_NAMED,
  Presence,
  SOME_EVERY_MS,
  WHOLE_EVERY_MS,
  type PresenceReport,
  type Sender,
} from '../../../src/edge/udp/presence.ts'

const EVERY_MS = 5_000
/** Until a silent sender is reported: gone after three times, and one interval in which others may follow. */
const TOLD_MS = 4 * EVERY_MS + 2_000

type Agent = {
  -readonly [K in keyof Sender]: K extends 'total' ? { heartbeats: number } : Sender[K]
} & { isOn: boolean }

/** Agents that send every 5 s, and a clock that ticks each second. */
class World {
  readonly presence = new Presence()
  readonly agents: Agent[] = []
  readonly said: PresenceReport[] = []
  nowMs = 1_000_000

  add(count: number, site: string | null, address = '198.51.100.1'): readonly Agent[] {
    const added = Array.from({ length: count }, (_, index): Agent => {
      const key = `${this.agents.length + index}`
      const standing = { site: site === null ? null : { id: site } }
      const { nowMs } = this
      const total = { heartbeats: 1 }
      return {
        key,
        address: { text: address },
        standing,
        known: true,
        openedMs: nowMs,
        lastHeartbeatMs: nowMs,
        total,
        isOn: true,
      }
    })
    this.agents.push(...added)
    return added
  }

  run(ms: number): readonly PresenceReport[] {
    const from = this.said.length
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; this.nowMs += 1_000) {
      for (const agent of this.agents) {
        if (!agent.isOn || this.nowMs - agent.lastHeartbeatMs < EVERY_MS) continue
        agent.lastHeartbeatMs = this.nowMs
        agent.total.heartbeats++
      }
      this.said.push(...this.presence.tick(this.agents, EVERY_MS, this.nowMs))
    }
    return this.said.slice(from)
  }

  count(site: string | null) {
    return this.presence.bySite().get(site)
  }
}

const off = (agents: readonly Agent[]): void => {
  for (const agent of agents) agent.isOn = false
}
const on = (agents: readonly Agent[]): void => {
  for (const agent of agents) agent.isOn = true
}

test('late after twice the interval, gone after three times; one of a site is reported as one of them, once', t => {
  const world = new World()
  const berlin = world.add(4, 'berlin')
  t.deepEqual(world.run(60_000), [])
  t.deepEqual(world.count('berlin'), { present: 4, late: 0, gone: 0 })
  off(berlin.slice(0, 1))
  world.run(7_000)
  t.deepEqual(world.count('berlin'), { present: 3, late: 1, gone: 0 })
  const said = world.run(TOLD_MS)
  t.deepEqual(world.count('berlin'), { present: 3, late: 0, gone: 1 })
  t.like(said, [{ kind: 'some', place: { site: 'berlin' }, gone: 1, known: 4 }])
  off(berlin.slice(1, 2))
  t.deepEqual(world.run(120_000), [], 'a place is not reported again at once')
  t.like(world.run(SOME_EVERY_MS), [{ kind: 'some', gone: 2, known: 4 }])
})

test('a whole site is another thing than some of it, and than the whole gate', t => {
  const world = new World()
  const berlin = world.add(4, 'berlin')
  const bonn = world.add(6, 'bonn', '203.0.113.1')
  const lone = world.add(2, null, '203.0.113.77')
  world.run(60_000)
  off(berlin)
  t.like(world.run(TOLD_MS), [{ kind: 'place', place: { site: 'berlin' }, known: 4, others: 8 }])
  on(berlin)
  t.like(world.run(6_000), [{ kind: 'back', place: { site: 'berlin' }, known: 4, gone: 0 }])
  off(lone)
  t.like(world.run(TOLD_MS), [{ kind: 'place', place: { site: null, address: '203.0.113.77' }, known: 2 }])
  on(lone)
  world.run(10_000)

  off([...berlin, ...bonn, ...lone])
  t.deepEqual(
    world.run(TOLD_MS).map(({ kind }) => kind),
    ['all'],
    'one report, none by place',
  )
  t.true(world.presence.areAllGone)
  t.deepEqual(world.run(600_000), [], 'and none while it lasts')
  on([...bonn, ...lone])
  const back = world.run(TOLD_MS)
  t.like(back[0], { kind: 'back', place: null, known: 12, gone: 4 })
  t.like(
    back[1],
    { kind: 'place', place: { site: 'berlin' } },
    'who is still gone is a matter of the place now',
  )
  t.is(back.length, 2)
})

test('nobody is gone because this process stood still, its clock was set, or it has just started', t => {
  const world = new World()
  world.add(20, 'berlin')
  world.add(20, 'bonn', '203.0.113.1')
  world.run(60_000)
  world.nowMs += 3_600_000
  t.deepEqual(world.run(60_000), [], 'suspended for an hour')
  for (const agent of world.agents) agent.lastHeartbeatMs -= 7_200_000
  world.nowMs -= 7_200_000
  t.deepEqual(world.run(60_000), [], 'a clock that was set back')
  t.deepEqual(
    new Presence().tick(world.agents, EVERY_MS, world.nowMs + 60_000),
    [],
    'a new process expects nobody',
  )
})

test('an agent that was restarted is no agent that is gone', t => {
  const world = new World()
  const agents = world.add(3, 'berlin')
  world.run(60_000)
  off(agents.slice(0, 1))
  world.run(2_000)
  world.add(1, 'berlin')
  t.deepEqual(world.run(120_000), [])
  t.deepEqual(world.count('berlin'), { present: 3, late: 0, gone: 0 })
})

test('a sender that sent twice is not expected, nor one that nobody knows before it has sent for a minute', t => {
  const world = new World()
  const forged = world.add(5, null)
  for (const agent of forged) agent.known = false
  world.run(30_000)
  t.is(world.presence.size, 0)
  world.run(60_000)
  t.is(world.presence.size, 5)
  world.presence.forget(forged[0]?.key ?? '')
  t.is(world.presence.size, 4)
})

test('many places at once are a bounded number of reports', t => {
  const world = new World()
  const gone = Array.from({ length: 100 }, (_, index) =>
    world.add(3, `site-${index}`, `198.51.100.${index}`),
  ).flat()
  world.add(200, 'well', '203.0.113.1')
  world.run(60_000)
  off(gone)
  const said = world.run(TOLD_MS)
  t.is(said.length, MAX_NAMED + 1)
  t.like(said.at(-1), { kind: 'some', place: null, places: 100 - MAX_NAMED, gone: 3 * (100 - MAX_NAMED) })
  t.deepEqual(world.run(WHOLE_EVERY_MS), [], 'what was summed up is not told again')
})

for (const seed of [3, 0xcafe]) {
  test(`simulation ${seed}: states follow the silence, reports stay few, and what was said to be gone is said to be back`, t => {
    const random = randomOf(seed)
    const world = new World()
    const sites = Array.from({ length: 30 }, (_, index) =>
      world.add(1 + random(6), `s${index}`, `198.51.100.${index}`),
    )
    world.run(60_000)
    const toldGone = new Set<string>()
    let allGone = false
    let summedUp = false
    const seen = { some: 0, place: 0, all: 0, back: 0 }
    for (let step = 0; step < 400; step++) {
      const what = random(100)
      if (what < 4) off(world.agents)
      else if (what < 14) on(world.agents)
      else if (what < 50) off(sites[random(30)] ?? [])
      else if (what < 80) on(sites[random(30)] ?? [])
      else off((sites[random(30)] ?? []).slice(1))
      const said = world.run(1_000 * (1 + random(60)))
      t.true(said.length <= 3 * (MAX_NAMED + 1), 'few reports')
      for (const report of said) {
        seen[report.kind]++
        if (report.kind === 'some' && report.place === null) summedUp = true
        const place = 'place' in report ? (report.place?.site ?? null) : null
        if (report.kind === 'all') {
          t.false(allGone, 'said once')
          allGone = true
        } else if (report.kind === 'back' && place === null) {
          t.true(allGone, 'nobody returns who was not gone')
          allGone = false
        } else if (report.kind === 'place' && place !== null) toldGone.add(place)
        else if (report.kind === 'back' && place !== null)
          t.true(toldGone.delete(place) || summedUp, 'a place that was gone')
        if (report.kind === 'place' || report.kind === 'some')
          t.false(allGone, 'no places while all are gone')
      }
      t.is(world.presence.size, world.agents.length)
      for (const [site, { present, late, gone }] of world.presence.bySite()) {
        const own = world.agents.filter(agent => agent.standing.site?.id === site)
        t.is(present + late + gone, own.length)
        const quiet = own.filter(agent => world.nowMs - 1_000 - agent.lastHeartbeatMs >= 3 * EVERY_MS)
        t.is(gone, quiet.length, 'gone is whoever is silent for three intervals')
      }
    }
    on(world.agents)
    world.run(60_000)
    t.false(world.presence.areAllGone)
    t.deepEqual(
      [...world.presence.bySite().values()].filter(({ late, gone }) => late + gone > 0),
      [],
    )
    for (const [kind, times] of Object.entries(seen)) t.true(times > 3, `${kind}: ${times}`)
  })
}
