// Forwards for invitations with real sockets: two PCs with the same port, who may connect, replies over UDP, and the end.
import { randomInt } from 'node:crypto'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { NO_CONNECTORS } from '../../src/forward/upstream-socket.ts'
import { createInvitationParts } from '../../src/invitation-parts.ts'
import { createInvitationRelays } from '../../src/invitation-relays.ts'
import { addressScope } from '../../src/net/address.ts'
import {
  forwardDatagrams,
  type InvitationForward,
  type InvitationPolicy,
} from '../../src/policy/invitations.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import type { StreamPartsOptions } from '../../src/stream-parts.ts'
import { startStreams } from '../edge/tcp/harness.ts'
import { at, cidr } from '../support/snapshot.ts'

// Below the ports that the system gives to others: a UDP socket of another test on all addresses would hold it here, too.
const PC_PORT = 21_930

/** A loopback address that nobody else uses. */
const ownHost = (): string => `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(2, 255)}`

/** A PC: over TCP it answers with its name, over UDP with its name and as many bytes as it is asked for. */
async function startPc(t: ExecutionContext, host: string, port: number, name: string): Promise<void> {
  const tcp = createServer(socket => {
    socket.on('error', () => undefined)
    socket.on('data', data => socket.write(`${name} ${data.toString()}`))
  }).listen(port, host)
  const udp = createSocket('udp4').bind(port, host)
  udp.on('message', (data, from) =>
    udp.send(`${name} ${'x'.repeat(Number(data.toString()))}`, from.port, from.address),
  )
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')])
  t.teardown(() => {
    tcp.close()
    udp.close()
  })
}

async function dialled(t: ExecutionContext, host: string, port: number): Promise<Socket> {
  const socket = connect({ host, port })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

async function isReset(t: ExecutionContext, host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  return await closed(socket)
}

/** Whether it ended by an error. */
function closed(socket: Socket): Promise<boolean> {
  return new Promise(resolve => socket.once('close', resolve))
}

async function says(socket: Socket, text: string): Promise<string> {
  socket.write(text)
  const [data] = (await once(socket, 'data')) as [Buffer]
  return data.toString()
}

function udpTo(t: ExecutionContext, host: string, port: number) {
  const socket: UdpSocket = createSocket('udp4')
  t.teardown(() => socket.close())
  return {
    send: (text: string): void => socket.send(text, port, host),
    next: async (): Promise<string> => ((await once(socket, 'message')) as [Buffer])[0].toString(),
  }
}

function policyOn(host: string, more: Partial<InvitationPolicy> = {}): InvitationPolicy {
  return {
    publicHost: null,
    host,
    ports: { first: 21_000, last: 21_009 },
    longestMs: 3_600_000,
    targets: [cidr('10.0.0.0/8')],
    targetPorts: [{ first: PC_PORT, last: PC_PORT }],
    connections: 4,
    at: at(90),
    ...more,
  }
}

/** What forwards need, on the gate of a test. */
async function surroundings(t: ExecutionContext, overrides: Partial<Snapshot>) {
  const { gate, events, policy } = await startStreams(t, [], overrides)
  const options: StreamPartsOptions = {
    current: () => policy,
    lookup: address => ({ scope: addressScope(address), country: null, second: null, available: true }),
    reporter: events.reporter,
    certificates: { forHost: () => undefined },
    gate,
    openThrough: NO_CONNECTORS,
    ticketSecret: Buffer.alloc(32, 7),
    newReference: () => 'I-1',
    clock: () => Date.now(),
  }
  return { events, policy, options }
}

test('two PCs with the same port at once, over TCP and UDP; only who is meant gets in; the end cuts one and not the other', async t => {
  const host = ownHost()
  const [pcOne, pcTwo] = [ownHost(), ownHost()]
  await startPc(t, pcOne, PC_PORT, 'one')
  await startPc(t, pcTwo, PC_PORT, 'two')
  const { events, options } = await surroundings(t, { invitations: policyOn(host) })
  const relays = createInvitationRelays(options)
  t.teardown(() => relays.close())
  const forward = (port: number, target: string, from: InvitationForward['from'] = null) => ({
    port,
    target: { host: target, port: PC_PORT },
    from,
    owner: 'jo',
    openedMs: 0,
    expiresMs: 1,
  })
  const elsewhere = { sites: ['acme'], ranges: ['192.0.2.0/24'] }
  const all = [
    forward(21_000, pcOne),
    forward(21_001, pcTwo),
    forward(21_002, pcTwo, elsewhere),
    forward(21_003, pcTwo, { sites: [], ranges: ['127.0.0.0/8'] }),
  ]
  await relays.apply(all)

  // UDP before TCP: nobody knows yet that the sender is where it says, so little goes back.
  const udpOne = udpTo(t, host, 21_000)
  const udpTwo = udpTo(t, host, 21_001)
  udpTwo.send('9')
  t.is(await udpTwo.next(), `two ${'x'.repeat(9)}`)
  udpOne.send('1000')
  udpOne.send('5')
  t.is(await udpOne.next(), 'one xxxxx', 'the 1,000 were kept back')
  const tcpOne = await dialled(t, host, 21_000)
  const tcpTwo = await dialled(t, host, 21_001)
  t.is(await says(tcpOne, 'hello'), 'one hello')
  t.is(await says(tcpTwo, 'hello'), 'two hello')
  udpOne.send('999')
  t.is(await udpOne.next(), `one ${'x'.repeat(999)}`)

  // Who is not meant gets in by neither, and a forward narrowed to the source lets it in.
  t.true(await isReset(t, host, 21_002))
  const udpElsewhere = udpTo(t, host, 21_002)
  udpElsewhere.send('1')
  await events.next('heartbeat.refused')
  t.like(events.of('stream.refused')[0], { reason: 'source-not-invited', saw: '127.0.0.1' })
  t.like(events.of('heartbeat.refused')[0], {
    reason: 'source-not-invited',
    listener: 'invitation:21002/udp',
    class: 'relay',
  })
  t.is(await says(await dialled(t, host, 21_003), 'hi'), 'two hi')

  // A PC that has gone is not held against anybody: each connection tries anew, and nothing else does.
  const pcs = forward(21_004, ownHost())
  await relays.apply([...all, pcs])
  for (const count of [2, 3]) {
    t.true(await isReset(t, host, 21_004))
    t.like(await events.next('stream.refused', count), { reason: 'pc-away', listener: 'invitation:21004' })
  }
  await relays.apply(all)
  t.deepEqual(events.of('upstream.down'), [])

  // One address gets half of the places, so that it cannot keep everybody else out.
  const second = await dialled(t, host, 21_000)
  t.is(await says(second, 'again'), 'one again')
  t.true(await isReset(t, host, 21_000))
  t.like(events.of('stream.refused')[3], { reason: 'stream-limit-source', saw: '2 of 2 open' })
  t.like(relays.states().get(21_000), { tcp: true, udp: true, connections: 2, flows: 1, bytesOut: 18 })

  const ended = [closed(tcpOne), closed(second)]
  const cut = await relays.apply(all.slice(1))
  t.deepEqual([...cut], [[21_000, 3]])
  await Promise.all([...ended, events.next('stream.closed', 2)])
  t.is(events.of('heartbeat.closed')[0]?.ending, 'over')
  t.deepEqual(
    events.of('stream.closed').map(({ ending }) => ending),
    ['over', 'over'],
  )
  t.is(await says(tcpTwo, 'still here'), 'two still here')
  udpTwo.send('3')
  t.is(await udpTwo.next(), 'two xxx')
  const late = connect({ host, port: 21_000 })
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException]
  t.is(error.code, 'ECONNREFUSED')
})

test('servers by name are no targets; a file of forwards is judged like a request, and what is no such file opens nothing', async t => {
  const host = ownHost()
  const stateDir = mkdtempSync(join(tmpdir(), 'portcullis-invitations-'))
  t.teardown(() => rmSync(stateDir, { recursive: true }))
  const file = join(stateDir, 'invitations.json')
  const invitations = policyOn(host)
  const named = {
    ...forwardDatagrams(forwardTo('10.0.0.9'), invitations),
    upstream: { host: 'rmm.internal', port: 75 },
  }
  const { events, policy, options } = await surroundings(t, { invitations, heartbeats: [named] })
  const answers: (readonly string[] | Error)[] = []
  const start = () => {
    const parts = createInvitationParts({
      ...options,
      stateDir,
      ownAddresses: () => ['10.0.0.1', 'fe80::1%eth0'],
      resolve: name => {
        const answer = answers.shift() ?? []
        if (name !== 'rmm.internal' || answer instanceof Error) return Promise.reject(answer)
        return Promise.resolve(answer)
      },
    })
    t.teardown(() => parts.close())
    return parts
  }
  const ask = {
    target: { host: '10.0.0.5', port: PC_PORT },
    port: null,
    forMs: 60_000,
    from: null,
    owner: 'jo',
  }
  writeFileSync(file, '{"version": 1, "forwards": [')
  const first = start()
  t.like(events.of('invitation.file-failed')[0], { what: 'read', problem: 'it is not JSON' })
  await first.apply(policy.snapshot)
  answers.push(['10.0.0.4', '10.0.0.5'], new Error('SERVFAIL'), [], [])
  t.like(await first.open(ask), { ok: false, code: 'invitation-target' })
  t.like(await first.open(ask), { ok: false, code: 'invitation-servers' })
  t.like(await first.open(ask), { ok: true, forward: { port: 21_000 } })
  t.like(await first.open({ ...ask, target: { host: '10.0.0.1', port: PC_PORT } }), {
    ok: false,
    code: 'invitation-target',
  })
  t.is(statSync(file).mode & 0o777, 0o600)
  await first.close()

  // Somebody who can write the file gets nothing that a request would not get.
  const saved = JSON.parse(readFileSync(file, 'utf8')) as { forwards: object[] }
  const tampered = [
    ['127.0.0.1', 21_001],
    ['8.8.8.8', 21_002],
    ['10.0.0.1', 21_003],
    ['10.0.0.5', 21_100],
  ].map(([target, port]) => ({ ...saved.forwards[0], port, target: { host: target, port: PC_PORT } }))
  const future = { openedMs: Date.now() + 1e9, expiresMs: Date.now() + 1e10 }
  writeFileSync(
    file,
    JSON.stringify({ ...saved, forwards: [{ ...saved.forwards[0], ...future }, ...tampered] }),
  )
  const second = start()
  await second.apply(policy.snapshot)
  const list = second.list()
  t.deepEqual(
    list.map(({ port, tcp, udp }) => [port, tcp, udp]),
    [[21_000, true, true]],
  )
  t.true((list[0]?.expiresMs ?? 0) <= Date.now() + invitations.longestMs)
  t.deepEqual(
    events.of('invitation.closed').map(({ port, why }) => [port, why]),
    [21_001, 21_002, 21_003, 21_100].map(port => [port, 'policy']),
  )
  t.deepEqual(
    [...new Set(events.of('listener.opened').map(({ listener }) => listener))].toSorted(),
    ['https', 'invitation:21000', 'invitation:21000/udp'],
    'none of them was open for a moment',
  )
})

function forwardTo(host: string): InvitationForward {
  return { port: 21_000, target: { host, port: PC_PORT }, from: null, owner: 'jo', openedMs: 0, expiresMs: 1 }
}
