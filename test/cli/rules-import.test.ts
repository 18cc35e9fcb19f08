// portcullis rules import: a rule set in the ModSecurity language, from its files to refusals at the gate.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import test from 'ava'
import { US } from '../diagnose/support.ts'
import { startBench, startRunningBench, type Bench } from './support.ts'

const RULES = `SecDefaultAction "phase:2,log,pass"
SecRule &TX:crs_setup_version "@eq 0" "id:100,phase:1,deny,msg:'no settings'"
SecRule ARGS|XML:/* "@pmFromFile words.data" \\
    "id:200,phase:2,block,capture,msg:'Bad word',logdata:'%{TX.0}',tag:'capec/1000/210',severity:CRITICAL,\\
    setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecRule ARGS "@rx (?i)drop\\s+table" "id:201,phase:2,block,msg:'SQL',severity:ERROR,setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecRule RESPONSE_BODY "@rx leak" "id:300,phase:4,block,msg:'Leak'"
SecRule TX:INBOUND_ANOMALY_SCORE_PL1 "@ge %{tx.inbound_anomaly_score_threshold}" \\
    "id:949110,phase:2,deny,msg:'Score %{TX.INBOUND_ANOMALY_SCORE_PL1}'"
`

function writeRuleSet(bench: Bench, rules = RULES): string {
  const folder = join(bench.root, 'set')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'rules'), { recursive: true })
  writeFileSync(
    join(folder, 'crs-setup.conf.example'),
    'SecAction "id:1,phase:1,nolog,pass,setvar:tx.crs_setup_version=1"\n',
  )
  writeFileSync(join(folder, 'rules/REQUEST-1.conf'), rules)
  writeFileSync(join(folder, 'rules/words.data'), '# words\nfrobnicate\n')
  writeFileSync(join(folder, 'README'), 'not part of it')
  return folder
}

async function digestOf(bench: Bench, source: string): Promise<string> {
  const { code, err } = await bench.cli(['rules', 'import', source])
  if (code !== 2) throw new Error(err)
  return /[0-9a-f]{64}/.exec(err)?.[0] ?? ''
}

test('a digest is asked for, compared, and the files land with a list of theirs', async t => {
  const bench = startBench(t)
  writeRuleSet(bench)
  const digest = await digestOf(bench, 'set')
  const wrong = await bench.cli(['rules', 'import', 'set', '--sha256', '0'.repeat(64)])
  t.is(wrong.code, 1)
  t.regex(wrong.err, /its SHA-256 is/)
  const { code, out } = await bench.cli(['rules', 'import', 'set', '--sha256', digest])
  t.is(code, 0)
  t.regex(out, /5 rules imported into policies\/rules\/imported\/crs/)
  t.regex(out, /1 rule not asked: it looks at responses/)
  const folder = join(bench.root, 'policies/rules/imported/crs')
  const list = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
    files: { path: string; sha256: string }[]
  }
  t.deepEqual(list.files.map(({ path }) => path).sort(), [
    'crs-setup.conf.example',
    'rules/REQUEST-1.conf',
    'rules/words.data',
  ])
  const own = createHash('sha256')
    .update(readFileSync(join(folder, 'rules/words.data')))
    .digest('hex')
  t.is(list.files.find(({ path }) => path === 'rules/words.data')?.sha256, own)
  for (const words of [
    ['import'],
    ['import', 'set', '--name', '../x'],
    ['import', 'set', '--paranoia', '5'],
  ]) {
    t.is((await bench.cli(['rules', ...words])).code, 2, words.join(' '))
  }
  t.is((await bench.cli(['rules', 'import', 'nowhere', '--sha256', digest])).code, 1)
})

test('an archive is read as well; what is not whole, too much or a link is refused', async t => {
  const bench = startBench(t)
  const folder = writeRuleSet(bench)
  const archive = join(bench.root, 'set.tar.gz')
  execFileSync('tar', ['czf', archive, '-C', bench.root, 'set'])
  const digest = createHash('sha256').update(readFileSync(archive)).digest('hex')
  t.is(await digestOf(bench, archive), digest)
  t.is((await bench.cli(['rules', 'import', archive, '--sha256', digest.toUpperCase()])).code, 0)

  writeFileSync(archive, readFileSync(archive).subarray(0, 200))
  t.regex((await bench.cli(['rules', 'import', archive])).err, /cannot be unpacked/)
  writeFileSync(archive, 'x'.repeat(2000))
  t.regex((await bench.cli(['rules', 'import', archive])).err, /no tar archive/)
  symlinkSync('/etc/passwd', join(folder, 'rules/link.conf'))
  t.regex((await bench.cli(['rules', 'import', 'set'])).err, /link\.conf is not a regular file/)
  const linked = join(bench.root, 'linked')
  mkdirSync(linked)
  symlinkSync(join(folder, 'rules'), join(linked, 'rules'))
  t.regex((await bench.cli(['rules', 'import', linked])).err, /rules\/ is not a folder/)

  writeRuleSet(bench, 'SecRule ARGS "@rx a')
  const broken = await bench.cli(['rules', 'import', 'set', '--sha256', await digestOf(bench, 'set')])
  t.is(broken.code, 1)
  t.regex(broken.err, /REQUEST-1\.conf:1: a quote is opened and not closed/)
})

test('imported rules watch, refuse by their own score when told to, and leave out what the policy names', async t => {
  const bench = await startRunningBench(t)
  writeRuleSet(bench)
  await bench.cli(['rules', 'import', 'set', '--sha256', await digestOf(bench, 'set')])
  const status = async (path: string): Promise<unknown> => {
    const answer = await bench.ask(US, { path })
    return 'status' in answer ? answer.status : answer.error
  }
  const use = async (written: string): Promise<void> => {
    bench.mergePolicy(`rules: { imported: { crs: ${written} } }`)
    const { code, out, err } = await bench.cli(['reload'])
    t.is(code, 0, out + err)
  }
  const attack = '/automate/?q=DROP%20table%20users'
  const quiet = await status('/automate/?q=table')
  await use('{ mode: detect }')
  t.is(await status(attack), quiet)
  const events = await bench.cli(['events', '--json'])
  t.regex(events.out, /crs-201/)
  await use('{ mode: enforce }')
  t.is(await status(attack), 403)
  t.is(await status('/automate/?q=table'), quiet)
  await use('{ mode: enforce, threshold: 6 }')
  t.is(await status(attack), quiet)
  t.is(await status('/automate/?q=drop%20table&p=frobnicate'), 403)
  await use('{ mode: enforce, without: [201], threshold: 5 }')
  t.is(await status(attack), quiet)
  await use('{ mode: off, without: [] }')
  t.is(await status(attack), quiet)
  const listed = await bench.cli(['rules', 'list', 'crs'])
  t.regex(listed.out, /crs-300 .*not asked: it looks at responses/)
})

test('a policy that names what is not imported, or was changed since, is refused; own exclusions are read', async t => {
  const bench = startBench(t, 'rules: { imported: { crs: {} } }')
  const missing = await bench.cli(['check'])
  t.is(missing.code, 1)
  t.regex(missing.out + missing.err, /manifest\.json: no such file/)
  writeRuleSet(bench)
  await bench.cli(['rules', 'import', 'set', '--sha256', await digestOf(bench, 'set')])
  t.is((await bench.cli(['check'])).code, 0)
  const folder = join(bench.root, 'policies/rules/imported/crs')
  writeFileSync(join(folder, 'local-before.conf'), 'SecRule ARGS "@rx x" "id:5"\nSecRule ARGS\n')
  const own = await bench.cli(['check'])
  t.is(own.code, 1)
  t.regex(own.out + own.err, /local-before\.conf:2: SecRule needs/)
  writeFileSync(join(folder, 'local-before.conf'), 'SecRule ARGS "@rx x" "id:5"\n')
  t.is((await bench.cli(['check'])).code, 0)
  t.regex((await bench.cli(['rules', 'list', 'crs'])).out, /crs-5 /)
  bench.mergePolicy('rules: { imported: { crs: { without: [77] } } }')
  const unknown = await bench.cli(['check'])
  t.regex(unknown.out + unknown.err, /crs has no rule 77/)
  writeFileSync(join(folder, 'rules/words.data'), 'other\n')
  const changed = await bench.cli(['check'])
  t.regex(changed.out + changed.err, /words\.data is not the file that was imported/)
})
