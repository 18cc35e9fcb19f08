// A seeded simulation of a connector and its gates: gates die, come back, refuse and flap; invariants hold after every step.
import test from 'ava'
import {
  newChoice,
  noteGate,
  wantedGates,
  type ChoiceRules,
  type ChoiceState,
} from '../../src/tunnel/connector/gate-choice.ts'
import {
  NEW_LINE,
  QUICK_MS,
  stepLine,
  waitOf,
  type LineState,
} from '../../src/tunnel/connector/line-state.ts'

/** mulberry32: small, seeded, good enough to choose what breaks next. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

type SimLine = { state: LineState; dialEndsMs: number; connection: number | null }
type SimGate = { isUp: boolean; upSinceMs: number }

const STEP_MS = 50
const DIAL_MS = 100
/** A dead peer is noticed by silence within this time. */
const NOTICE_MS = 4_900

/** One connector and its gates under a virtual clock. */
class World {
  nowMs = 1_000
  readonly gates: SimGate[]
  readonly lines: SimLine[]
  readonly rules: ChoiceRules
  readonly random: () => number
  choice: ChoiceState
  dials = 0
  readonly dialsAt: number[] = []
  hangUps = 0

  constructor(gates: number, rules: ChoiceRules, random: () => number) {
    this.rules = rules
    this.random = random
    this.gates = Array.from({ length: gates }, () => ({ isUp: true, upSinceMs: 0 }))
    this.lines = this.gates.map(() => ({ state: NEW_LINE, dialEndsMs: 0, connection: null }))
    this.choice = newChoice(gates, this.nowMs)
  }

  take(index: number, fact: Parameters<typeof stepLine>[1]): void {
    const line = this.lines[index] as SimLine
    const { state, action } = stepLine(line.state, fact, this.nowMs, this.random())
    line.state = state
    if (action === 'dial') {
      this.dials++
      this.dialsAt.push(this.nowMs)
      line.dialEndsMs = this.nowMs + DIAL_MS
    } else if (action === 'hangUp') this.hangUps++
    else if (action === 'finish') {
      // What runs on it goes on without the line, however long.
      line.connection = null
      this.take(index, { kind: 'lost', afterMs: null })
      this.note(index, false)
    }
  }

  note(index: number, attached: boolean): void {
    this.choice = noteGate(this.choice, index, attached, this.nowMs)
  }

  step(): void {
    this.nowMs += STEP_MS
    for (const [index, wanted] of wantedGates(this.choice, this.rules, this.nowMs).entries())
      if (wanted !== this.lines[index]?.state.wanted) this.take(index, { kind: 'want', wanted })
    for (const [index, line] of this.lines.entries()) {
      const gate = this.gates[index] as SimGate
      const { phase } = line.state
      if (phase.is === 'waiting') this.take(index, { kind: 'time' })
      else if (phase.is === 'dialling' && this.nowMs >= line.dialEndsMs) {
        if (gate.isUp) {
          this.take(index, { kind: 'attached' })
          if (line.state.phase.is !== 'attached') continue
          line.connection = this.nowMs
          this.note(index, true)
        } else this.take(index, { kind: 'failed', afterMs: null })
      } else if (phase.is === 'attached' && !gate.isUp && this.nowMs - gate.upSinceMs > NOTICE_MS) {
        line.connection = null
        this.take(index, { kind: 'lost', afterMs: null })
        this.note(index, false)
      }
    }
  }

  attached(): number[] {
    return this.lines.flatMap(({ state }, index) => (state.phase.is === 'attached' ? [index] : []))
  }

  toggle(index: number, isUp: boolean): void {
    const gate = this.gates[index] as SimGate
    if (gate.isUp === isUp) return
    gate.isUp = isUp
    gate.upSinceMs = this.nowMs
  }
}

function checkLines(world: World): string | null {
  for (const [index, { state }] of world.lines.entries()) {
    if (state.phase.is === 'waiting' && state.phase.untilMs - world.nowMs > 15_000 * 1.25)
      return `line ${index} waits too long`
    if (state.phase.is === 'waiting' && !state.wanted) return `line ${index} waits for nobody`
    if (state.phase.is === 'finishing') return `line ${index} is held up by what runs on an older connection`
    if (state.phase.is === 'idle' && state.wanted) return `line ${index} is wanted and idle`
    const away = world.choice.attachedMs[index] === null
    if (state.phase.is === 'attached' && away) return `line ${index} is attached and counts as away`
  }
  return null
}

for (const mode of ['all', 'standby'] as const) {
  test(`${mode}: whatever happens to gates, the connector finds its way back, and states stay consistent`, t => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed)
      const gates = 1 + Math.floor(random() * 3)
      const world = new World(gates, { mode, returnAfterMs: 20_000, moveAfterMs: 5_000 }, random)
      for (let step = 0; step < 3_000; step++) {
        if (random() < 0.01) world.toggle(Math.floor(random() * gates), random() < 0.6)
        world.step()
        const problem = checkLines(world)
        if (problem !== null) return t.fail(`seed ${seed}, step ${step}: ${problem}`)
      }
      // Everything comes up and stays: after a while exactly the right gates carry the connector.
      for (let index = 0; index < gates; index++) world.toggle(index, true)
      for (let step = 0; step < 2_400; step++) world.step()
      const right = mode === 'all' ? Array.from({ length: gates }, (_, index) => index) : [0]
      t.deepEqual(world.attached(), right, `seed ${seed}`)
      // No storm: fewer dials than one in a quarter of a second per gate, over all of it.
      t.true(world.dials < (gates * 5_400 * STEP_MS) / 250, `seed ${seed}: ${world.dials} dials`)
    }
  })
}

test('standby: while any gate is up for a while, the connector is attached somewhere', t => {
  for (let seed = 100; seed < 140; seed++) {
    const random = seeded(seed)
    const world = new World(2, { mode: 'standby', returnAfterMs: 20_000, moveAfterMs: 3_000 }, random)
    for (let step = 0; step < 400; step++) world.step()
    for (let round = 0; round < 5; round++) {
      const victim = Math.floor(random() * 2)
      world.toggle(victim, false)
      world.toggle(1 - victim, true)
      // Silence is noticed, then the move, then a dial or two.
      const limitMs = NOTICE_MS + 3_000 + QUICK_MS + 4 * DIAL_MS + 500
      for (let step = 0; step < limitMs / STEP_MS; step++) world.step()
      for (let step = 0; step < 100; step++) {
        world.step()
        if (world.attached().length === 0) return t.fail(`seed ${seed}, round ${round}: attached to nothing`)
      }
    }
  }
  t.pass()
})

test('standby: a primary that flaps moves nobody to and fro, and the way back waits until it has proven itself', t => {
  const world = new World(2, { mode: 'standby', returnAfterMs: 20_000, moveAfterMs: 3_000 }, seeded(7))
  for (let step = 0; step < 100; step++) world.step()
  t.deepEqual(world.attached(), [0])
  world.toggle(0, false)
  for (let step = 0; step < 400; step++) world.step()
  t.deepEqual(world.attached(), [1])
  // Up for 15 s, down for 10 s: never long enough.
  for (let round = 0; round < 6; round++) {
    world.toggle(0, true)
    for (let step = 0; step < 15_000 / STEP_MS; step++) {
      world.step()
      t.true(world.attached().includes(1))
    }
    world.toggle(0, false)
    for (let step = 0; step < 10_000 / STEP_MS; step++) world.step()
    t.true(world.attached().includes(1))
  }
  world.toggle(0, true)
  for (let step = 0; step < 30_000 / STEP_MS; step++) world.step()
  t.deepEqual(world.attached(), [0])
})

test('a restart is no reason to move: the primary is found again in under 3 s', t => {
  for (let seed = 1; seed <= 200; seed++) {
    const world = new World(2, { mode: 'standby', returnAfterMs: 20_000, moveAfterMs: 5_000 }, seeded(seed))
    for (let step = 0; step < 400; step++) world.step()
    // The gate says goodbye, so nobody waits for silence.
    world.toggle(0, false)
    world.take(0, { kind: 'lost', afterMs: null })
    world.note(0, false)
    for (let step = 0; step < 1_500 / STEP_MS; step++) world.step()
    world.toggle(0, true)
    const upMs = world.nowMs
    while (!world.attached().includes(0)) world.step()
    t.true(world.nowMs - upMs < 3_000, `seed ${seed}: ${world.nowMs - upMs} ms`)
    t.deepEqual(world.attached(), [0])
  }
})

test('waits spread, grow with the outage, and obey what the gate asks for', t => {
  t.true(waitOf(1, 0, null, 0) >= 50)
  for (let failures = 1; failures < 40; failures++) {
    for (const random of [0, 0.5, 0.999]) {
      t.true(waitOf(failures, 30_000, null, random) <= QUICK_MS)
      t.true(waitOf(failures, 700_000, null, random) <= 15_000)
    }
  }
  t.true(waitOf(20, 700_000, null, 0.9) > QUICK_MS)
  t.true(waitOf(1, 0, 30_000, 0) >= 30_000)
  t.true(waitOf(1, 0, 30_000, 0.99) > 37_000)
})

test('a line that is thrown out right after it attached waits longer and longer', t => {
  let nowMs = 0
  let state = stepLine(NEW_LINE, { kind: 'want', wanted: true }, nowMs, 0.5).state
  const waits: number[] = []
  for (let round = 0; round < 6; round++) {
    state = stepLine(state, { kind: 'attached' }, nowMs, 0.5).state
    nowMs += 100
    state = stepLine(state, { kind: 'lost', afterMs: null }, nowMs, 0.5).state
    if (state.phase.is !== 'waiting') return t.fail()
    waits.push(state.phase.untilMs - nowMs)
    nowMs = state.phase.untilMs
    state = stepLine(state, { kind: 'time' }, nowMs, 0.5).state
  }
  t.true((waits.at(-1) ?? 0) > 4 * (waits[0] ?? 0))
})
