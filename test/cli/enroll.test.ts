// P13: deployment paths are opened for one site for a while, and for nobody else, and nothing else.
import test from 'ava'
import { PRACTICE_INSTALLER_TOKEN } from '../../src/practice/rmm.ts'
import { HOST, startRunningBench, type Json } from './support.ts'

const SITE = '216.160.83.56'
const NEIGHBOUR = '216.160.83.99'
const ELSEWHERE = '216.160.84.1'
const DEPLOY = { path: `/LabTech/Deployment.aspx?InstallerToken=${PRACTICE_INSTALLER_TOKEN}` }
const CONSOLE = { path: '/automate/login' }
const POLICY = `
model: agent-only
geo: { overrides: [{ address: 216.160.0.0/16, country: US, reason: test }, { address: 81.2.69.0/24, country: GB, reason: test }] }
sites:
  acme: { addresses: [${SITE}/32] }
  wide: { addresses: [216.160.83.0/24] }
  abroad: { addresses: [81.2.69.142] }
`

const status = (answer: object): unknown => ('status' in answer ? answer.status : answer)

test('P13: an opening lets one site deploy, ends by itself, and is seen everywhere', async t => {
  const bench = await startRunningBench(t, POLICY)
  t.is(status(await bench.ask(SITE, DEPLOY)), 403)
  const opened = await bench.cli([
    'enroll',
    'open',
    '--site',
    'acme',
    '--for',
    '2h',
    '--reason',
    'ticket 4711',
  ])
  t.is(opened.code, 0, opened.err)
  t.regex(opened.out, /Deployments are open for site acme until .*\(2 hours\)/)
  t.regex(opened.out, /deployment\.aspx/i)
  t.false(opened.out.includes('But '), opened.out)

  t.is(status(await bench.ask(SITE, DEPLOY)), 200)
  t.is(status(await bench.ask(SITE, CONSOLE)), 403, 'other classes stay closed')
  t.is(status(await bench.ask(NEIGHBOUR, DEPLOY)), 403, 'a wider site around it stays closed')
  t.is(status(await bench.ask(ELSEWHERE, DEPLOY)), 403)

  t.regex(
    (await bench.cli(['status'])).out,
    /Opened for a while\n +enroll +site acme +until .*tester: ticket 4711/,
  )
  t.regex((await bench.cli(['sites', 'acme'])).out, /enroll open until/)
  const why = await bench.cli(['explain', SITE, '--host', HOST, '--path', DEPLOY.path])
  t.regex(why.out, /opened for site acme by tester: ticket 4711/)
  t.regex((await bench.cli(['enroll', 'list'])).out, /site acme +.*in (?:1 hour|59 minutes|2 hours)/)
  await bench.cli(['events'])
  const events = await bench.json(['events', '--severity', 'warning'])
  t.true(JSON.stringify(events.value).includes('opening.made'))

  bench.advance(2 * 3_600_000 + 1_000)
  t.is(status(await bench.ask(SITE, DEPLOY)), 403, 'it ended by itself')
  t.is((await bench.cli(['enroll', 'list'])).out, 'Nothing is opened for a while.\n')
})

test('P13: an opening does not lift bans, countries or keys, and says so when it is made', async t => {
  const key = `classes: { enroll: { access: open, keys: [{ header: X-Deploy, value: secret-of-the-day }] } }`
  const bench = await startRunningBench(t, POLICY)
  await bench.cli(['ban', SITE, '--reason', 'infected', '--yes'])
  const banned = await bench.json(['enroll', 'open', '--site', 'acme'])
  const [obstacle] = banned.value['stillRefused'] as readonly Json[]
  t.regex(String(obstacle?.['why']), /ban/)
  t.deepEqual(await bench.ask(SITE, DEPLOY), { error: 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED' })
  await bench.cli(['unban', SITE])
  await bench.cli(['ban', SITE, '--class', 'enroll', '--reason', 'no deployments'])
  t.is(status(await bench.ask(SITE, DEPLOY)), 403)
  await bench.cli(['unban', SITE])
  t.is(status(await bench.ask(SITE, DEPLOY)), 200)

  const abroad = await bench.cli(['enroll', 'open', '--site', 'abroad', '--for', '30m'])
  t.regex(abroad.out, /But 81\.2\.69\.142 would still be refused: .*\(GB\)/)
  t.true('error' in (await bench.ask('81.2.69.142', DEPLOY)))

  bench.mergePolicy(key)
  await bench.cli(['reload'])
  const keyed = await bench.cli(['enroll', 'open', '--site', 'acme'])
  t.regex(keyed.out, /asks for the header x-deploy/i)
  t.is(status(await bench.ask(SITE, DEPLOY)), 403)
  t.is(status(await bench.ask(SITE, { ...DEPLOY, headers: { 'x-deploy': 'secret-of-the-day' } })), 200)
})

test('an opening follows its site when the policy moves it, and can be closed at once', async t => {
  const bench = await startRunningBench(t, POLICY)
  await bench.cli(['enroll', 'open', '--site', 'wide'])
  t.is(status(await bench.ask(NEIGHBOUR, DEPLOY)), 200)
  t.is(status(await bench.ask(SITE, DEPLOY)), 403, 'the narrower site is another customer')
  bench.writePolicy(bench.policyText().replace('216.160.83.0/24', '216.160.84.0/24'))
  await bench.cli(['reload'])
  t.is(status(await bench.ask(NEIGHBOUR, DEPLOY)), 403)
  t.is(status(await bench.ask(ELSEWHERE, DEPLOY)), 200)
  const closed = await bench.cli(['enroll', 'close', '--site', 'wide'])
  t.regex(closed.out, /Closed for site wide/)
  t.is(status(await bench.ask(ELSEWHERE, DEPLOY)), 403)
  t.is((await bench.cli(['enroll', 'close', '--site', 'wide'])).code, 1)

  await bench.cli(['enroll', 'open', '--address', ELSEWHERE, '--for', '10m'])
  t.is(status(await bench.ask(ELSEWHERE, DEPLOY)), 200)
  t.is(status(await bench.ask('216.160.84.2', DEPLOY)), 403)
  t.is((await bench.cli(['enroll', 'close', '--all'])).code, 0)
  t.is(status(await bench.ask(ELSEWHERE, DEPLOY)), 403)
})

test('plan knows openings: deployments that pass because of one are not called lost or gained', async t => {
  const bench = await startRunningBench(t, POLICY)
  await bench.cli(['enroll', 'open', '--site', 'acme'])
  await bench.ask(SITE, DEPLOY)
  const candidate = await bench.json(['plan', 'policies'])
  t.is(candidate.code, 0)
  const { changes } = candidate.value['replay'] as { readonly changes: readonly unknown[] }
  t.deepEqual(changes, [])
})

test('what would open too much, or nothing, is refused with the next step', async t => {
  const bench = await startRunningBench(t, POLICY)
  const wrong = async (...words: string[]): Promise<string> => {
    const { code, err } = await bench.cli(['enroll', ...words])
    t.is(code, 2, words.join(' '))
    return err
  }
  t.regex(await wrong('open'), /--site <id> \(acme, wide, abroad\)/)
  t.regex(await wrong('open', '--site', 'acmee'), /Did you mean acme\?/)
  t.regex(await wrong('open', '--site', 'acme', '--address', SITE), /not both/)
  t.regex(await wrong('open', '--address', '0.0.0.0/0'), /too wide/)
  t.regex(await wrong('open', '--address', '2001::/16'), /too wide/)
  t.regex(await wrong('open', '--address', 'acme'), /not an address/)
  t.regex(await wrong('open', '--site', 'acme', '--for', '30d'), /At most 7d/)
  t.regex(await wrong('open', '--site', 'acme', '--for', 'long'), /not a time/)
  t.regex(await wrong('opne', '--site', 'acme'), /enroll open\?/)
  t.regex(await wrong(), /open, close or list/)
  t.is((await bench.json(['enroll', 'list'])).value['openings']?.toString(), '')
})
