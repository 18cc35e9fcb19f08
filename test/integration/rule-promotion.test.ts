// Shadow first: a rule detects, and enforces by itself once it was watched long enough without a hit of a known agent.
import test from 'ava'
import { AGENT, isThrough, US } from '../diagnose/support.ts'
import { startRunningBench, type Json, type RunningBench } from '../cli/support.ts'

const DAY = 86_400_000
const HOUR = 3_600_000
const STRANGER = '8.8.8.8'
const ATTACK = { ...AGENT, path: '/LabTech/Agent.aspx?file=../windows/win.ini' }
const POLICY = 'rules: { enforceAfter: { windows-file: 14 } }'

async function named(bench: RunningBench, name: string): Promise<readonly Json[]> {
  const { value } = await bench.json(['events', '--since', '60d', '--name', name])
  return value as unknown as readonly Json[]
}

test('a rule that hit only strangers enforces after its days, says so, and goes on after a change elsewhere', async t => {
  const bench = await startRunningBench(t, POLICY)
  t.regex((await bench.cli(['rules'])).out, /windows-file +detect/)
  t.true(isThrough(await bench.ask(STRANGER, ATTACK)))
  bench.advance(13 * DAY)
  await bench.portcullis.reload('command')
  t.true(isThrough(await bench.ask(STRANGER, ATTACK)))
  t.deepEqual(await named(bench, 'rule.promoted'), [])
  bench.advance(DAY)
  await bench.portcullis.reload('command')
  t.like(await bench.ask(STRANGER, ATTACK), { status: 403 })
  t.true(isThrough(await bench.ask(US, AGENT)))
  const [event] = await named(bench, 'rule.promoted')
  t.like(event?.['fields'], { rule: 'windows-file', days: 14, strangers: 1 })
  bench.mergePolicy('home: [CA]')
  await bench.portcullis.reload('command')
  t.like(await bench.ask(STRANGER, ATTACK), { status: 403 })
})

test('a rule that hit a known agent goes on detecting, and says whom to look at', async t => {
  const bench = await startRunningBench(t, POLICY)
  for (let hour = 0; hour < 4; hour++) {
    await bench.ask(US, AGENT)
    bench.advance(HOUR)
  }
  await bench.ask(US, ATTACK)
  bench.advance(14 * DAY - HOUR)
  await bench.portcullis.reload('command')
  await bench.portcullis.reload('command')
  t.true(isThrough(await bench.ask(US, ATTACK)))
  const events = await named(bench, 'rule.held-back')
  t.is(events.length, 1, 'once a day')
  t.like(events[0]?.['fields'], { rule: 'windows-file', knownAgents: 1 })
})

test('a mistake in enforceAfter is named with what was meant', async t => {
  const bench = await startRunningBench(t)
  bench.mergePolicy('rules: { enforceAfter: { windows-fiel: 14 } }')
  const { code, out } = await bench.cli(['check'])
  t.is(code, 1)
  t.regex(out, /there is no rule or rule pack "windows-fiel"[^]*windows-file/)
})
