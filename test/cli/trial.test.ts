// P11: the trial report says what the gate adds, what it refuses and would refuse, and whether known agents are among them.
import test from 'ava'
import { HOST, startBench, startGate, startRunningBench, type Json } from './support.ts'

const AGENT = '216.160.83.56'
const STRANGER = '111.235.160.1'
const POLICY = `
geo:
  loopback: allow
  overrides:
    - { address: 216.160.0.0/16, country: US, reason: test }
    - { address: 111.235.160.0/24, country: CN, reason: test }
listeners: { plain: { address: '127.0.0.1:0' } }
sites: { acme: { addresses: [${AGENT}] } }
rules: { modes: [{ mode: detect }] }
`

type Trial = {
  readonly trial: {
    readonly knownAgents: number
    readonly classes: readonly Json[]
    readonly refusals: readonly Json[]
    readonly detections: readonly Json[]
  }
  readonly latency: readonly Json[]
  readonly comparison: Json | null
}

test('P11: latency per class, refusals and detections with the share of known agents, across a restart', async t => {
  const bench = await startRunningBench(t, POLICY)
  for (let hour = 0; hour < 4; hour++) {
    t.like(await bench.ask(AGENT), { status: 200 })
    bench.advance(3_600_000)
  }
  await bench.ask(AGENT, { path: '/LabTech/Agent.aspx?file=../../windows/win.ini' })
  await bench.ask(STRANGER)
  bench.mergePolicy('classes: { console: { access: closed } }')
  await bench.cli(['reload'])
  await bench.ask(AGENT, { path: '/automate/' })

  const { code, value } = await bench.json(['trial', 'report'])
  t.is(code, 1, 'a known agent is refused')
  const { trial, latency } = value as unknown as Trial
  t.is(trial.knownAgents, 1)
  t.like(trial.classes[0], { class: 'agent', passed: 5, failed: 0 })
  t.like(
    trial.refusals.find(entry => entry['family'] === 'country'),
    { outcome: 'country-refused', sources: 1, knownAgents: 0, examples: [STRANGER] },
  )
  t.like(
    trial.refusals.find(entry => entry['family'] === 'access'),
    { outcome: 'class-closed', site: 'acme', class: 'console', knownAgents: 1, examples: [AGENT] },
  )
  t.like(trial.detections[0], { rule: 'windows-file', site: 'acme', class: 'agent', hits: 1, knownAgents: 1 })
  const agent = latency.find(entry => entry['class'] === 'agent')
  t.is(agent?.['requests'], 5)
  const [gate, server, total] = ['gateP50Ms', 'serverP50Ms', 'totalP50Ms'].map(key => Number(agent?.[key]))
  t.true((gate ?? 0) > 0 && (server ?? 0) > 0)
  t.true((total ?? 0) * 1.3 >= (server ?? 0), 'the whole is not shorter than a part, within a bucket')

  const text = await bench.cli(['trial', 'report'])
  t.regex(text.out, /country +- +- +1 +1 +0/)
  t.regex(text.out, /access +acme +console +1 +1 +1 of 1 \(216\.160\.83\.56\)/)
  t.regex(text.out, /windows-file +acme +agent +1/)
  t.regex(text.out, /Begin here: bin\/diagnose 216\.160\.83\.56/)

  await bench.portcullis.stop()
  await startGate(t, bench)
  await bench.cli(['status'])
  const after = (await bench.json(['trial', 'report'])).value as unknown as Trial
  t.is(after.latency.find(entry => entry['class'] === 'agent')?.['requests'], 5)
})

test('P11: the product probe is measured on both ways in turn, and never without bound', async t => {
  const bench = await startRunningBench(t, POLICY)
  const port = bench.portcullis.gate.addresses().find(entry => entry.listener === 'plain')?.port ?? 0
  const ways = [
    '--direct',
    bench.practice.url,
    '--gate',
    `https://${HOST}:${port}`,
    '--gate-address',
    '127.0.0.1',
    '--ca',
    bench.authorityFile,
  ]
  const { value } = await bench.json(['trial', 'report', ...ways, '--count', '3'])
  t.like(value['comparison'], { gate: { answered: 3, errors: {} }, direct: { answered: 3, errors: {} } })
  const { addedP50Ms, gate, direct } = value['comparison'] as {
    readonly addedP50Ms: number
    readonly gate: { readonly p50Ms: number }
    readonly direct: { readonly p50Ms: number }
  }
  t.is(addedP50Ms, gate.p50Ms - direct.p50Ms)
  const text = await bench.cli(['trial', 'report', ...ways, '--count', '1'])
  t.regex(text.out, /The way through the gate adds -?[0-9.]+ ms/)

  const dead = await bench.json([
    'trial',
    'report',
    '--direct',
    'http://127.0.0.1:1',
    ...ways.slice(2),
    '--count',
    '2',
  ])
  t.like(dead.value['comparison'], { direct: { answered: 0, p50Ms: null }, addedP50Ms: null })
  for (const [words, expected] of [
    [['--direct', bench.practice.url, '--count', '100000'], /1 to 200/],
    [['--direct', 'direct.example.com'], /not the address of a server/],
    [['--direct', 'https://direct.example.com/path'], /not the address of a server/],
    [['--since', 'ever'], /not a time/],
  ] as const) {
    const wrong = await bench.cli(['trial', 'report', ...words])
    t.is(wrong.code, 2)
    t.regex(wrong.err, expected)
  }
  t.regex((await bench.cli(['trial', 'reprot'])).err, /trial report\?/)
})

test('without any record the report says what comes first', async t => {
  const bench = startBench(t)
  const { code, out } = await bench.cli(['trial', 'report'])
  t.is(code, 0)
  t.regex(out, /let agents use the gate first/)
})
