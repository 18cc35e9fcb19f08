// portcullis rules show, test and preview: what authors and admins of rules ask.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AGENT, US } from '../diagnose/support.ts'
import { startBench, startRunningBench, type Json } from './support.ts'

const GOOD = `pack: own
rules:
  - id: no-backup-files
    title: Backup copies of pages
    severity: medium
    when: { in: path, matches: '\\.(?:bak|old)$' }
    tests: { fires: ['GET /web.config.bak'], quiet: ['GET /old/report.pdf'] }
  # about the next one
  - id: no-shell
    title: A shell
    severity: high
    when: { in: args, has: 'cmd.exe' }
    tests: { fires: ['GET /x?c=cmd.exe'], quiet: ['GET /x?c=calc'] }
`

test('rules test: a good file, and one whose rule does not do what its tests say', async t => {
  const bench = startBench(t)
  const file = join(bench.root, 'own.yaml')
  writeFileSync(file, GOOD)
  const good = await bench.cli(['rules', 'test', 'own.yaml'])
  t.is(good.code, 0)
  t.regex(good.out, /✓ +no-backup-files +1 fire +1 quiet +Backup copies/)
  t.regex(good.out, /✓ 2 rules recognised/)

  writeFileSync(file, GOOD.replace('GET /web.config.bak', 'GET /web.config.bak2'))
  const bad = await bench.cli(['rules', 'test', 'own.yaml'])
  t.is(bad.code, 1)
  t.regex(bad.out, /✗ +no-backup-files/)
  t.regex(bad.out, /✓ +no-shell/)
  t.regex(bad.out, /own\.yaml:7:\d+: [^]*does not fire on GET \/web\.config\.bak2/)

  writeFileSync(file, GOOD.replace(`'\\.(?:bak|old)$'`, `'(?=x)bak'`))
  const { code, value } = await bench.json(['rules', 'test', 'own.yaml'])
  t.is(code, 1)
  const [result] = value as unknown as readonly { ok: boolean; problems: readonly Json[] }[]
  t.false(result?.ok)
  t.is(result?.problems[0]?.['line'], 6)

  t.is((await bench.cli(['rules', 'test'])).code, 2)
  const missing = await bench.cli(['rules', 'test', 'nowhere.yaml'])
  t.is(missing.code, 1)
  t.regex(missing.out, /nowhere\.yaml/)
})

test('rules show: the rule as written, without its neighbours', async t => {
  const bench = startBench(t, 'rules: { packs: [own] }')
  writeFileSync(join(bench.root, 'policies/rules/own.yaml'), GOOD)
  const { code, out } = await bench.cli(['rules', 'show', 'no-backup-files'])
  t.is(code, 0)
  t.regex(out, /stated at +policies\/rules\/own\.yaml:3/)
  t.regex(out, /when: \{ in: path/)
  t.notRegex(out, /about the next one|no-shell/)
  const typo = await bench.cli(['rules', 'show', 'no-shel'])
  t.is(typo.code, 2)
  t.regex(typo.err, /Did you mean no-shell\?/)
  t.regex((await bench.cli(['rules', 'shwo'])).err, /Did you mean show\?/)
})

test('rules stats: what was asked, what fired, and that it needs a gate', async t => {
  const bench = await startRunningBench(t, 'rules: { modes: { windows-file: detect } }')
  await bench.ask(US, { ...AGENT, path: '/LabTech/Agent.aspx?file=../windows/win.ini' })
  const { code, value } = await bench.json(['rules', 'stats'])
  t.is(code, 0)
  const counter = (value as unknown as readonly Json[]).find(entry => entry['id'] === 'windows-file')
  t.is(counter?.['hits'], 1)
  t.regex((await bench.cli(['rules', 'stats'])).out, /windows-file +\d+ +1 +/)
  const none = await startBench(t).cli(['rules', 'stats'])
  t.is(none.code, 1)
  t.regex(none.err, /no gate runs/)
})

test('rules preview: a known agent would have been refused, and the exit code says so', async t => {
  const bench = await startRunningBench(t, 'rules: { modes: { windows-file: detect } }')
  t.regex((await bench.cli(['rules', 'preview'])).out, /Nothing would have been refused/)
  for (let hour = 0; hour < 3; hour++) {
    await bench.ask(US, AGENT)
    bench.advance(3_600_000)
  }
  await bench.ask(US, { ...AGENT, path: '/LabTech/Agent.aspx?file=../windows/win.ini' })
  await bench.ask('8.8.8.8', { ...AGENT, path: '/LabTech/Agent.aspx?file=../windows/win.ini' })
  const { code, out } = await bench.cli(['rules', 'preview', 'windows-file'])
  t.is(code, 3)
  t.regex(
    out,
    /windows-file would have refused 2 requests of 2 sources in the last 14 days, 1 of them known agents/,
  )
  t.regex(out, new RegExp(`${US.replaceAll('.', String.raw`\.`)} +- +known agent +1 request`))
  bench.advance(15 * 86_400_000)
  t.is((await bench.cli(['rules', 'preview'])).code, 0)
  t.is((await bench.cli(['rules', 'preview', '--since', 'ever'])).code, 2)
})
