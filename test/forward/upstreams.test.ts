// Upstream groups against real servers: probes, failover, return, reload, and what is reported.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import test, { type ExecutionContext } from 'ava'
import type { EventFields, EventName, Reporter } from '../../src/journal/events.ts'
import { createUpstreams, type Upstreams } from '../../src/forward/upstreams.ts'
import type { UpstreamGroup } from '../../src/policy/snapshot.ts'
import { name, snapshot, testProbe, upstreamGroup } from '../support/snapshot.ts'
import { listen } from './support/exchange.ts'

type Reported = { readonly name: EventName; readonly fields: EventFields[EventName] }

/** A reporter whose events a test can wait for. */
function recorder(): {
  reporter: Reporter
  events: Reported[]
  seen: (name: EventName, count?: number) => Promise<void>
} {
  const events: Reported[] = []
  const waiting = new Set<() => void>()
  const reporter: Reporter = {
    report: (name, fields) => {
      events.push({ name, fields })
      for (const check of waiting) check()
    },
  }
  const seen = (name: EventName, count = 1): Promise<void> =>
    new Promise(resolve => {
      const check = (): void => {
        if (events.filter(event => event.name === name).length < count) return
        waiting.delete(check)
        resolve()
      }
      waiting.add(check)
      check()
    })
  return { reporter, events, seen }
}

type Practice = {
  readonly port: number
  status: number
  body: string
  probes: number
  onProbe: (host: string) => void
}

/** A server whose health answer a test can change. */
async function practice(t: ExecutionContext): Promise<Practice> {
  const state = { port: 0, status: 200, body: 'ok', probes: 0, onProbe: (_host: string): void => undefined }
  const server: Server = createServer((request: IncomingMessage, response: ServerResponse) => {
    state.probes++
    response.writeHead(state.status).end(state.body)
    state.onProbe(request.headers.host ?? '')
  })
  state.port = await listen(t, server)
  return state
}

function probed(server: Practice): Promise<string> {
  return new Promise(resolve => (server.onProbe = resolve))
}

const FAST = { ...testProbe, intervalMs: 20, timeoutMs: 1_000 }

function start(t: ExecutionContext, group: UpstreamGroup, recording = recorder()): Upstreams {
  const upstreams = createUpstreams({
    reporter: recording.reporter,
    clock: () => Date.now(),
    random: () => 0.5,
  })
  t.teardown(() => upstreams.close())
  upstreams.apply(policyWith(group))
  return upstreams
}

function policyWith(group: UpstreamGroup): ReturnType<typeof snapshot> {
  return snapshot({ upstreams: new Map([[group.id, group]]), names: [name({ upstream: group.id })] })
}

function stateOf(upstreams: Upstreams): string[] {
  return upstreams
    .health()
    .map(member => `${member.member} ${member.state}${member.serving ? ' serving' : ''}`)
}

test('a group serves before its first probe; the probe names the public host', async t => {
  const server = await practice(t)
  const first = probed(server)
  const upstreams = start(t, upstreamGroup([server.port], { health: FAST }))
  t.is(upstreams.pick('rmm')?.id, 'rmm/primary')
  t.true(upstreams.isUp('rmm'))
  t.false(upstreams.isUp('unknown'))
  t.is(upstreams.pick('unknown'), null)
  t.is(await first, 'rmm.example.test')
})

test('the group leaves a failing primary, returns when it has proved itself, and says so', async t => {
  const [primary, secondary] = [await practice(t), await practice(t)]
  const recording = recorder()
  const group = upstreamGroup([primary.port, secondary.port], { health: FAST, returnAfterMs: 100 })
  const upstreams = start(t, group, recording)
  await probed(primary)
  primary.status = 503
  await recording.seen('upstream.switched')
  t.is(upstreams.pick('rmm')?.id, 'rmm/secondary')
  t.deepEqual(stateOf(upstreams), ['rmm/primary down', 'rmm/secondary up serving'])
  t.is(upstreams.health()[0]?.lastProblem, 'the probe was answered with status 503')
  primary.status = 200
  await recording.seen('upstream.up')
  t.is(upstreams.pick('rmm')?.id, 'rmm/secondary')
  await recording.seen('upstream.switched', 2)
  t.is(upstreams.pick('rmm')?.id, 'rmm/primary')
  t.deepEqual(
    recording.events.map(event => event.name),
    ['upstream.down', 'upstream.switched', 'upstream.up', 'upstream.switched'],
  )
})

test('a live failure moves the next pick at once; the probe that follows clears the suspicion', async t => {
  const [primary, secondary] = [await practice(t), await practice(t)]
  const recording = recorder()
  // The interval is long: only the suspicion can cause the second probe.
  const group = upstreamGroup([primary.port, secondary.port], { health: { ...FAST, intervalMs: 3_600_000 } })
  const upstreams = start(t, group, recording)
  await probed(primary)
  const member = upstreams.pick('rmm')
  if (member === null) return t.fail()
  const again = probed(primary)
  upstreams.failed(member, 'connect ECONNREFUSED', 'upstream-unreachable')
  t.is(upstreams.pick('rmm')?.id, 'rmm/secondary')
  t.is(upstreams.pick('rmm', ['rmm/secondary'])?.id, 'rmm/primary')
  t.is(upstreams.pick('rmm', ['rmm/secondary', 'rmm/primary']), null)
  await again
  upstreams.succeeded(member)
  t.is(upstreams.pick('rmm')?.id, 'rmm/primary')
  t.deepEqual(recording.events, [
    {
      name: 'upstream.failed',
      fields: {
        group: 'rmm',
        member: 'rmm/primary',
        code: 'upstream-unreachable',
        problem: 'connect ECONNREFUSED',
      },
    },
  ])
})

test('all down: nobody is picked, and the first that answers serves again', async t => {
  const server = await practice(t)
  const recording = recorder()
  const upstreams = start(t, upstreamGroup([server.port], { health: FAST }), recording)
  server.status = 500
  await recording.seen('upstream.switched')
  t.is(upstreams.pick('rmm'), null)
  t.false(upstreams.isUp('rmm'))
  server.status = 200
  await recording.seen('upstream.switched', 2)
  t.true(upstreams.isUp('rmm'))
  t.is(upstreams.pick('rmm')?.id, 'rmm/primary')
})

test('the probe looks at the first 4 KiB of the body and gives up in time', async t => {
  const server = await practice(t)
  server.body = 'late'
  const first = probed(server)
  const recording = recorder()
  const upstreams = start(
    t,
    upstreamGroup([server.port], { health: { ...FAST, bodyPattern: /late/ } }),
    recording,
  )
  await first
  while (upstreams.health()[0]?.state !== 'up') await probed(server)
  server.body = `${'x'.repeat(4096)}late`
  await recording.seen('upstream.down')
  t.is(upstreams.health()[0]?.lastProblem, 'the body of the probe did not match')
  server.body = 'late'
  await recording.seen('upstream.up')
  const silent = createServer(() => undefined)
  const slow = recorder()
  const health = { ...FAST, timeoutMs: 50 }
  const waiting = start(t, upstreamGroup([await listen(t, silent)], { health }), slow)
  await slow.seen('upstream.down')
  t.is(waiting.health()[0]?.lastProblem, 'the probe was not answered within 50 ms')
})

test('a probe that was never answered as expected takes no living server from its fleet, and says what to correct', async t => {
  const server = await practice(t)
  server.status = 404
  const recording = recorder()
  const upstreams = start(t, upstreamGroup([server.port], { health: FAST }), recording)
  await recording.seen('upstream.failed')
  for (let probes = 0; probes < 5; probes++) await probed(server)
  t.true(upstreams.isUp('rmm'))
  t.deepEqual(stateOf(upstreams), ['rmm/primary unknown serving'])
  t.is(upstreams.health()[0]?.lastProblem, 'the probe was answered with status 404')
  t.is(recording.events.length, 1, 'it is said once')
  t.like(recording.events[0], { fields: { code: 'probe-unexpected' } })
  // Once the probe has shown that it is right, the same answer is a failure.
  server.status = 200
  while (upstreams.health()[0]?.state !== 'up') await probed(server)
  server.status = 404
  await recording.seen('upstream.down')
  t.false(upstreams.isUp('rmm'))
})

test('a server error is a failure from the first probe on, and another member that passes shows the probe to be right', async t => {
  const [broken, other, good] = [await practice(t), await practice(t), await practice(t)]
  broken.status = 503
  const alone = recorder()
  const one = start(t, upstreamGroup([broken.port], { health: FAST }), alone)
  await alone.seen('upstream.down')
  t.false(one.isUp('rmm'))
  other.status = 404
  const both = recorder()
  const two = start(t, upstreamGroup([other.port, good.port], { health: FAST }), both)
  await both.seen('upstream.switched')
  t.is(two.pick('rmm')?.id, 'rmm/secondary')
})

test('what a wrong probe found is forgotten with it: the right one taken back serves at once', async t => {
  const server = await practice(t)
  server.status = 503
  const recording = recorder()
  const group = upstreamGroup([server.port], { health: FAST })
  const upstreams = start(t, group, recording)
  await recording.seen('upstream.down')
  upstreams.apply(policyWith(group))
  t.false(upstreams.isUp('rmm'), 'the same probe, the same server')
  upstreams.apply(policyWith({ ...group, health: { ...FAST, path: '/other' } }))
  t.true(upstreams.isUp('rmm'))
})

test('a reload keeps the state of unchanged members and forgets changed ones', async t => {
  const [primary, secondary] = [await practice(t), await practice(t)]
  const recording = recorder()
  const group = upstreamGroup([primary.port, secondary.port], { health: FAST })
  const upstreams = start(t, group, recording)
  const before = upstreams.pick('rmm')
  primary.status = 500
  await recording.seen('upstream.switched')
  upstreams.apply(policyWith({ ...group, members: group.members.map(member => ({ ...member })) }))
  t.is(upstreams.pick('rmm')?.id, 'rmm/secondary')
  t.is(upstreams.health()[0]?.state, 'down')
  // A request that began under the old policy reports about the same server.
  if (before !== null) t.notThrows(() => upstreams.failed(before, 'late news'))
  const moved = upstreamGroup([(await practice(t)).port, secondary.port], { health: FAST })
  upstreams.apply(policyWith(moved))
  t.is(upstreams.health()[0]?.state, 'unknown')
  t.is(upstreams.pick('rmm')?.id, 'rmm/secondary')
})

test('close stops all probes', async t => {
  const server = await practice(t)
  const upstreams = start(t, upstreamGroup([server.port], { health: FAST }))
  await probed(server)
  upstreams.close()
  t.deepEqual(upstreams.health(), [])
  t.is(upstreams.pick('rmm'), null)
})
