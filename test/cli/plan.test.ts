// portcullis plan: traffic of real clients is recorded by a gate, and deadly candidates are caught before they are in force.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { parse, stringify } from 'yaml'
import { AGENT, GB, US } from '../diagnose/support.ts'
import { merged, startBench, startRunningBench, type Json, type RunningBench } from './support.ts'

/** A copy of the policy with YAML merged into it, or made of its text; its directory. */
function candidate(bench: RunningBench, change: string | ((text: string) => string)): string {
  const directory = join(bench.root, 'candidate')
  cpSync(join(bench.root, 'policies'), directory, { recursive: true })
  const file = join(directory, 'portcullis.yaml')
  const text = readFileSync(file, 'utf8')
  writeFileSync(
    file,
    typeof change === 'string' ? stringify(merged(parse(text) as Json, parse(change) as Json)) : change(text),
  )
  return directory
}

type Planned = {
  readonly changes: readonly string[]
  readonly replay: {
    readonly rows: number
    readonly agents: number
    readonly lostAgents: number
    readonly changes: readonly Json[]
  }
  readonly rules: readonly Json[]
}

async function plan(bench: RunningBench, directory: string): Promise<{ code: number; value: Planned }> {
  const { code, value } = await bench.json(['plan', directory])
  return { code, value: value as unknown as Planned }
}

/** One agent that checks in over TLS 1.3, one that can do TLS 1.2 only, and one abroad that is refused. */
async function traffic(bench: RunningBench): Promise<void> {
  await bench.ask(US, { ...AGENT, tls: 'TLSv1.3' })
  await bench.ask('8.8.8.8', { ...AGENT, tls: 'TLSv1.2' })
  await bench.ask(GB, AGENT)
}

test('the same policy loses nobody', async t => {
  const bench = await startRunningBench(t)
  await traffic(bench)
  const { code, value } = await plan(bench, join(bench.root, 'policies'))
  t.is(code, 0)
  t.deepEqual(value.changes, [])
  t.like(value.replay, { agents: 2, lostAgents: 0, changes: [] })
  t.true(value.replay.rows >= 3)
})

test('home country removed: every agent would be lost, with the line that would do it', async t => {
  const bench = await startRunningBench(t)
  await traffic(bench)
  const directory = candidate(bench, text => text.replace(/home:\n {2}- US/, 'home:\n  - GB'))
  const { code, value } = await plan(bench, directory)
  t.is(code, 3)
  t.is(value.replay.lostAgents, 2)
  const lost = value.replay.changes.filter(change => change['kind'] === 'lost')
  t.deepEqual(
    lost.map(change => change['reason']),
    ['country-refused', 'country-refused'],
  )
  t.like(
    value.replay.changes.find(change => change['kind'] === 'gained'),
    { address: GB, activeAgent: false },
  )
  const { code: again, out } = await bench.cli(['plan', directory])
  t.is(again, 3)
  t.regex(out, /✗ 2 sources with active agents would be lost:/)
  t.regex(out, /8\.8\.8\.8 +agent .*country-refused.*candidate\/portcullis\.yaml:\d+/)
  t.regex(out, /home: US -> GB/)
})

test('TLS 1.3 only: the device that cannot do it would be lost, the other stays', async t => {
  const bench = await startRunningBench(t)
  await traffic(bench)
  const { code, value } = await plan(bench, candidate(bench, 'listeners: { https: { tls: strict } }'))
  t.is(code, 3)
  t.deepEqual(
    value.replay.changes.map(change => [change['kind'], change['address'], change['reason']]),
    [['lost', '8.8.8.8', 'tls-version-too-low']],
  )
})

test('a wrong profile: agents would be taken for unknown paths and lost', async t => {
  const bench = await startRunningBench(t, 'model: agent-only')
  await traffic(bench)
  const directory = candidate(bench, 'version: 1')
  const profile = join(directory, 'profiles/connectwise-automate.yaml')
  writeFileSync(profile, readFileSync(profile, 'utf8').replaceAll(/\/labtech\b/gi, '/labteck'))
  const { code, value } = await plan(bench, directory)
  t.is(code, 3)
  t.is(value.replay.lostAgents, 2)
  t.deepEqual([...new Set(value.replay.changes.map(change => change['reason']))], ['class-closed'])
})

test('a key that agents do not carry is said to be uncertain; a longer look back finds older agents', async t => {
  const bench = await startRunningBench(t)
  await traffic(bench)
  const directory = candidate(
    bench,
    `classes: { agent: { keys: [{ header: x-agent-key, sha256: '${'ab'.repeat(32)}' }] } }`,
  )
  const first = await plan(bench, directory)
  t.is(first.code, 3)
  t.true(first.value.replay.changes.every(change => change['uncertain'] === true))
  bench.advance(9 * 86_400_000)
  const week = await plan(bench, directory)
  t.is(week.code, 0)
  t.is(week.value.replay.rows, 0)
  const { value } = await bench.json(['plan', directory, '--since', '30d'])
  const { lostAgents, changes } = (value as unknown as Planned).replay
  t.is(lostAgents, 0, 'nobody of them is active any more')
  t.is(changes.length, 2)
})

test('a rule that begins to enforce: its recorded detections are counted against it', async t => {
  const bench = await startRunningBench(t, 'rules: { modes: { windows-file: detect } }')
  await bench.ask(US, { ...AGENT, path: '/LabTech/Agent.aspx?file=../windows/win.ini' })
  const { value } = await plan(bench, candidate(bench, 'rules: { modes: { windows-file: enforce } }'))
  t.like(value.rules[0], { ruleId: 'windows-file', hits: 1, sourceCount: 1, knownAgents: 0 })
})

test('words that are missing or wrong, a candidate with a mistake, and nothing recorded yet', async t => {
  const bench = startBench(t)
  const none = await bench.cli(['plan'])
  t.is(none.code, 2)
  t.regex(none.err, /directory of a candidate policy/)
  t.is((await bench.cli(['plan', 'policies', '--since', 'yesterday'])).code, 2)
  const { code, out } = await bench.cli(['plan', 'policies'])
  t.is(code, 0)
  t.regex(out, /Nothing has been recorded yet/)
  const directory = join(bench.root, 'candidate')
  cpSync(join(bench.root, 'policies'), directory, { recursive: true })
  writeFileSync(join(directory, 'portcullis.yaml'), bench.policyText().replace('model:', 'modle:'))
  const wrong = await bench.cli(['plan', 'candidate'])
  t.is(wrong.code, 1)
  t.regex(wrong.out, /candidate\/portcullis\.yaml:\d+:\d+: [^]*model[^]*nothing was replayed/)
})
