// Endpoints that follow the policy, with openers that are told what to do and a clock that stands still; and a seeded simulation.
import test from 'ava'
import { EndpointSet, keepListening, type Later, type ListeningOptions } from '../../src/edge/listening.ts'
import { createTurns } from '../../src/edge/turns.ts'

type Fake = { readonly id: string; readonly endpoints: readonly { host: string; port: number }[] }
type Socket = { readonly place: { listener: Fake }; readonly port: number; readonly ipv6Only: boolean }

type Told = {
  readonly listener: string
  readonly host: string
  readonly port: number
  readonly problem?: string
  readonly connectionsKept?: number
}

const HERE = '127.0.0.1'
const RETRY_MS = 10_000

function fake(id: string, ...endpoints: readonly (number | string)[]): Fake {
  return {
    id,
    endpoints: endpoints.map(at =>
      typeof at === 'number' ? { host: HERE, port: at } : { host: at, port: 443 },
    ),
  }
}

/** Openers that fail for the ports in `failing`, with what they did and what was reported in `lines`. */
function fakes() {
  const failing = new Map<number, string>()
  const open = new Set<Socket>()
  const lines: string[] = []
  let lastPort = 50_000
  const options: Omit<ListeningOptions<Fake, Socket>, 'mayOpen'> = {
    reporter: {
      report: (name, fields) => {
        const { listener, host, port, problem = '', connectionsKept = '' } = fields as Told
        const place = host === HERE ? `${port}` : `${host} ${port}`
        lines.push(
          `${name.slice('listener.'.length)} ${listener} ${place} ${problem}${connectionsKept}`.trim(),
        )
      },
    },
    open: async (place, ipv6Only) => {
      const code = failing.get(place.endpoint.port)
      await Promise.resolve()
      if (code !== undefined) throw Object.assign(new Error(code), { code })
      const { port } = place.endpoint
      const socket = { place, port: port === 0 ? ++lastPort : port, ipv6Only }
      open.add(socket)
      return socket
    },
    portOf: ({ port }) => port,
    shut: socket => {
      if (!open.delete(socket)) throw new Error('closed twice')
    },
    explain: code => ({ problem: code, remedy: '' }),
    connectionsKept: ({ id }) => id.length,
  }
  return { failing, open, lines, options, taken: () => lines.splice(0) }
}

/** A clock that runs when it is told to; at most one retry may wait at a time. */
function virtualLater() {
  let nowMs = 0
  let waiting: { readonly dueMs: number; readonly work: () => void } | null = null
  const later: Later = (ms, work) => {
    if (waiting !== null) throw new Error('two retries wait')
    const own = { dueMs: nowMs + ms, work }
    waiting = own
    return () => {
      if (waiting === own) waiting = null
    }
  }
  const settle = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))
  return {
    later,
    isWaiting: () => waiting !== null,
    advance: async (ms: number) => {
      nowMs += ms
      const due = waiting !== null && waiting.dueMs <= nowMs ? waiting : null
      if (due === null) return
      waiting = null
      due.work()
      await settle()
    },
  }
}

function startListening() {
  const made = fakes()
  const clock = virtualLater()
  const listening = keepListening(made.options, clock.later)
  const apply = (...listeners: readonly Fake[]) =>
    listening.apply(listeners, () => void made.lines.push('beforeOpening'))
  return { ...made, clock, listening, apply }
}

test('gone endpoints close, then the rest of the policy is taken over, then new ones open; the same stay and are handed over', async t => {
  const { apply, taken, open, listening } = startListening()
  t.deepEqual(await apply(fake('a', 1, 2)), { opened: 2, closed: 0, failed: 0 })
  t.deepEqual(taken(), ['beforeOpening', 'opened a 1', 'opened a 2'])
  const [first] = open
  t.deepEqual(await apply(fake('b', 1), fake('long', 3)), { opened: 1, closed: 1, failed: 0 })
  t.deepEqual(taken(), ['closed a 2 1', 'beforeOpening', 'opened long 3'])
  t.is(first?.place.listener.id, 'b')
  t.deepEqual(listening.addresses(), [
    { listener: 'b', host: HERE, port: 1 },
    { listener: 'long', host: HERE, port: 3 },
  ])
  await apply()
  t.deepEqual(taken(), ['closed b 1 1', 'closed long 3 4', 'beforeOpening'])
  t.is(open.size, 0)
})

test('an endpoint of several listeners belongs to the first and goes over to the next; each port 0 is one of its own', async t => {
  const { apply, taken, open } = startListening()
  await apply(fake('a', 1, 0, 0), fake('b', 1, 0))
  t.deepEqual(taken(), ['beforeOpening', 'opened a 1', 'opened a 50001', 'opened a 50002', 'opened b 50003'])
  const [first] = open
  await apply(fake('b', 1, 0))
  t.deepEqual(taken(), ['closed a 50001 1', 'closed a 50002 1', 'beforeOpening'])
  t.is(first?.place.listener.id, 'b')
})

test('a failure is told once and tried again every ten seconds; another fault, and the same after a success, are told again', async t => {
  const { apply, taken, failing, clock } = startListening()
  failing.set(1, 'EADDRINUSE')
  t.deepEqual(await apply(fake('a', 1, 2)), { opened: 1, closed: 0, failed: 1 })
  t.deepEqual(taken(), ['beforeOpening', 'failed a 1 EADDRINUSE', 'opened a 2'])
  await clock.advance(RETRY_MS)
  await clock.advance(RETRY_MS - 1)
  t.deepEqual(taken(), [])
  failing.set(1, 'EACCES')
  await clock.advance(1)
  t.deepEqual(taken(), ['failed a 1 EACCES'])
  failing.clear()
  await clock.advance(RETRY_MS)
  t.deepEqual(taken(), ['opened a 1'])
  t.false(clock.isWaiting())
  await apply()
  failing.set(1, 'EACCES')
  await apply(fake('a', 1))
  t.deepEqual(taken().slice(-1), ['failed a 1 EACCES'])
})

test('a failure that the policy took back is forgotten, and told again when the endpoint is', async t => {
  const { apply, taken, failing, clock } = startListening()
  failing.set(1, 'EADDRINUSE')
  await apply(fake('a', 1))
  await apply(fake('a'))
  t.false(clock.isWaiting())
  await apply(fake('a', 1))
  t.deepEqual(
    taken().filter(line => line !== 'beforeOpening'),
    ['failed a 1 EADDRINUSE', 'failed a 1 EADDRINUSE'],
  )
})

test('every IPv6 address leaves IPv4 alone where a listener of the policy wants it, and takes it along elsewhere', async t => {
  const { apply, open } = startListening()
  await apply(fake('a', '::', '0.0.0.0'))
  t.deepEqual(
    [...open].map(({ ipv6Only }) => ipv6Only),
    [true, false],
  )
  await apply()
  await apply(fake('a', '::'))
  t.deepEqual(
    [...open].map(({ ipv6Only }) => ipv6Only),
    [false],
  )
})

test('after the stop nothing opens: not what the system was at work on, not the rest, and no retry', async t => {
  const { apply, taken, open, clock, failing, listening } = startListening()
  await apply(fake('a', 1))
  taken()
  const applied = apply(fake('a', 1, 2, 3))
  await Promise.resolve()
  listening.stop()
  t.true(listening.isStopped())
  t.deepEqual(await applied, { opened: 0, closed: 0, failed: 3 })
  t.deepEqual(taken(), ['beforeOpening', 'closed a 1 1'])
  t.is(open.size, 0)
  failing.set(2, 'EADDRINUSE')
  await apply(fake('a', 2))
  t.false(clock.isWaiting())
  t.deepEqual(taken(), ['beforeOpening'])
})

test('the stop takes back a retry that waits', async t => {
  const { apply, clock, failing, listening } = startListening()
  failing.set(1, 'EADDRINUSE')
  await apply(fake('a', 1))
  t.true(clock.isWaiting())
  listening.stop()
  t.false(clock.isWaiting())
})

test('work goes one after the other, and work that fails holds up nobody', async t => {
  const inTurn = createTurns()
  const lines: string[] = []
  const piece = (name: string) => async () => {
    lines.push(`${name} begins`)
    await Promise.resolve()
    lines.push(`${name} ends`)
    if (name === 'b') throw new Error('b failed')
    return name
  }
  const [first, second, third] = await Promise.allSettled(['a', 'b', 'c'].map(name => inTurn(piece(name))))
  t.deepEqual(lines, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  t.deepEqual(first, { status: 'fulfilled', value: 'a' })
  t.is(second?.status, 'rejected')
  t.deepEqual(third, { status: 'fulfilled', value: 'c' })
})

test('an owner may hold its endpoints closed for a while; it hears of each before it closes', async t => {
  const { options, taken, open, lines } = fakes()
  let isHeld = false
  const endpoints = new EndpointSet<Fake, Socket>({ ...options, mayOpen: () => !isHeld })
  const leaving = ({ port }: Socket): void => void lines.push(`leaving ${port}`)
  endpoints.want([fake('a', 1, 2)])
  t.is(await endpoints.openMissing(), 2)
  taken()
  isHeld = true
  endpoints.closeAll(leaving)
  t.deepEqual(taken(), ['leaving 1', 'closed a 1 1', 'leaving 2', 'closed a 2 1'])
  t.is(await endpoints.openMissing(), 0)
  t.is(endpoints.missing, 2)
  isHeld = false
  await endpoints.openMissing()
  t.is(endpoints.want([fake('a', 2)], leaving), 1)
  t.deepEqual(taken().slice(-2), ['leaving 1', 'closed a 1 1'])
  t.is(open.size, 1)
})

test('what could not be had, then could, and after a pause cannot again, is told twice', async t => {
  const { options, taken, failing } = fakes()
  const endpoints = new EndpointSet<Fake, Socket>({ ...options, mayOpen: () => true })
  endpoints.want([fake('a', 1)])
  failing.set(1, 'EADDRINUSE')
  await endpoints.openMissing()
  failing.clear()
  await endpoints.openMissing()
  endpoints.closeAll()
  failing.set(1, 'EADDRINUSE')
  await endpoints.openMissing()
  t.deepEqual(taken(), ['failed a 1 EADDRINUSE', 'opened a 1', 'closed a 1 1', 'failed a 1 EADDRINUSE'])
})

test('who else wants a port of every IPv4 address may be said by the owner, but never for a port that the system chooses', async t => {
  const { options, open } = fakes()
  const endpoints = new EndpointSet<Fake, Socket>({ ...options, mayOpen: () => true })
  endpoints.want([{ id: 'a', endpoints: [443, 444, 0].map(port => ({ host: '::', port })) }])
  await endpoints.openMissing(port => port !== 444)
  t.deepEqual(
    [...open].map(({ ipv6Only }) => ipv6Only),
    [true, false, false],
  )
})

for (const seed of [1, 20_262, 0xfeed]) {
  test(`simulation ${seed}: what is open is what is wanted and can be had, and every opening has one closing`, async t => {
    const random = randomOf(seed)
    const { apply, open, failing, lines, listening, clock } = startListening()
    for (let step = 0; step < 300; step++) {
      for (let port = 1; port <= 6; port++) {
        if (random(3) === 0) failing.set(port, 'EADDRINUSE')
      }
      const listeners = ['a', 'b', 'c'].map(id =>
        fake(id, ...[1, 2, 3, 4, 5, 6].filter(() => random(3) === 0)),
      )
      const wanted = new Map<number, string>()
      for (const { id, endpoints } of listeners)
        for (const { port } of endpoints) if (!wanted.has(port)) wanted.set(port, id)
      const wasOpen = new Set([...open].map(({ port }) => port))
      await apply(...listeners)
      const expected = [...wanted].filter(([port]) => wasOpen.has(port) || !failing.has(port))
      const now = [...open].map(({ port, place }) => `${port} ${place.listener.id}`)
      t.deepEqual(now.toSorted(), expected.map(([port, id]) => `${port} ${id}`).toSorted())
      t.is(clock.isWaiting(), expected.length < wanted.size)
      failing.clear()
      await clock.advance(RETRY_MS)
      t.is(open.size, wanted.size)
    }
    listening.stop()
    t.is(open.size, 0)
    const count = (what: string): number => lines.filter(line => line.startsWith(what)).length
    t.true(count('opened') > 100)
    t.is(count('opened'), count('closed'))
  })
}

function randomOf(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
