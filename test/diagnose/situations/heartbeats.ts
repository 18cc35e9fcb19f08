// Situations of heartbeats over UDP: every limit, heartbeats that stop while check-ins go on, and all of it that stops.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { until } from '../../support/whole-gate.ts'
import type { Scene, Situation } from '../stage.ts'
import { AGENT, diagnose } from '../support.ts'

const HOUR_MS = 3_600_000
const HEARTBEAT = 'PRACTICE HEARTBEAT'
const LONG = `${HEARTBEAT} ${'x'.repeat(60)}`

const listener =
  (keys = ''): NonNullable<Situation['policy']> =>
  (_, { bench }) =>
    `geo: { loopback: allow }\nheartbeats: { automate: { address: '127.0.0.1:0', upstream: '127.0.0.1:${bench.practice.udpPort}', ${keys} } }`

const stateOf = ({ bench }: Scene) => bench.portcullis.heartbeats.states()[0]

async function sender({ source, teardown }: Scene, from = source): Promise<Socket> {
  const socket = createSocket('udp4')
  teardown(() => void socket.close())
  socket.bind(0, from)
  await once(socket, 'listening')
  return socket
}

/** Sends a heartbeat and waits for its reply. */
async function beat(scene: Scene, socket: Socket): Promise<void> {
  const { replies = 0 } = stateOf(scene) ?? {}
  send(scene, socket)
  await until(() => (stateOf(scene)?.replies ?? 0) > replies)
}

function send({ bench }: Scene, socket: Socket, text = HEARTBEAT): void {
  socket.send(text, bench.portcullis.heartbeats.addresses()[0]?.port ?? 0, '127.0.0.1')
}

/** Sends one, and waits until the relay has said so in the journal, which it does after a while. */
async function beats(scene: Scene): Promise<boolean> {
  const before = stateOf(scene)?.sites[0]?.heartbeats ?? 0
  await beat(scene, await sender(scene))
  scene.bench.advance(24_000)
  await until(() => (stateOf(scene)?.sites[0]?.heartbeats ?? 0) > before)
  return true
}

/** Sends what is refused, and waits until that is known. */
async function sendRefused(scene: Scene, text?: string): Promise<void> {
  send(scene, await sender(scene), text)
  await until(async () => /refused on/.test((await diagnose(scene.bench, scene.source)).sentence))
}

/** As many senders as there is room for, and one more. A sender that has come back never gives way to another. */
const crowd =
  (count: number, from?: string): Situation['happen'] =>
  async scene => {
    // Those of the situation before are forgotten a moment after the clock has moved on.
    await until(() => stateOf(scene)?.flows === 0)
    const sockets = await Promise.all(Array.from({ length: count }, () => sender(scene, from)))
    for (const socket of sockets) await beat(scene, socket)
    scene.bench.advance(5_000)
    for (const socket of sockets) await beat(scene, socket)
    await sendRefused(scene)
  }

const CROWDED = {
  place: 'here',
  cause: 'capacity',
  mend: 'try',
  // Heartbeats alone mean that check-ins go elsewhere: this agent does both.
  retry: async (scene: Scene) => (await beats(scene)) && (await scene.openssl()),
} as const

export const HEARTBEAT_SITUATIONS: readonly Situation[] = [
  {
    ...CROWDED,
    title: 'heartbeats: as many senders as one address may have',
    policy: listener('flowsPerSource: 2'),
    happen: crowd(2),
    sentence:
      /^Heartbeats of .* were refused on automate once because the address has too many heartbeat flows/,
    shown: /2 of 2/,
    steps: /so many agents stand behind this address/,
  },
  {
    ...CROWDED,
    title: 'heartbeats: as many senders as the listener takes',
    policy: listener('flows: 10'),
    happen: crowd(10, '127.0.8.10'),
    sentence: /were refused on automate once because the heartbeats listener has reached its number of flows/,
    shown: /10 of 10/,
    steps: /LimitNOFILE/,
  },
  {
    title: 'heartbeats: larger than the listener takes',
    place: 'here',
    policy: listener('datagramSize: 64B'),
    happen: scene => sendRefused(scene, LONG),
    cause: 'body',
    sentence: /were refused on automate once because the datagram is larger than heartbeats are/,
    mend: 'try',
    retry: async scene => {
      send(scene, await sender(scene), LONG)
      return (await beats(scene)) && (await scene.openssl())
    },
  },
  {
    title: 'heartbeats stop while check-ins go on: a firewall drops UDP',
    place: 'here',
    policy: listener(),
    happen: async scene => {
      await beats(scene)
      scene.bench.advance(3 * HOUR_MS)
      return scene.openssl()
    },
    cause: 'heartbeats-stopped',
    sentence: /checks in, but none of its heartbeats has come since .*drops UDP port \d+ now/,
    steps: /bin\/diagnose --probe https:\/\/rmm\.example\.test --heartbeat \d+/,
    mend: () => Promise.resolve(),
    retry: beats,
  },
  {
    title: 'heartbeats and check-ins stop: gone quiet, not healthy',
    place: 'here',
    policy: listener(),
    happen: async scene => {
      await beats(scene)
      await scene.openssl()
      scene.bench.advance(3 * HOUR_MS)
      return scene.bench.ask('216.160.82.58', AGENT)
    },
    cause: 'gone-quiet',
    sentence: /came through until .* and is silent since\. Agents of 1 other address do come/,
    mend: () => Promise.resolve(),
    retry: async scene => (await beats(scene)) && (await scene.openssl()),
  },
]
