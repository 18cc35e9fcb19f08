// N8 with real processes: two gates, a connector between them, and live sessions through a planned and an abrupt move.
import { freePort } from '../support/free-port.ts'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import anyTest, { type ExecutionContext } from 'ava'
import { addKey, addOperator, removeKey } from '../../src/access/edit.ts'
import { createOperatorClient } from '../../src/tunnel/operator/operator-client.ts'
import { createServiceWay, type ServiceWay } from '../../src/tunnel/operator/service-way.ts'
import type { TunnelStream } from '../../src/tunnel/h2/gate-session.ts'
import { testAuthority } from '../support/certificates.ts'
import { runGate, type RunningGate } from '../support/gate-process.ts'
import { AGENT_NAME, policyDirectory, usualPolicy } from '../support/whole-gate.ts'
import { service } from '../tunnel/harness.ts'
import { connectorDirectory, startConnectorProcess, type ConnectorProcess } from '../tunnel/process.ts'

// One after the other: a gate that waits for the processor looks dead to its connectors.
const test = anyTest.serial

const KEY = 'correct horse battery'
const PASSWORD = 'a password of alice'

/** A gate that keeps its port and its directory from process to process. */
class Place {
  readonly port: number
  readonly #directory: string
  readonly accessFile: string
  #running: RunningGate | null = null

  constructor(directory: string, port: number) {
    this.#directory = directory
    this.accessFile = join(directory, 'state/access.json')
    this.port = port
  }

  get running(): RunningGate {
    if (this.#running === null) throw new Error('it was never started')
    return this.#running
  }

  async start(): Promise<void> {
    this.#running = await runGate(this.#directory, ['direct'])
  }

  async remove(): Promise<void> {
    this.#running?.signal('SIGKILL')
    await this.#running?.ended
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

async function place(t: ExecutionContext): Promise<Place> {
  const port = await freePort()
  const directory = await policyDirectory({
    ...usualPolicy({ primary: 'http://127.0.0.1:9' }),
    listeners: { direct: { address: `127.0.0.1:${port}` } },
    rules: { packs: [] },
    limits: { drain: '120s' },
  })
  const file = join(directory, 'state/access.json')
  await addKey(file, KEY, { name: 'head-office', maxClients: null }, Date.now())
  await addOperator(file, PASSWORD, { name: 'alice', role: 'support', keys: null, sites: null }, Date.now())
  const made = new Place(directory, port)
  t.teardown(() => made.remove())
  await made.start()
  return made
}

async function connector(
  t: ExecutionContext,
  gates: readonly Place[],
  more: Readonly<Record<string, unknown>>,
): Promise<ConnectorProcess> {
  const echo = await service(t, socket => socket.pipe(socket))
  const settings = {
    gates: gates.map(({ port }) => ({
      url: `https://${AGENT_NAME}:${port}`,
      address: '127.0.0.1',
      ca: 'ca.pem',
    })),
    services: { echo: { tcp: `127.0.0.1:${echo}` } },
    ...more,
  }
  const file = connectorDirectory(settings, KEY, { 'ca.pem': await testAuthority() })
  const running = startConnectorProcess(file)
  t.teardown(() => running[Symbol.asyncDispose]())
  return running
}

const placeOf = ({ port }: Place): string => `${AGENT_NAME}:${port}`

const PACE_MS = 2

/** A session of an operator through which data flows all the time. */
class Flow {
  readonly #stream: TunnelStream
  #rounds = 0
  isOver = false

  constructor(stream: TunnelStream) {
    this.#stream = stream
    let next = 1
    stream.on('data', (chunk: Buffer) => {
      // Every byte must come back once and in order.
      for (const byte of chunk) {
        if (byte !== next % 251) stream.destroy(new Error('out of order'))
        next++
        this.#rounds++
        // At a pace: several such flows as fast as they can go would keep the gates from what they are watched for.
        setTimeout(() => {
          if (!stream.writableEnded && !stream.destroyed) stream.write(Buffer.of(next % 251))
        }, PACE_MS)
      }
    })
    stream.on('error', () => undefined)
    stream.once('close', () => (this.isOver = true))
    stream.write(Buffer.of(1))
  }

  /** Resolves when this many more rounds have gone through. @throws when it has ended */
  async flows(rounds = 50): Promise<boolean> {
    const goal = this.#rounds + rounds
    while (this.#rounds < goal && !this.isOver) await this.#next()
    return !this.isOver
  }

  end(): void {
    this.#stream.end()
  }

  async ended(): Promise<void> {
    while (!this.isOver) await this.#next()
  }

  /** Resolves with the next data or the end of it, however it ends. */
  #next(): Promise<void> {
    return new Promise(resolve => {
      const look = (): void => {
        this.#stream.off('data', look).off('close', look)
        resolve()
      }
      this.#stream.on('data', look).on('close', look)
    })
  }
}

/** The way of an operator over one gate or several, the primary first. Words about gates go to `said`. */
async function wayOver(
  t: ExecutionContext,
  places: readonly Place[],
  said: string[] = [],
): Promise<ServiceWay> {
  const caPem = await testAuthority()
  const operators = places.map(({ port }) =>
    createOperatorClient({
      gate: { host: AGENT_NAME, port, address: '127.0.0.1', pinsSha256: [], caPem },
      proxy: null,
      credentials: { operator: 'alice', password: PASSWORD, key: KEY },
      monotonicMs: () => performance.now(),
      dialMs: 4_000,
    }),
  )
  const way = createServiceWay(operators, 'rmm', 'echo', {
    nowMs: () => performance.now(),
    wait: ms => wait(ms),
    every: (ms, tick) => {
      const timer = setInterval(tick, ms)
      return () => clearInterval(timer)
    },
    lost: () => undefined,
    left: gate => said.push(`left ${gate}`),
    moved: gate => said.push(`moved to ${gate}`),
  })
  t.teardown(() => way.close())
  return way
}

async function session(t: ExecutionContext, at: Place): Promise<Flow> {
  return new Flow(await (await wayOver(t, [at])).open())
}

test('N8: clients move to the standby and back, by plan and by accident, and no session is disturbed that a gate still carries', async t => {
  const [primary, standby] = [await place(t), await place(t)]
  const at = (gate: Place, count: number): Promise<unknown> =>
    gate.running.lines.next(
      'client.connected',
      () => gate.running.lines.of('client.connected').length >= count,
    )
  const running = await connector(t, [primary, standby], {
    use: 'standby',
    moveAfter: '1s',
    returnAfter: '2s',
  })
  await at(primary, 1)
  const first = await session(t, primary)
  t.true(await first.flows())
  // An operator who named both gates: every new connection is carried, whatever happens to them.
  const said: string[] = []
  const both = await wayOver(t, [primary, standby], said)
  const flows = [new Flow(await both.open())]
  t.true(await flows[0]?.flows())

  // By plan: the primary is told to end. What runs on it goes on there, what is new goes to the standby.
  primary.running.signal('SIGTERM')
  await at(standby, 1)
  t.true(await first.flows())
  const second = await session(t, standby)
  t.true((await first.flows()) && (await second.flows()))
  flows.push(new Flow(await both.open()))
  t.true((await flows[0]?.flows()) && (await flows[1]?.flows()))
  flows.shift()?.end()
  first.end()
  t.deepEqual(await primary.running.ended, { code: 0, signal: null })
  t.is((await primary.running.lines.next('gate.stopped')).connectionsCut, 0)

  // The primary is back, proves itself, and has the client again. The session on the standby goes on.
  await primary.start()
  await at(primary, 1)
  await running.next('gate.left')
  await standby.running.lines.next('client.disconnected')
  await t.throwsAsync(session(t, standby), { message: /No client rmm is attached/ })
  const third = await session(t, primary)
  // The way is back at the primary for what is new; what runs through the standby stays there.
  while (said.at(-1) !== `moved to ${placeOf(primary)}`) {
    const probe = new Flow(await both.open())
    t.true(await probe.flows(1))
    probe.end()
    await probe.ended()
  }
  flows.push(new Flow(await both.open()))
  t.true((await flows[0]?.flows()) && (await flows[1]?.flows()))
  t.true((await second.flows()) && (await third.flows()))

  // By accident: the primary dies, and with it the session through it. The client is at the standby again although an
  // older connection there still carries a session.
  primary.running.signal('SIGKILL')
  await third.ended()
  await at(standby, 2)
  await flows.pop()?.ended()
  // Right after the death: the connection waits until the client is at the standby, and is carried.
  const fourth = await session(t, standby)
  flows.push(new Flow(await both.open()))
  t.true((await flows[0]?.flows()) && (await flows[1]?.flows()))
  t.true((await second.flows()) && (await fourth.flows()))

  await primary.start()
  await at(primary, 1)
  await running.next('gate.left', 2)
  const fifth = await session(t, primary)
  t.true((await flows[0]?.flows()) && (await flows[1]?.flows()))
  t.deepEqual(
    said.filter(text => text.startsWith('moved')),
    [standby, primary, standby].map(at => `moved to ${placeOf(at)}`),
  )
  for (const flow of flows) flow.end()
  t.true((await second.flows()) && (await fourth.flows()) && (await fifth.flows()))
  second.end()
  await second.ended()
  t.true((await fourth.flows()) && (await fifth.flows()))

  // The client has left the standby, and its session there is still a session of the key.
  removeKey(standby.accessFile, 'head-office', Date.now())
  standby.running.signal('SIGHUP')
  await fourth.ended()
  t.true(await fifth.flows())
})

test('a gate that restarts has its connector again, without a person and without a wait that grows', async t => {
  const gate = await place(t)
  const running = await connector(t, [gate], {})
  await running.next('gate.attached')
  for (const [count, signal] of (['SIGTERM', 'SIGKILL'] as const).entries()) {
    gate.running.signal(signal)
    await gate.running.ended
    const downMs = performance.now()
    await gate.start()
    const upMs = performance.now()
    await running.next('gate.attached', count + 2)
    t.log(
      `${signal}: ${Math.round(upMs - downMs)} ms away, attached ${Math.round(performance.now() - upMs)} ms after it listened`,
    )
    const flow = await session(t, gate)
    t.true(await flow.flows(20))
    flow.end()
    await flow.ended()
  }
  const said = running.lines.map(({ event }) => event).filter(event => event !== 'gate.unreachable')
  t.deepEqual(said, [
    'connector.started',
    'identity.made',
    'gate.attached',
    'gate.lost',
    'gate.attached',
    'gate.lost',
    'gate.attached',
  ])
})
