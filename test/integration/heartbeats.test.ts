// Heartbeats over UDP through the whole gate: reload opens and closes them, and status, diagnosis and plan see them.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { startRunningBench, type RunningBench } from '../cli/support.ts'
import { diagnose } from '../diagnose/support.ts'
import { until } from '../support/whole-gate.ts'

const HERE = '127.0.0.1'

async function client(t: ExecutionContext): Promise<{ socket: Socket; replies: () => number }> {
  const socket = createSocket('udp4')
  let replies = 0
  socket.on('message', () => replies++)
  socket.bind(0, HERE)
  await once(socket, 'listening')
  t.teardown(() => socket.close())
  return { socket, replies: () => replies }
}

/** A gate that has taken up a heartbeat listener by a reload. */
async function withHeartbeats(t: ExecutionContext): Promise<RunningBench> {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  bench.mergePolicy(
    `heartbeats: { automate: { address: '127.0.0.1:0', upstream: '127.0.0.1:${bench.practice.udpPort}' } }`,
  )
  const { code, err } = await bench.cli(['reload'])
  t.is(code, 0, err)
  return bench
}

const stateOf = (bench: RunningBench) => bench.portcullis.heartbeats.states()[0]
const portOf = (bench: RunningBench): number => bench.portcullis.heartbeats.addresses()[0]?.port ?? 0

/** Sends heartbeats and waits until the relay has reported them. */
async function beat(bench: RunningBench, socket: Socket, times: number, answered = times): Promise<void> {
  const before = { heartbeats: 0, replies: 0, ...stateOf(bench)?.sites[0] }
  const { replies = 0, heartbeats = 0 } = stateOf(bench) ?? {}
  for (let index = 0; index < times; index++) socket.send('PRACTICE HEARTBEAT', portOf(bench), HERE)
  await until(() => stateOf(bench)?.heartbeats === heartbeats + times)
  await until(() => stateOf(bench)?.replies === replies + answered)
  bench.advance(24_000)
  await until(() => stateOf(bench)?.sites[0]?.heartbeats === before.heartbeats + times)
}

test('a diagnosis tells heartbeats without replies, working ones and replies that stopped apart', async t => {
  const bench = await withHeartbeats(t)
  const { socket, replies } = await client(t)
  bench.practice.answerHeartbeats(false)
  await beat(bench, socket, 6, 0)
  const without = await diagnose(bench, HERE)
  t.like(without, { cause: 'heartbeats-unanswered', healthy: false, code: 1 })
  t.regex(without.sentence, /6 sent on to it, 0 answered/)
  t.regex(without.fix?.steps.join('\n') ?? '', new RegExp(`firewall.* UDP port ${bench.practice.udpPort}`))
  bench.advance(10_000)
  await until(() => stateOf(bench)?.silent === true)
  const status = await bench.cli(['status'])
  t.regex(status.out, /automate +127\.0\.0\.1:\d+ +server does not answer +6 in/)
  t.regex(status.out, /^Needs you now\. Heartbeats come in at automate/)
  t.is(status.code, 1, 'somebody is cut off')

  bench.practice.answerHeartbeats(true)
  await beat(bench, socket, 3)
  await until(() => replies() === 3)
  const only = await diagnose(bench, HERE)
  t.is(only.cause, 'direct-address', only.sentence)
  t.regex(only.sentence, /check-ins do not \(none has come\)/)
  await bench.ask(HERE, { path: '/LabTech/Agent.aspx' })
  t.like(await diagnose(bench, HERE), { cause: 'healthy', healthy: true })
  t.regex((await bench.cli(['status'])).out, /1 client +9 in, .* 3 replies/)

  bench.practice.answerHeartbeats(false)
  await beat(bench, socket, 2, 0)
  bench.advance(40_000)
  await beat(bench, socket, 2, 0)
  const stopped = await diagnose(bench, HERE)
  t.is(stopped.cause, 'replies-stopped', stopped.sentence)
  t.regex(stopped.sentence, /the last of 3 answered ones was at \d{4}-/)
})

test('requests are judged apart from heartbeats: many unanswered ones do not make the server look broken', async t => {
  const bench = await withHeartbeats(t)
  const { socket } = await client(t)
  t.deepEqual(await bench.ask(HERE, { path: '/LabTech/Agent.aspx' }).then(result => 'status' in result), true)
  bench.practice.answerHeartbeats(false)
  await beat(bench, socket, 9, 0)
  t.is((await diagnose(bench, HERE)).cause, 'heartbeats-unanswered')
})

test('plan names the heartbeats that a candidate would lose, and check shows what holds', async t => {
  const bench = await withHeartbeats(t)
  const { socket } = await client(t)
  await beat(bench, socket, 4)
  const shown = (await bench.cli(['check', '--effective'])).out
  t.regex(shown, /Heartbeats \(UDP\)\n +automate +127\.0\.0\.1:0 +upstream 127\.0\.0\.1:\d+ +idle 150s/)
  const directory = join(bench.root, 'candidate')
  cpSync(join(bench.root, 'policies'), directory, { recursive: true })
  const file = join(directory, 'portcullis.yaml')
  writeFileSync(file, `${readFileSync(file, 'utf8')}classes: { heartbeat: { access: closed } }\n`)
  const { value } = await bench.json(['plan', directory])
  const replay = value['replay'] as { readonly changes: readonly unknown[] }
  t.like(replay.changes, [
    { kind: 'lost', address: HERE, class: 'heartbeat', reason: 'class-closed', count: 4, activeAgent: true },
  ])
})

test('metrics count heartbeats and replies, and a removed listener stops taking them', async t => {
  const bench = await withHeartbeats(t)
  const { socket } = await client(t)
  await beat(bench, socket, 5)
  const { host, port } = bench.portcullis.adminEndpoint() ?? { host: '', port: 0 }
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text()
  t.regex(text, /portcullis_heartbeats_total\{listener="automate",direction="in"\} 5/)
  t.regex(text, /portcullis_heartbeats_total\{listener="automate",direction="out"\} 5/)
  t.regex(text, /portcullis_heartbeat_flows\{listener="automate"\} 1/)
  const open = bench.policyText()
  bench.writePolicy(open.replace(/heartbeats:\n(?: .*\n)+/, ''))
  t.is((await bench.cli(['reload'])).code, 0)
  t.deepEqual(bench.portcullis.heartbeats.addresses(), [])
})
