// Connections of one tunnel overtake each other: what the gate said first on one may arrive after what it said later on another.
import { Duplex } from 'node:stream'
import test from 'ava'
import { parseAddress } from '../../../src/net/address.ts'
import type { OpenServiceSocket, ServiceSocketHandlers } from '../../../src/tunnel/udp/connector-sockets.ts'
import { createConnectorUdp } from '../../../src/tunnel/udp/connector-udp.ts'
import { LINGER_MS } from '../../../src/tunnel/udp/gate-flow.ts'
import { createUdpTunnels, type UdpContext } from '../../../src/tunnel/udp/gate-tunnels.ts'
import { CLIENT, TARGET } from './harness.ts'

/** mulberry32: small, seeded, good enough to choose what arrives next. */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** One end of a connection. What it writes stays on the way until the test delivers it. */
class End extends Duplex {
  readonly onTheWay: Uint8Array[] = []
  other: End | null = null

  override _read(): void {
    // The test pushes.
  }

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.onTheWay.push(chunk)
    done()
  }

  /** Lets the other end have the next piece. */
  deliver(): void {
    const piece = this.onTheWay.shift()
    if (piece !== undefined) this.other?.push(piece)
  }
}

type Service = { readonly handlers: ServiceSocketHandlers; readonly got: string[]; isClosed: boolean }
type Agent = {
  readonly way: UdpContext
  sent: number
  /** Answers by what they answer. */
  readonly answers: Map<string, number>
}

/** A gate and a connector with a virtual clock, no sockets, and a way between them that the test controls. */
class World {
  nowMs = 1_000
  readonly services: Service[] = []
  readonly ends: End[] = []
  readonly agents: Agent[] = []
  readonly problems: string[] = []
  readonly #open: OpenServiceSocket = (_settings, _local, handlers) => {
    const service: Service = { handlers, got: [], isClosed: false }
    this.services.push(service)
    setImmediate(handlers.onConnected)
    return {
      send: payload => service.got.push(Buffer.from(payload).toString()),
      close: () => {
        service.isClosed = true
      },
      getSendQueueSize: () => 0,
    }
  }
  readonly #tunnels = createUdpTunnels(
    () => this.nowMs,
    () => this.nowMs,
    problem => this.problems.push(problem),
  )
  readonly #connector = createConnectorUdp(
    [
      {
        name: 'heartbeat',
        host: '127.0.0.1',
        port: 9,
        contexts: 100,
        idleMs: 300_000,
        loopbackPerClient: false,
      },
    ],
    { onTrouble: () => undefined, onFull: () => this.problems.push('full') },
    () => this.nowMs,
    this.#open,
  )

  dial(): void {
    const [gate, connector] = [new End(), new End()]
    gate.other = connector
    connector.other = gate
    this.ends.push(gate, connector)
    this.#tunnels.attach({ client: CLIENT, socket: gate, early: Buffer.alloc(0), leave: () => undefined })
    this.#connector.join(connector, Buffer.alloc(0), ({ text }) => this.problems.push(text))
  }

  addAgent(): void {
    const address = parseAddress(`198.51.100.${this.agents.length + 1}`)
    if (address === undefined) throw new Error('no address')
    const answers = new Map<string, number>()
    const way = this.#tunnels.open(
      TARGET,
      { address, port: 4_000 },
      {
        onDatagram: payload => {
          const text = Buffer.from(payload).toString()
          answers.set(text, (answers.get(text) ?? 0) + 1)
        },
        onRefused: () => this.problems.push('refused'),
        onDisplaced: () => this.problems.push('displaced'),
        onTrouble: () => this.problems.push('trouble'),
      },
    )
    this.agents.push({ way, sent: 0, answers })
  }

  send(agent: Agent | undefined): void {
    if (agent !== undefined) agent.way.send(Buffer.from(`${this.agents.indexOf(agent)}:${++agent.sent}`))
  }

  answer(service: Service | undefined): void {
    const text = service?.got.shift()
    if (service !== undefined && text !== undefined && !service.isClosed)
      service.handlers.onMessage(Buffer.from(text))
  }

  /** Lets everything happen that waits for a turn of the event loop. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) {
      this.nowMs += 5
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  /** Lets everything arrive. */
  async drain(): Promise<void> {
    for (let quiet = 0; quiet < 2;) {
      await this.settle()
      const isBusy =
        this.ends.some(end => end.onTheWay.length > 0) || this.services.some(({ got }) => got.length > 0)
      quiet = isBusy ? 0 : quiet + 1
      for (const end of this.ends) end.deliver()
      for (const service of this.services) this.answer(service)
    }
  }

  contexts(): number {
    return this.#tunnels.state(TARGET).contexts
  }

  /** What was not answered exactly once. */
  wrong(): readonly string[] {
    return this.agents.flatMap(({ sent, answers }, index) =>
      Array.from({ length: sent }, (_, at) => `${index}:${at + 1}`).filter(text => answers.get(text) !== 1),
    )
  }

  close(): void {
    this.#connector.close('the test is over')
    this.#tunnels.close('the test is over')
    for (const end of this.ends) end.destroy()
  }
}

test('connections come while agents send, and deliver in any order: every datagram is answered once, from one port', async t => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = seeded(seed)
    const world = new World()
    world.dial()
    await world.drain()
    for (let step = 0; step < 120; step++) {
      const what = random(100)
      if (what < 4 && world.ends.length < 8) world.dial()
      else if (what < 10 && world.agents.length < 8) world.addAgent()
      else if (what < 40) world.send(world.agents[random(Math.max(1, world.agents.length))])
      else if (what < 85) world.ends[random(world.ends.length)]?.deliver()
      else if (what < 99) world.answer(world.services[random(Math.max(1, world.services.length))])
      else {
        // What is on its way for longer than a left place is kept may be lost.
        await world.drain()
        world.nowMs += LINGER_MS
      }
      await world.settle()
    }
    await world.drain()
    for (const agent of world.agents) world.send(agent)
    await world.drain()
    t.deepEqual(world.wrong(), [], `seed ${seed}`)
    world.nowMs += LINGER_MS
    for (const agent of world.agents) world.send(agent)
    await world.drain()
    t.is(world.contexts(), world.agents.length, `seed ${seed}: places that were left are closed`)
    t.is(world.services.length, world.agents.length, `seed ${seed}: one port for each agent, for ever`)
    t.deepEqual(world.problems, [], `seed ${seed}`)
    world.close()
  }
})
