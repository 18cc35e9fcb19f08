// One refusal in, the narrowest exception out: it lets exactly that pass, ends by itself, keeps comments, and opens nothing it must not.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AGENT, GB, isThrough, US } from '../diagnose/support.ts'
import { HOST, startRunningBench, type Ask, type RunningBench } from './support.ts'

const DAY_MS = 86_400_000
const CONSOLE: Ask = { path: '/automate' }

/** Adds comments to a policy file: they must all be there afterwards. */
function comment(bench: RunningBench): readonly string[] {
  const comments = ['# This policy belongs to Jo.', '# the only name']
  const text = bench.policyText().replace(`${HOST}:`, `${comments[1] ?? ''}\n  ${HOST}:`)
  bench.writePolicy(`${comments[0] ?? ''}\n${text}`)
  return comments
}

async function referenceOf(bench: RunningBench, source: string): Promise<string> {
  const { value } = await bench.json(['diagnose', source])
  const [newest] = value['refusals'] as readonly { readonly reference: string }[]
  return newest?.reference ?? 'none'
}

type Case = {
  readonly title: string
  readonly policy?: string
  readonly source: string
  readonly ask: Ask
  readonly options?: readonly string[]
  /** Lines that come. */
  readonly adds: RegExp
  /** What must still be refused afterwards. */
  readonly still: { readonly source: string; readonly ask: Ask }
}

const CASES: readonly Case[] = [
  {
    title: 'country: the address is let in for agents, consoles stay closed to it',
    source: GB,
    ask: AGENT,
    adds: /^allow:\n- address: 81\.2\.69\.142\nclasses: \[agent, update, transfer, heartbeat, relay\]/m,
    still: { source: GB, ask: CONSOLE },
  },
  {
    title: 'country, and --class says who sits there',
    source: GB,
    ask: AGENT,
    options: ['--class', 'console'],
    adds: /classes: \[console\]/,
    still: { source: '81.2.69.143', ask: CONSOLE },
  },
  {
    title: 'closed class: this class for this address',
    policy: 'model: agent-only',
    source: US,
    ask: CONSOLE,
    adds: /classes: \[console\]/,
    still: { source: US, ask: { path: '/cwa/api/v1/computers' } },
  },
  {
    title: 'old TLS: the site of the address, no weaker than what it offers',
    policy: `sites: { acme: { name: Acme, addresses: [${US}] } }`,
    source: US,
    ask: { ...AGENT, tls: 'TLSv1.1' },
    adds: /^tlsException:\nminimum: TLSv1\.1\n/m,
    still: { source: US, ask: { ...AGENT, tls: 'TLSv1' } },
  },
  {
    title: 'rule: this rule, this path, this field, this address',
    source: US,
    ask: { path: '/automate?file=../../windows/win.ini' },
    adds: /^- rule: windows-file\npaths: \[\/automate\]\nfields: \[args\.file\]\nsources: \[216\.160\.83\.56\]/m,
    still: { source: US, ask: { path: '/automate?other=../../windows/win.ini' } },
  },
]

for (const { title, policy = '', source, ask, options = [], adds, still } of CASES) {
  test(`${title}; it ends by itself`, async t => {
    const bench = await startRunningBench(t, policy)
    const comments = comment(bench)
    const wanted = options.includes('console') ? CONSOLE : ask
    t.false(isThrough(await bench.ask(source, ask)))
    const reference = await referenceOf(bench, source)
    const words = ['allow', '--from', reference, '--reason', 'ticket: 4711', '--for', '7d', ...options]
    const before = bench.policyText()
    const dry = await bench.cli([...words, '--dry-run'])
    t.is(dry.code, 0, dry.err)
    t.regex(dry.out.replaceAll(/^ *\+ */gm, ''), adds)
    t.is(bench.policyText(), before, 'a dry run changes nothing')
    const done = await bench.cli(words)
    t.is(done.code, 0, done.err)
    t.regex(done.out, /✓ In force/)
    for (const line of comments) t.true(bench.policyText().includes(line))
    t.regex(bench.policyText(), /reason: "ticket: 4711"/)
    bench.advance(1_000)
    t.true(isThrough(await bench.ask(source, wanted)), bench.policyText())
    t.false(isThrough(await bench.ask(still.source, still.ask)), 'it opens no more than that')

    const listed = await bench.json(['exceptions'])
    const [entry] = listed.value as unknown as readonly Readonly<Record<string, unknown>>[]
    if (entry === undefined) return t.fail('nothing is listed')
    t.is(entry['reason'], 'ticket: 4711')
    t.is(entry['owner'], 'tester')
    t.false(entry['ended'])
    const again = await bench.cli(words)
    t.regex(again.out, /says this already/)

    bench.advance(9 * DAY_MS)
    t.false(isThrough(await bench.ask(source, wanted)), 'an ended exception does not hold')
    const { value } = await bench.json(['diagnose', source])
    const { sentence } = value['diagnosis'] as { readonly sentence: string }
    t.regex(sentence, /ended on \d{4}-\d\d-\d\d \(ticket: 4711/)
    t.regex((await bench.cli(['exceptions', '--ended'])).out, /ended \d{4}-\d\d-\d\d/)
  })
}

async function refused(t: ExecutionContext, bench: RunningBench, words: readonly string[], what: RegExp) {
  const before = bench.policyText()
  const { code, err } = await bench.cli(words)
  t.not(code, 0)
  t.regex(err, what)
  t.is(bench.policyText(), before)
}

test('what an exception must not open is refused, with the way that does', async t => {
  const bench = await startRunningBench(t)
  const rules = join(bench.root, 'policies/rules/generic.yaml')
  t.true(readFileSync(rules, 'utf8').includes('refs: [CWE-22]'))
  const { writeFileSync } = await import('node:fs')
  writeFileSync(rules, readFileSync(rules, 'utf8').replace('refs: [CWE-22]', 'refs: [CVE-2026-0001]'))
  t.is((await bench.cli(['reload'])).code, 0)
  await bench.ask(US, { path: '/automate?file=../../windows/win.ini' })
  const patch = await referenceOf(bench, US)
  const words = ['allow', '--from', patch, '--reason', 'x']
  await refused(t, bench, words, /closes a known hole \(CVE-2026-0001.*--even-virtual-patch/s)
  t.is((await bench.cli([...words, '--even-virtual-patch', '--dry-run'])).code, 0)

  await bench.cli(['ban', GB, '--reason', 'guessing', '--owner', 'jane'])
  await bench.ask(GB, AGENT)
  const banned = await referenceOf(bench, GB)
  await refused(
    t,
    bench,
    ['allow', '--from', banned, '--reason', 'x'],
    /banned on purpose.*unban 81\.2\.69\.142/s,
  )

  await bench.ask(US, { ...AGENT, headers: { host: 'other.example.test' } })
  const wrongName = await referenceOf(bench, US)
  await refused(t, bench, ['allow', '--from', wrongName, '--reason', 'x'], /no exception helps here/)
})

test('calls that cannot be meant are explained', async t => {
  const bench = await startRunningBench(t)
  await refused(t, bench, ['allow', '--from', 'nonsense', '--reason', 'x'], /not a reference/)
  await refused(t, bench, ['allow', '--from', 'P7F3-K9QX-M2A', '--reason', 'x'], /nothing is recorded/)
  await refused(t, bench, ['allow', '--from', 'P7F3-K9QX-M2A'], /needs a reason/)
  await refused(t, bench, ['allow', US, '--from', 'P7F3-K9QX-M2A', '--reason', 'x'], /not both/)
  await bench.ask(GB, AGENT)
  const reference = await referenceOf(bench, GB)
  await refused(t, bench, ['allow', '--from', reference, '--reason', 'x', '--for', '2h'], /at least a day/)
  await refused(
    t,
    bench,
    ['allow', '--from', reference, '--reason', 'x', '--for', '999d'],
    /at most 366 days/,
  )
  // A reason is text, whatever stands in it.
  const hostile = 'x"\n    classes: [console] # '
  const { code, out } = await bench.cli(['allow', '--from', reference, '--reason', hostile, '--dry-run'])
  t.is(code, 0)
  t.notRegex(out, /^\s*\+ +classes: \[console\]/m)
})
