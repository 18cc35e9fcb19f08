// Rate rules: what is counted for whom, holds, shared sources, sites, agents, bounded memory; and a seeded simulation.
import test from 'ava'
import * as fc from 'fast-check'
import { parseAddress } from '../../../src/net/address.ts'
import {
  outcomeOf,
  rateRule,
  type RateFacts,
  type RateOutcome,
  type RatePlan,
} from '../../../src/ips/rate/rate-rule.ts'
import { Rates, type RateAnswer } from '../../../src/ips/rate/rates.ts'
import { sourceKey } from '../../../src/ips/rate/source-key.ts'
import { SlidingWindow } from '../../../src/ips/rate/window.ts'

const MINUTE = 60_000
const PLAN: RatePlan = { over: 5, perMs: 10 * MINUTE, by: 'source+user', on: 'failure', holdMs: 15 * MINUTE }
const byUser = rateRule('login', PLAN)
const bySource = rateRule('login-source', { ...PLAN, over: 10, by: 'source' })
const flood = rateRule('flood', { over: 20, perMs: MINUTE, by: 'source', on: 'request', holdMs: 2 * MINUTE })

const facts = (user: string | null, more: Partial<RateFacts> = {}): RateFacts => ({
  source: '192.0.2.1',
  site: null,
  user,
  class: 'console',
  ...more,
})

/** One login from question to outcome. */
function login(
  rates: Rates,
  who: RateFacts,
  outcome: 'failure' | 'success',
  nowMs: number,
  rule = byUser,
): RateAnswer {
  const answer = rates.ask(rule, who, nowMs)
  if (!answer.over && answer.ticket !== null) rates.outcome(answer.ticket, outcome, nowMs)
  return answer
}

test('so many failures pass, the next is held, for as long as the rule says', t => {
  const rates = new Rates()
  for (let n = 0; n < 5; n++) t.false(login(rates, facts('ann'), 'failure', n * 1000).over)
  const first = login(rates, facts('ann'), 'failure', 5000)
  t.like(first, { over: true, began: true, whom: 'user', soft: false, untilMs: 5000 + 15 * MINUTE, count: 5 })
  for (let n = 1; n < 100; n++) {
    t.like(login(rates, facts('ann'), 'failure', 5000 + n * 1000), {
      over: true,
      began: false,
      untilMs: 5000 + 15 * MINUTE,
    })
  }
  t.true(login(rates, facts('ann'), 'failure', 5000 + 15 * MINUTE - 1).over)
  for (let n = 0; n < 5; n++) t.false(login(rates, facts('ann'), 'failure', 5000 + 15 * MINUTE).over)
  t.true(login(rates, facts('ann'), 'failure', 5000 + 15 * MINUTE).over)
})

test('another user of the same source goes on, and so do requests of agents', t => {
  const rates = new Rates()
  for (let n = 0; n < 30; n++) login(rates, facts('ann'), 'failure', n)
  t.true(rates.ask(byUser, facts('ann'), 40).over)
  t.false(login(rates, facts('bob'), 'success', 41).over)
  for (let n = 0; n < 200; n++) {
    for (const trafficClass of ['agent', 'update', 'transfer', 'heartbeat', 'relay'] as const) {
      t.false(login(rates, facts('ann', { class: trafficClass }), 'failure', 42).over)
      t.false(login(rates, facts(null, { class: trafficClass }), 'failure', 42, bySource).over)
    }
  }
})

test('a rule by user counts nothing without a user, lest it hold the address', t => {
  const rates = new Rates()
  for (let n = 0; n < 100; n++) t.false(login(rates, facts(null), 'failure', n).over)
  t.is(rates.sizes.counters, 0)
})

test('a success wipes the failures of its user, never those of others', t => {
  const rates = new Rates()
  for (let n = 0; n < 4; n++) login(rates, facts('ann'), 'failure', n)
  for (let n = 0; n < 4; n++) login(rates, facts('bob'), 'failure', n)
  login(rates, facts('ann'), 'success', 10)
  for (let n = 0; n < 5; n++) t.false(login(rates, facts('ann'), 'failure', 20).over)
  t.true(login(rates, facts('ann'), 'failure', 21).over)
  t.false(login(rates, facts('bob'), 'failure', 22).over)
  t.true(login(rates, facts('bob'), 'failure', 23).over)
})

test('many at once get no further than one after the other', t => {
  const rates = new Rates()
  const answers = Array.from({ length: 50 }, () => rates.ask(byUser, facts('ann'), 100))
  t.is(answers.filter(answer => !answer.over).length, 5)
  t.like(answers[5], { over: true, began: false, untilMs: 1100 })
  for (const answer of answers) {
    if (!answer.over && answer.ticket !== null) rates.outcome(answer.ticket, 'failure', 200)
  }
  t.like(rates.ask(byUser, facts('ann'), 300), { over: true, began: true })
})

test('a request without an answer of the server is given back', t => {
  const rates = new Rates()
  for (let n = 0; n < 100; n++) {
    const answer = rates.ask(byUser, facts('ann'), n)
    t.false(answer.over)
    if (!answer.over && answer.ticket !== null) rates.outcome(answer.ticket, 'none', n)
  }
})

test('users who log in raise the limit of their source; three make it shared, and it is not held for failures', t => {
  const alone = new Rates()
  for (let n = 0; n < 10; n++) t.false(login(alone, facts(null), 'failure', n, bySource).over)
  t.like(login(alone, facts(null), 'failure', 11, bySource), { over: true, whom: 'source', soft: false })

  const one = new Rates()
  login(one, facts('ann'), 'success', 0)
  for (let n = 0; n < 20; n++) t.false(login(one, facts(null), 'failure', n, bySource).over)
  t.true(login(one, facts(null), 'failure', 21, bySource).over)

  const shared = new Rates()
  for (const user of ['ann', 'bob', 'cy']) login(shared, facts(user), 'success', 0)
  for (let n = 0; n < 500; n++) t.false(login(shared, facts(null), 'failure', n, bySource).over)
  const later = 13 * 60 * MINUTE
  for (let n = 0; n < 10; n++) t.false(login(shared, facts(null), 'failure', later + n, bySource).over)
  t.true(login(shared, facts(null), 'failure', later + 11, bySource).over, 'old logins count no more')
})

test('logins raise what a source may request as well, within bounds', t => {
  const rates = new Rates()
  for (let n = 0; n < 40; n++) login(rates, facts(`user ${n}`), 'success', 0)
  let passed = 0
  while (!rates.ask(flood, facts(null), 1).over) passed++
  t.is(passed, 20 * 20)
})

test('a known site is recorded and not shut out as a whole; its users wait no longer than the counted time', t => {
  const rates = new Rates()
  const at = { site: 'office' }
  for (let n = 0; n < 10; n++) login(rates, facts(null, at), 'failure', n, bySource)
  t.like(login(rates, facts(null, at), 'failure', 20, bySource), { over: true, soft: true, began: true })
  for (let n = 0; n < 5; n++) login(rates, facts('ann', at), 'failure', n)
  t.like(login(rates, facts('ann', at), 'failure', 20), {
    over: true,
    soft: false,
    untilMs: 20 + 10 * MINUTE,
  })
})

test('addresses of a site count together where the rule says so', t => {
  const rates = new Rates()
  const rule = rateRule('site', { ...PLAN, by: 'site', on: 'request' })
  for (let n = 0; n < 5; n++) {
    t.false(rates.ask(rule, facts(null, { source: `192.0.2.${n}`, site: 'office' }), n).over)
  }
  t.true(rates.ask(rule, facts(null, { source: '192.0.2.99', site: 'office' }), 9).over)
  t.false(rates.ask(rule, facts(null, { source: '192.0.2.99' }), 9).over)
})

test('a reload keeps what did not change and forgets the rest', t => {
  const rates = new Rates()
  for (let n = 0; n < 6; n++) login(rates, facts('ann'), 'failure', n)
  for (let n = 0; n < 30; n++) rates.ask(flood, facts(null), n)
  rates.retain([rateRule('login', { ...PLAN }), rateRule('flood', { ...flood, over: 21 })])
  t.true(rates.ask(byUser, facts('ann'), 50).over)
  t.is(rates.sizes.counters, 1)
  t.false(rates.ask(flood, facts(null), 50).over)
  rates.retain([])
  t.like(rates.sizes, { counters: 0, held: 0 })
})

test('outcomes: statuses, and a redirect back to the login page', t => {
  const table: [number, string | null, string, RateOutcome][] = [
    [401, null, '/login', 'failure'],
    [403, null, '/login', 'failure'],
    [429, null, '/login', 'failure'],
    [200, null, '/login', 'success'],
    [302, '/login.aspx?error=1', '/Login.aspx', 'failure'],
    [302, 'https://rmm.example.test/LOGIN#x', '/login', 'failure'],
    [302, '//rmm.example.test/login', '/login', 'failure'],
    [302, 'Login.aspx?again', '/a/Login.aspx', 'failure'],
    [302, './Login.aspx', '/a/Login.aspx', 'failure'],
    [302, '?error=1', '/login', 'failure'],
    [302, 'https://rmm.example.test', '/login', 'success'],
    [303, '/dashboard', '/login', 'success'],
    [302, '/login/next', '/login', 'success'],
    [304, null, '/login', 'none'],
    [302, null, '/login', 'success'],
    [404, null, '/login', 'none'],
    [101, null, '/login', 'none'],
    [502, null, '/login', 'none'],
  ]
  for (const [status, location, path, expected] of table) {
    t.is(outcomeOf({ status, location }, path), expected, `${status} ${location}`)
  }
})

test('a client with a whole IPv6 network is one source', t => {
  const key = (text: string): string => {
    const address = parseAddress(text)
    return address === undefined ? '' : sourceKey(address)
  }
  t.is(key('2001:db8:1:2::1'), key('2001:db8:1:2:ffff::9'))
  t.not(key('2001:db8:1:2::1'), key('2001:db8:1:3::1'))
  t.is(key('192.0.2.7'), '192.0.2.7')
})

test('the window counts within 1/64 of its time, and its memory does not grow with the flood', t => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(400), { maxLength: 400 }),
      fc.integer({ min: 64, max: 5000 }),
      (gaps, perMs) => {
        const window = new SlidingWindow()
        const times: number[] = []
        let nowMs = 0
        return gaps.every(gap => {
          nowMs += gap
          window.add(nowMs, perMs)
          times.push(nowMs)
          const counted = window.count(nowMs, perMs)
          const within = (ms: number): number => times.filter(time => time > nowMs - ms).length
          return counted <= within(perMs) && counted >= within(perMs * (63 / 64))
        })
      },
    ),
    { seed: 1, numRuns: 300 },
  )
  t.pass()
})

test('no window of the time lets more pass than the rule says', t => {
  const rule = rateRule('r', { over: 7, perMs: 1000, by: 'source', on: 'request', holdMs: 1 })
  fc.assert(
    fc.property(fc.array(fc.nat(300), { maxLength: 300 }), gaps => {
      const rates = new Rates()
      const passed: number[] = []
      let nowMs = 0
      for (const gap of gaps) {
        nowMs += gap
        const answer = rates.ask(rule, facts(null), nowMs)
        if (answer.over) nowMs += 1000
        else passed.push(nowMs)
      }
      return passed.every(from => passed.filter(at => at >= from && at < from + 1000 * (63 / 64)).length <= 7)
    }),
    { seed: 2, numRuns: 300 },
  )
  t.pass()
})

test('an attacker with many addresses and names cannot free what is held, nor fill the memory', t => {
  const limits = { domains: 100, counters: 300, countersPerDomain: 8, usersPerDomain: 4 }
  const rates = new Rates(limits)
  for (let n = 0; n < 6; n++) login(rates, facts('ann'), 'failure', n)
  for (let n = 0; n < 20_000; n++) {
    login(rates, facts(`name ${n}`, { source: `10.0.${n >> 8}.${n & 255}` }), 'failure', 100 + n)
    login(rates, facts(`name ${n}`), 'failure', 100 + n)
    t.true(rates.sizes.domains <= limits.domains && rates.sizes.counters <= limits.counters)
  }
  t.like(rates.ask(byUser, facts('ann'), 30_000), { over: true, began: false, untilMs: 5 + 15 * MINUTE })
})

test('when every name of a source is held, the next one is not free', t => {
  const rates = new Rates({ domains: 10, counters: 100, countersPerDomain: 8, usersPerDomain: 4 })
  for (let name = 0; name < 8; name++) {
    for (let n = 0; n < 6; n++) login(rates, facts(`name ${name}`), 'failure', n)
  }
  const passed = Array.from({ length: 200 }, (_, n) => login(rates, facts(`more ${n}`), 'failure', 10))
  t.is(passed.filter(answer => !answer.over).length, 5)
})

test('everything held: what is new is not counted, and that is said', t => {
  const rates = new Rates({ domains: 4, counters: 40, countersPerDomain: 8, usersPerDomain: 4 })
  for (let n = 0; n < 4; n++) {
    for (let i = 0; i < 6; i++) login(rates, facts('x', { source: `10.0.0.${n}` }), 'failure', 0)
  }
  t.is(rates.sizes.held, 4)
  t.false(login(rates, facts('x', { source: '10.0.0.9' }), 'failure', 1).over)
  t.true(rates.sizes.uncounted > 0)
  t.true(rates.ask(byUser, facts('x', { source: '10.0.0.0' }), 2).over)
  t.false(login(rates, facts('x', { source: '10.0.0.9' }), 'failure', 20 * MINUTE).over)
  t.is(rates.sizes.held, 0, 'ended holds make room')
})

test('simulation: the invariants hold after every step', t => {
  const limits = { domains: 12, counters: 40, countersPerDomain: 6, usersPerDomain: 4 }
  const rules = [byUser, bySource, flood]
  let seed = 20_271
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((seed / 4_294_967_296) * below)
  }
  const rates = new Rates(limits)
  const held = new Map<string, { who: RateFacts; rule: typeof byUser; untilMs: number }>()
  const successes = new Map<string, Map<string, number>>()
  let nowMs = 0
  let holds = 0
  for (let step = 0; step < 30_000; step++) {
    nowMs += random(400) === 0 ? random(20 * MINUTE) : random(300)
    const index = random(3) === 0 ? random(20) : random(3)
    const who = facts(`user ${random(4)}`, {
      source: `10.0.0.${index}`,
      site: index % 5 === 0 ? `site ${index}` : null,
      class: (['console', 'api', 'agent'] as const)[random(3)] ?? 'console',
    })
    const rule = rules[random(rules.length)] ?? byUser
    const answer = rates.ask(rule, who, nowMs)
    const { sizes } = rates
    const key = `${rule.id} ${who.source} ${rule.by === 'source+user' ? who.user : ''}`
    const before = held.get(key)
    if (answer.over) {
      if (rule.on === 'failure' && who.class === 'agent') t.fail(`an agent was held: step ${step}`)
      if (answer.soft !== (who.site !== null && answer.whom === 'source')) t.fail(`soft: step ${step}`)
      const known = [...(successes.get(who.source)?.values() ?? [])].filter(
        at => at > nowMs - 11 * 60 * MINUTE,
      )
      // Knowledge of logins can be lost with its domain; it is not lost from a domain that is held.
      if (
        answer.began &&
        rule === bySource &&
        known.length >= 3 &&
        before !== undefined &&
        before.untilMs > nowMs
      )
        t.fail(`a shared source was held: step ${step}`)
      if (before !== undefined && before.untilMs > nowMs && answer.untilMs !== before.untilMs)
        t.fail(`a hold changed its end: step ${step}`)
      if (answer.began) {
        holds++
        held.set(key, { who, rule, untilMs: answer.untilMs })
      }
    } else {
      if (before !== undefined && before.untilMs > nowMs && !(who.class === 'agent' && rule.on === 'failure'))
        t.fail(`a hold was lost: step ${step}`)
      if (answer.ticket !== null) {
        const outcome = (['failure', 'failure', 'failure', 'success', 'none'] as const)[random(5)] ?? 'none'
        rates.outcome(answer.ticket, outcome, nowMs)
        if (outcome === 'success' && who.user !== null) {
          const users = successes.get(who.source) ?? new Map<string, number>()
          successes.set(who.source, users.set(who.user, nowMs))
        }
      }
    }
    if (sizes.domains > limits.domains || sizes.counters > limits.counters || sizes.held > sizes.domains)
      t.fail(`memory: step ${step} ${JSON.stringify(sizes)}`)
  }
  t.true(holds > 100 && rates.sizes.evicted > 100, `${holds} holds, ${rates.sizes.evicted} evicted`)
})
