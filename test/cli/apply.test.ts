// portcullis apply, history, diff, rollback, and the guard: a deadly policy is refused, and undone when it was forced.
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AGENT, GB, isThrough, US } from '../diagnose/support.ts'
import { startBench, startRunningBench, type Ask, type Json, type RunningBench } from './support.ts'

const MINUTE = 60_000

/** A copy of the policy changed by `change`; its directory. */
function candidate(bench: RunningBench, change: (text: string) => string): string {
  const directory = join(bench.root, 'candidate')
  cpSync(join(bench.root, 'policies'), directory, { recursive: true })
  const file = join(directory, 'portcullis.yaml')
  const before = readFileSync(file, 'utf8')
  const after = change(before)
  if (after === before) throw new Error('the candidate is the same as the policy')
  writeFileSync(file, after)
  return directory
}

const toBritain = (text: string): string => text.replace(/home:\n {2}- US/, 'home:\n  - GB')
const alsoCanada = (text: string): string => text.replace(/home:\n {2}- US/, 'home:\n  - US\n  - CA')

async function eventNames(bench: RunningBench): Promise<readonly unknown[]> {
  const { value } = await bench.json(['events', '--since', '7d', '--limit', '500'])
  return (value as unknown as readonly Json[]).map(event => event['name'])
}

/** Waits for what the gate does by itself at its next look. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate)
}

test('apply: a harmless candidate comes into force with who and why, and can be taken back', async t => {
  const bench = await startRunningBench(t)
  await bench.ask(US, AGENT)
  const directory = candidate(bench, alsoCanada)
  const { code, out } = await bench.cli(['apply', directory, '--reason', 'offices in Canada'])
  t.is(code, 0)
  t.regex(out, /home: US -> CA, US/)
  t.regex(out, /✓ In force as version 2\./)
  t.regex(out, /For 30 minutes the guard/)
  t.deepEqual([...bench.portcullis.snapshot().home.value], ['US', 'CA'])
  const history = await bench.cli(['history'])
  t.regex(history.out, /^1 .*start/)
  t.regex(history.out, /\n2 .*tester: offices in Canada\n +home: US -> CA, US/)
  t.regex((await bench.cli(['diff', '1', '2'])).out, /home: US -> CA, US/)
  t.regex((await bench.cli(['diff', '2'])).out, /They mean the same/)
  const back = await bench.cli(['rollback', '1', '--reason', 'tickets'])
  t.is(back.code, 0)
  t.regex(back.out, /✓ Version 1 is in force again, as version 3\./)
  t.deepEqual([...bench.portcullis.snapshot().home.value], ['US'])
  t.regex(bench.policyText(), /home:\n {2}- US\nmodel/)
})

test('apply refuses what would lose active agents, and changes nothing', async t => {
  const bench = await startRunningBench(t)
  await bench.ask(US, AGENT)
  const before = bench.policyText()
  const directory = candidate(bench, toBritain)
  const { code, err } = await bench.cli(['apply', directory, '--reason', 'typo'])
  t.is(code, 1)
  t.regex(err, /1 source with active agents would be lost; nothing was changed/)
  t.regex(err, /portcullis plan .*--max-loss 1, or --accept-loss/)
  t.is(bench.policyText(), before)
  t.is((await bench.cli(['apply', directory, '--reason', 'meant', '--max-loss', '1', '--no-guard'])).code, 0)
  t.false(isThrough(await bench.ask(US, AGENT)))

  // The way back loses nobody; the way back to the deadly one does, and forced it is watched like any other change.
  t.is((await bench.cli(['rollback', '1'])).code, 0)
  t.true(isThrough(await bench.ask(US, AGENT)))
  const refused = await bench.cli(['rollback', '2'])
  t.is(refused.code, 1)
  t.regex(refused.err, /1 source with active agents would be lost; nothing was changed/)
  t.regex(refused.err, /portcullis plan .*--max-loss 1, or --accept-loss/)
  t.is(bench.policyText(), before)
  const forced = await bench.cli(['rollback', '2', '--accept-loss'])
  t.is(forced.code, 0, forced.err)
  t.regex(forced.out, /For 30 minutes the guard/)
  t.false(isThrough(await bench.ask(US, AGENT)))
  await until(() => bench.portcullis.snapshot().home.value.has('US'))
  t.is(bench.policyText(), before)
  t.true(isThrough(await bench.ask(US, AGENT)))
})

/** Changes that are valid and would cost the fleet: what is written, what agents do, and files besides the policy. */
const DEADLY: readonly {
  readonly what: string
  readonly more?: string
  readonly ask: Ask
  readonly change: (text: string) => string
  readonly also?: (directory: string) => void
}[] = [
  { what: 'the home country is another one', ask: AGENT, change: toBritain },
  {
    what: 'TLS 1.3 only',
    ask: { ...AGENT, tls: 'TLSv1.2' },
    change: text => text.replace(/(\n {2}https:\n)/, '$1    tls: strict\n'),
  },
  {
    what: 'a path of the profile is wrong',
    more: 'model: agent-only',
    ask: AGENT,
    change: text => `${text}# the profile is another one\n`,
    also: directory => {
      const profile = join(directory, 'profiles/connectwise-automate.yaml')
      writeFileSync(profile, readFileSync(profile, 'utf8').replaceAll(/\/labtech\b/gi, '/labteck'))
    },
  },
]

/** So many are believed at once, whatever they are refused for. */
const FLEET = [US, '8.8.8.8', '4.4.4.4']

for (const { what, more, ask, change, also } of DEADLY) {
  test(`the guard: ${what}: refused by apply, and undone when it was forced, as soon as known agents are refused`, async t => {
    const bench = await startRunningBench(t, more)
    const passed = async (): Promise<number> => {
      const results = []
      for (const address of FLEET) results.push(await bench.ask(address, ask))
      return results.filter(isThrough).length
    }
    t.is(await passed(), FLEET.length)
    const { id } = bench.portcullis.snapshot()
    const before = bench.policyText()
    const directory = candidate(bench, change)
    also?.(directory)
    const words = ['apply', directory, '--reason', 'forced']
    t.is((await bench.cli(words)).code, 1)
    t.is(await passed(), FLEET.length)
    t.is((await bench.cli([...words, '--accept-loss'])).code, 0)
    t.is(await passed(), 0)
    await until(() => bench.portcullis.snapshot().id === id)
    t.is(bench.policyText(), before)
    t.is(await passed(), FLEET.length)
    t.true((await eventNames(bench)).includes('policy.rolled-back'))
    t.regex(
      (await bench.cli(['history'])).out,
      /\n3 .*the guard: [1-3] of 3 addresses whose agents checked in/,
    )
    t.regex((await bench.cli(['events', '--name', 'policy.rolled-back'])).out, /taken back by the guard/)
  })
}

test('the guard: agents that simply stop coming undo a policy at the end of a window', async t => {
  const bench = await startRunningBench(t)
  for (let minute = 0; minute < 12; minute++) {
    for (const address of [US, '8.8.8.8', '4.4.4.4']) await bench.ask(address, AGENT)
    bench.advance(MINUTE)
  }
  // Harmless for the plan: what it does to agents cannot be seen in the ledger.
  const applied = await bench.cli(['apply', candidate(bench, alsoCanada), '--reason', 'x', '--guard', '15m'])
  t.is(applied.code, 0)
  // A second change while the first is watched: neither is proven, and the way back leads before both.
  const second = candidate(bench, text => text.replace('  - CA', '  - CA\n  - MX'))
  t.is((await bench.cli(['apply', second, '--reason', 'y', '--guard', '15m'])).code, 0)
  await bench.ask(US, AGENT)
  bench.advance(5 * MINUTE + 1_000)
  await until(() => ![...bench.portcullis.snapshot().home.value].includes('CA'))
  const { out } = await bench.cli(['events', '--name', 'policy.rolled-back'])
  t.regex(
    out,
    /agents of 1 addresses checked in within 5 minutes; before the change there were never fewer than 3/,
  )
})

test('the guard lets a policy stay under which agents go on, and a stranger refused before and after means nothing', async t => {
  const bench = await startRunningBench(t)
  await bench.ask(US, AGENT)
  await bench.ask(GB, AGENT)
  await bench.cli(['apply', candidate(bench, alsoCanada), '--reason', 'x', '--guard', '3m'])
  for (let minute = 0; minute < 4; minute++) {
    await bench.ask(US, AGENT)
    await bench.ask(GB, AGENT)
    bench.advance(MINUTE)
  }
  let kept = false
  while (!kept) kept = (await eventNames(bench)).includes('policy.kept')
  t.true([...bench.portcullis.snapshot().home.value].includes('CA'))
})

test('the history is there when the policy is broken, and a broken policy is no version', async t => {
  const bench = await startRunningBench(t)
  const good = bench.policyText()
  bench.writePolicy(good.replace('model:', 'modle:'))
  t.is((await bench.cli(['reload'])).code, 1)
  const { value } = await bench.json(['history'])
  t.is((value as unknown as readonly Json[]).length, 1)
  t.is((await bench.cli(['rollback', '1'])).code, 0)
  t.is(bench.policyText(), good)
})

test('files that a candidate lacks go, and those that it adds come', async t => {
  const bench = await startRunningBench(t)
  const directory = candidate(bench, alsoCanada)
  writeFileSync(
    join(bench.root, 'policies/rules/old.yaml'),
    readFileSync(join(directory, 'rules/generic.yaml'), 'utf8')
      .replace('pack: generic', 'pack: old')
      .replace('id: windows-file', 'id: old-file'),
  )
  t.is((await bench.cli(['apply', directory, '--reason', 'x'])).code, 0)
  t.false(existsSync(join(bench.root, 'policies/rules/old.yaml')))
})

test('words that are missing or wrong', async t => {
  const bench = startBench(t)
  for (const words of [
    ['apply'],
    ['apply', 'policies'],
    ['apply', 'policies', '--reason', 'x', '--max-loss', 'some'],
    ['apply', 'policies', '--reason', 'x', '--guard', 'ever'],
    ['rollback'],
    ['rollback', 'x'],
    ['diff'],
  ])
    t.is((await bench.cli(words)).code, 2, words.join(' '))
  t.regex((await bench.cli(['rollback', '9'])).err, /no version 9[^]*portcullis history/)
  t.regex((await bench.cli(['history'])).out, /No gate has run/)
  const { code, out } = await bench.cli(['apply', 'policies', '--reason', 'x'])
  t.is(code, 0)
  t.regex(out, /No gate runs with this policy/)
})
