// Imported rules under the policy's modes and exceptions: what diagnose proposes works, show shows them, apply and rollback keep them.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { parse } from 'yaml'
import { US } from '../diagnose/support.ts'
import { startRunningBench, type Ask, type Bench, type RunningBench } from './support.ts'

const RULES = `SecDefaultAction "phase:2,log,pass"
# first of its kind
SecRule REQUEST_URI_RAW|ARGS|ARGS_NAMES "@rx (?i)\\bor\\b.+=" \\
    "id:942100,\\
    phase:2,block,capture,t:none,t:urlDecodeUni,msg:'SQL condition',tag:'attack-sqli',tag:'OWASP_CRS/ATTACK-SQLI',\\
    severity:CRITICAL,setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecRule REQUEST_METHOD "@streq GET" "id:942190,phase:2,block,msg:'SQL comparison',tag:'attack-sqli',severity:ERROR,chain"
    # the second half
    SecRule ARGS:condition "@rx like" "setvar:'tx.inbound_anomaly_score_pl1=+4'"
SecRule TX:INBOUND_ANOMALY_SCORE_PL1 "@ge %{tx.inbound_anomaly_score_threshold}" \\
    "id:949110,phase:2,deny,msg:'Score %{TX.INBOUND_ANOMALY_SCORE_PL1}'"
`
const API = '/cwa/api/v1/Computers'
const FILTER = `${API}?condition=Name%20like%20'a'%20or%20Id=1`

async function importInto(t: ExecutionContext, bench: Bench, mode = 'enforce'): Promise<void> {
  const folder = join(bench.root, 'set')
  mkdirSync(join(folder, 'rules'), { recursive: true })
  writeFileSync(join(folder, 'crs-setup.conf.example'), 'SecAction "id:1,phase:1,nolog,pass"\n')
  writeFileSync(join(folder, 'rules/REQUEST-942.conf'), RULES)
  const asked = await bench.cli(['rules', 'import', 'set'])
  const digest = /[0-9a-f]{64}/.exec(asked.err)?.[0] ?? ''
  t.is((await bench.cli(['rules', 'import', 'set', '--sha256', digest])).code, 0)
  bench.mergePolicy(`rules: { imported: { crs: { mode: ${mode} } } }`)
}

async function reload(t: ExecutionContext, bench: Bench): Promise<void> {
  const { code, out, err } = await bench.cli(['reload'])
  t.is(code, 0, out + err)
}

async function status(bench: RunningBench, ask: Ask): Promise<unknown> {
  const answer = await bench.ask(US, ask)
  return 'status' in answer ? answer.status : answer.error
}

test('a benign filter that an imported rule set refuses: the exceptions that diagnose proposes let it through', async t => {
  const bench = await startRunningBench(t)
  const usual = await status(bench, { path: FILTER })
  await importInto(t, bench)
  await reload(t, bench)
  t.is(await status(bench, { path: FILTER }), 403)
  const { value } = await bench.json(['diagnose', US])
  const { fix } = value['diagnosis'] as { fix: { yaml: string; steps: readonly string[] } }
  t.regex(fix.steps[0] ?? '', /Several rules refused the request together/)
  const { rules } = parse(fix.yaml) as { rules: { exceptions: readonly Record<string, unknown>[] } }
  t.deepEqual(
    rules.exceptions.map(({ rule, fields, paths }) => ({ rule, fields, paths })),
    [
      { rule: 'crs-942100', fields: ['args.condition', 'target.raw'], paths: [API.toLowerCase()] },
      { rule: 'crs-942190', fields: ['args.condition'], paths: [API.toLowerCase()] },
    ],
  )
  const explained = await bench.cli(['explain', US, '--path', FILTER])
  t.regex(explained.out, /args\.condition/)
  t.regex(explained.out, /rule crs-949110: Score 14/)
  t.regex(explained.out, /14 points: crs-942100 10, crs-942190 4/)
  bench.mergePolicy(fix.yaml)
  await reload(t, bench)
  t.is(await status(bench, { path: FILTER }), usual)
  t.regex((await bench.cli(['explain', US, '--path', FILTER])).out, /no enforcing rule fired/)
  t.is(await status(bench, { path: FILTER.replace('condition=', 'other=') }), 403)
  t.is(await status(bench, { path: FILTER.replace(API, '/cwa/api/v1/elsewhere') }), 403)
  t.regex((await bench.cli(['rules'])).out, /exception from crs-942100 until /)
})

test('rules show: the lines of an imported rule as written, with its chain and its tags', async t => {
  const bench = await startRunningBench(t)
  await importInto(t, bench)
  const first = await bench.cli(['rules', 'show', 'crs-942100'])
  t.is(first.code, 0, first.err)
  t.true(first.out.endsWith(`${RULES.split('\n').slice(2, 6).join('\n')}\n`), first.out)
  t.regex(first.out, /tags +attack-sqli, OWASP_CRS\/ATTACK-SQLI/)
  const chain = await bench.cli(['rules', 'show', 'crs-942190'])
  t.true(chain.out.endsWith(`${RULES.split('\n').slice(6, 9).join('\n')}\n`), chain.out)
  const typo = await bench.cli(['rules', 'show', 'crs-94210'])
  t.regex(typo.err, /Did you mean crs-942100\?/)
})

test('apply and rollback carry the files of an import, and leave alone one that the policy does not use', async t => {
  const bench = await startRunningBench(t)
  const policies = join(bench.root, 'policies')
  const folder = join(policies, 'rules/imported/crs')
  const other = join(policies, 'rules/imported/other/rules')
  mkdirSync(other, { recursive: true })
  writeFileSync(join(other, 'x.conf'), '# not in use\n')
  const before = bench.policyText()
  await importInto(t, bench)
  writeFileSync(join(folder, 'local-before.conf'), 'SecAction "id:7,phase:1,nolog,pass"\n')
  const directory = join(bench.root, 'candidate')
  cpSync(policies, directory, { recursive: true })
  // The directory in force is what it was before the import.
  rmSync(folder, { recursive: true })
  bench.writePolicy(before)
  t.not(await status(bench, { path: FILTER }), 403)

  const applied = await bench.cli(['apply', directory, '--reason', 'core rules', '--no-guard'])
  t.is(applied.code, 0, applied.out + applied.err)
  t.is(await status(bench, { path: FILTER }), 403)
  t.is(readFileSync(join(folder, 'rules/REQUEST-942.conf'), 'utf8'), RULES)

  // A version without the admin's own file: it is gone afterwards.
  rmSync(join(directory, 'rules/imported/crs/local-before.conf'))
  writeFileSync(join(directory, 'portcullis.yaml'), `${bench.policyText()}# without\n`)
  t.is((await bench.cli(['apply', directory, '--reason', 'fewer', '--no-guard'])).code, 0)
  t.false(existsSync(join(folder, 'local-before.conf')))

  t.is((await bench.cli(['rollback', '1'])).code, 0)
  t.not(await status(bench, { path: FILTER }), 403)
  t.true(existsSync(join(folder, 'manifest.json')))
  rmSync(folder, { recursive: true })
  const back = await bench.cli(['rollback', '2'])
  t.is(back.code, 0, back.err)
  t.is(await status(bench, { path: FILTER }), 403)
  t.true(existsSync(join(folder, 'local-before.conf')))
  t.true(existsSync(join(other, 'x.conf')))
})
