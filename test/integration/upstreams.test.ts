// Servers behind the gate that die and come back: who serves, what agents and people see, and what no agent may lose.
import test from 'ava'
import { createFleet, type Fleet } from '../../src/practice/fleet.ts'
import { startPracticeRmm } from '../../src/practice/rmm.ts'
import { testCertificate } from '../support/certificates.ts'
import {
  AGENT_NAME,
  ask,
  CONSOLE_NAME,
  openTls,
  startWholeGate,
  until,
  type WholeGate,
} from '../support/whole-gate.ts'

const AGENTS = 40
const PARALLEL = 8
const DIRECT_NAME = 'direct.example.test'
const HEALTH = { interval: '500ms', timeout: '1s' }

/** Agents behind the load balancer. */
function fleetOf(gate: WholeGate): Fleet {
  return createFleet({
    agents: AGENTS,
    seed: 3,
    addresses: `https://${AGENT_NAME}`,
    resolve: () => ({ host: '127.0.0.1', port: gate.port }),
    ca: gate.ca,
    groups: [{ name: 'us', share: 1, proxySource: index => `216.160.83.${index + 1}` }],
    timeoutMs: 20_000,
  })
}

test('when the primary dies under a fleet the secondary serves at once, and the primary returns only after its hold time', async t => {
  const primary = await startPracticeRmm()
  const secondary = await startPracticeRmm()
  let aheadMs = 0
  await using gate = await startWholeGate({
    upstream: { primary: primary.url, secondary: secondary.url, returnAfter: '60s', health: HEALTH },
    clock: () => Date.now() + aheadMs,
  })
  t.teardown(() => Promise.all([primary.stop(), secondary.stop()]))
  const fleet = fleetOf(gate)
  await fleet.checkInAll(PARALLEL)
  t.is(primary.stats().checkIns, AGENTS)

  const during = fleet.checkInAll(PARALLEL)
  await until(() => primary.stats().checkIns > AGENTS + 5)
  await primary.fail('refuse')
  await during
  t.true(fleet.stats().failed <= PARALLEL, `${fleet.stats().failed} check-ins failed`)
  t.true(secondary.stats().checkIns > 0)
  const lost = fleet.stats().failed
  await fleet.checkInAll(PARALLEL)
  t.is(fleet.stats().failed, lost)
  await gate.lines.next('upstream.switched', entry => entry.to === 'rmm/secondary')

  await primary.fail('none')
  await gate.lines.next('upstream.up', entry => entry.member === 'rmm/primary')
  const before = primary.stats().checkIns
  await fleet.checkInAll(PARALLEL)
  t.is(primary.stats().checkIns, before, 'its hold time is not over')
  aheadMs = 61_000
  await gate.lines.next('upstream.switched', entry => entry.to === 'rmm/primary')
  await fleet.checkInAll(PARALLEL)
  t.is(primary.stats().checkIns, before + AGENTS)
  t.is(fleet.stats().failed, lost)
  fleet.stop()
  await gate.idle()
})

test('trap 20: when every server is down, agents get a reset and people 503 with Retry-After', async t => {
  const rmm = await startPracticeRmm()
  await using gate = await startWholeGate({ rmm, upstream: { primary: rmm.url, health: HEALTH } })
  t.is((await ask(gate)).status, 200)
  await rmm.fail('refuse')
  await gate.lines.next('upstream.down')
  await t.throwsAsync(openTls(gate), { code: 'ECONNRESET' })
  const refused = await gate.lines.next('connection.refused')
  t.is(refused.reason, 'upstream-down')
  const page = await ask(gate, { path: '/automate' }, { name: CONSOLE_NAME })
  t.is(page.status, 503)
  t.truthy(page.headers['retry-after'])
  t.truthy(page.headers['portcullis-reference'])
  t.is((await gate.status()).upstreams[0]?.state, 'down')
  t.is(await gate.metric('portcullis_upstream_up', { member: 'rmm/primary' }), 0)

  await rmm.fail('none')
  await gate.lines.next('upstream.up')
  t.is((await ask(gate)).status, 200)
  t.is((await ask(gate, { path: '/automate' }, { name: CONSOLE_NAME })).status, 200)
})

test('a fleet whose gate has no server falls over to its direct server and comes back', async t => {
  const rmm = await startPracticeRmm()
  const direct = await startPracticeRmm({ tls: await testCertificate([DIRECT_NAME]) })
  t.teardown(() => direct.stop())
  await using gate = await startWholeGate({ rmm, upstream: { primary: rmm.url, health: HEALTH } })
  const fleet = createFleet({
    agents: AGENTS,
    seed: 4,
    addresses: `https://${AGENT_NAME}|https://${DIRECT_NAME}`,
    resolve: ({ host }) => ({
      host: '127.0.0.1',
      port: host === DIRECT_NAME ? direct.httpPort : gate.directPort,
    }),
    ca: gate.ca,
    timeoutMs: 20_000,
  })
  await fleet.checkInAll(PARALLEL)
  t.deepEqual(fleet.stats().okAt, { primary: AGENTS, secondary: 0 })
  await rmm.fail('refuse')
  await gate.lines.next('upstream.down')
  await fleet.checkInAll(PARALLEL)
  t.deepEqual(fleet.stats().okAt, { primary: AGENTS, secondary: AGENTS })
  t.deepEqual([...fleet.stats().failures], [['reset', AGENTS]])
  await rmm.fail('none')
  await gate.lines.next('upstream.up')
  await fleet.checkInAll(PARALLEL)
  t.deepEqual(fleet.stats().okAt, { primary: 2 * AGENTS, secondary: AGENTS })
  t.is(fleet.stats().failed, 0)
  fleet.stop()
})

test('a server that hangs is left for the other one without a client that waits for ever', async t => {
  const primary = await startPracticeRmm()
  const secondary = await startPracticeRmm()
  t.teardown(() => Promise.all([primary.stop(), secondary.stop()]))
  await using gate = await startWholeGate({
    upstream: { primary: primary.url, secondary: secondary.url, health: HEALTH },
  })
  t.is((await ask(gate)).status, 200)
  await primary.fail('hang')
  await gate.lines.next('upstream.switched', entry => entry.to === 'rmm/secondary')
  t.is((await ask(gate)).status, 200)
  t.true(secondary.stats().requests > 0)
})
