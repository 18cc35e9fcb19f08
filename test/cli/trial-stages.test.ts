// Stages on trial at a real gate: what passes, what is recorded of it, what never passes, and the end that comes by itself.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { parse, stringify } from 'yaml'
import { openStoreReader } from '../../src/journal/store-core.ts'
import { storeFile } from '../../src/journal/store-file.ts'
import { run } from '../edge/gate-harness.ts'
import { readMetric } from '../support/whole-gate.ts'
import { HOST, startRunningBench, type Bench, type Json } from './support.ts'

const HOME = '216.160.83.56'
const TRAVELLER = '111.235.160.1'
const OLD = '216.160.84.10'
const ATTACKER = '111.235.160.9'
const BANNED = '111.235.160.200'
const DAY_MS = 86_400_000

const policy = (expires: string): string => `
model: agent-only
geo:
  loopback: allow
  overrides:
    - { address: 216.160.0.0/16, country: US, reason: test }
    - { address: 111.235.160.0/24, country: CN, reason: test }
listeners: { plain: { address: '127.0.0.1:0' } }
sites: { acme: { addresses: [${HOME}, ${OLD}] } }
bans: [{ address: ${BANNED}, reason: scanner, owner: ops }]
trial: { expires: ${expires} }
`

type Ending = {
  readonly losses: readonly {
    readonly site: string | null
    readonly addresses: readonly string[]
    readonly reason: string
    readonly fix: { readonly yaml: string }
  }[]
}

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/** Rows of the events of a name, as the command line lists them. */
async function events(bench: Bench, name: string): Promise<readonly Json[]> {
  const { value } = await bench.json(['events', '--name', name, '--limit', '100'])
  return value as unknown as readonly Json[]
}

test('countries, TLS versions and closed classes pass on trial and are recorded; bans and rules hold; the end enforces by itself', async t => {
  const last = day(Date.now() + 20 * DAY_MS)
  const bench = await startRunningBench(t, policy(last))

  t.like(await bench.ask(HOME), { status: 200 })
  t.like(await bench.ask(TRAVELLER), { status: 200 })
  t.like(await bench.ask(TRAVELLER), { status: 200 })
  t.like(await bench.ask(OLD, { tls: 'TLSv1' }), { status: 200 })
  t.like(await bench.ask(HOME, { path: '/automate/' }), { status: 200 })
  t.true('error' in (await bench.ask(BANNED)))
  t.like(await bench.ask(ATTACKER, { path: '/LabTech/Agent.aspx?file=../../windows/win.ini' }), {
    status: 403,
  })
  t.like(await bench.ask(ATTACKER, { host: 'else.example.test' }), { status: 421 })

  const noted = await events(bench, 'trial.admitted')
  t.deepEqual(
    noted
      .map(({ fields }) => fields as Json)
      .map(f => [f['address'], f['wouldBe'], f['class'], f['saw'], f['count']].join(' '))
      .toSorted(),
    [
      `${TRAVELLER} country-refused agent CN 1`,
      `${HOME} class-closed console console 1`,
      `${OLD} tls-version-too-low agent TLSv1 on an open connection 1`,
    ],
    'the second check-in of the traveller is gathered',
  )

  const admin = bench.portcullis.adminEndpoint()
  const metrics = await (await fetch(`http://${admin?.host ?? ''}:${admin?.port ?? 0}/metrics`)).text()
  const daysLeft = readMetric(metrics, 'portcullis_trial_days_left', {})
  t.true(daysLeft > 19 && daysLeft < 22, String(daysLeft))
  t.regex(metrics, /portcullis_trial_days_left\{line=".*policies\/portcullis\.yaml:\d+:\d+"\}/)

  const explained = await bench.cli(['explain', TRAVELLER])
  t.regex(explained.out, /on trial +would be refused after the trial, from .*: no part of the server is open/)
  const one = (await bench.json(['explain', OLD, '--tls', '1.0'])).value
  t.like((one['tls'] as readonly Json[])[0], { allowed: true, wouldBe: { reason: 'tls-version-too-low' } })

  for (const [address, sentence, yaml] of [
    [TRAVELLER, /gets through only because of the trial .*: from .* UTC it is refused because no part/, /CN/],
    [
      OLD,
      /only because of the trial .*below the minimum: offered TLSv1 /,
      /tlsException: \{ minimum: TLSv1,/,
    ],
    [
      HOME,
      /only because of the trial .*closes this part of the server: console/,
      /console: \{ access: open \}/,
    ],
  ] as const) {
    const { code, value } = await bench.json(['diagnose', address])
    const { cause, ...told } = value['diagnosis'] as {
      cause: string
      sentence: string
      fix: { yaml: string }
    }
    t.deepEqual([code, cause], [0, 'trial'], JSON.stringify(told))
    t.regex(told.sentence, sentence)
    t.regex(told.fix.yaml, yaml)
  }

  // What plan says of a candidate without the trial is what enforcing will do.
  cpSync(join(bench.root, 'policies'), join(bench.root, 'candidate'), { recursive: true })
  const file = join(bench.root, 'candidate/portcullis.yaml')
  const { trial: _trial, ...rest } = parse(readFileSync(file, 'utf8')) as Json
  writeFileSync(file, stringify(rest))
  const plan = (await bench.json(['plan', 'candidate'])).value['replay'] as {
    readonly changes: readonly Json[]
  }
  const lost = plan.changes.map(
    ({ kind, address, reason }) => `${String(kind)} ${String(address)} ${String(reason)}`,
  )
  t.deepEqual(lost.toSorted(), [
    `lost ${TRAVELLER} country-refused`,
    `lost ${HOME} class-closed`,
    `lost ${OLD} tls-version-too-low`,
  ])

  const store = openStoreReader(storeFile(bench.portcullis.snapshot().directories.state))
  t.deepEqual(store.detections.tried(bench.nowMs() - DAY_MS), { addresses: 3, agents: 2, sites: 1 })
  store.close()
  t.regex(
    (await bench.cli(['status'])).out,
    /On trial +country, tls, access until .* \(in (?:19|20|21) days\)/,
  )

  t.regex(
    (await bench.cli(['exceptions'])).out,
    /^trial +trial of country, tls, access +till [-0-9]+ +used /m,
  )

  // The report says whom the end loses and what helps; the end is refused as long as it loses agents.
  const report = await bench.json(['trial', 'report'])
  t.is(report.code, 1)
  const ending = report.value['ending'] as Ending
  t.like(ending, { lostAgents: 2, lostSites: 2, stages: ['country', 'tls', 'access'] })
  const told = await bench.cli(['trial', 'report'])
  t.regex(told.out, new RegExp(`On trial until ${last} \\(in (?:19|20|21) days\\)`))
  t.regex(told.out, /✗ Ending the trial now loses 2 sources with active agents at 2 sites/)
  t.regex(told.out, /What site acme needs[^]*SchUseStrongCrypto[^]*tlsException: \{ minimum: TLSv1,/)
  const early = await bench.cli(['trial', 'end', '--reason', 'test'])
  t.not(early.code, 0)
  t.regex(early.err, /2 sources with active agents would be lost; nothing was changed/)
  t.regex((await bench.cli(['trial', 'end'])).err, /needs a reason/)

  t.regex((await bench.cli(['tls-report'])).out, new RegExp(`${OLD} +TLSv1 .*on trial until ${last}`))
  const planned = await bench.cli(['plan', 'policies'])
  t.regex(
    planned.out,
    /no active agent would be lost[^]*On trial in the candidate: country, tls, access until/,
  )

  // openssl itself, at a listener without a load balancer in front.
  const port = bench.portcullis.gate.addresses().find(entry => entry.listener === 'plain')?.port ?? 0
  const openssl = async (version: string): Promise<string> =>
    (
      await run('openssl', [
        's_client',
        '-connect',
        `127.0.0.1:${port}`,
        '-servername',
        HOST,
        '-cipher',
        'DEFAULT:@SECLEVEL=0',
        version,
      ])
    ).output
  t.regex(await openssl('-tls1'), /Protocol *: TLSv1\b/)
  t.regex(await openssl('-tls1_2'), /Protocol *: TLSv1\.2|TLSv1\.2, Cipher/)

  const before = bench.policyText()
  t.deepEqual(
    ending.losses.map(({ site, reason }) => [site, reason]),
    [
      [null, 'country-refused'],
      ['acme', 'tls-version-too-low'],
      ['acme', 'class-closed'],
    ],
  )
  for (const { fix } of ending.losses) bench.mergePolicy(fix.yaml)
  await bench.cli(['reload'])
  const mended = await bench.json(['trial', 'report'])
  const left = mended.value['ending'] as Ending
  t.like(left, { lostAgents: 0 })
  t.deepEqual(
    left.losses.flatMap(({ addresses }) => addresses),
    ['127.0.0.1'],
    'openssl itself',
  )
  bench.writePolicy(`# ours\n${bench.policyText()}# the end\n`)
  const ended = await bench.cli(['trial', 'end', '--reason', 'nobody is lost'])
  t.is(ended.code, 0, ended.err)
  t.regex(ended.out, /✓ The trial has ended: country, tls, access until/)
  t.is(bench.policyText().includes('trial:'), false)
  t.regex(bench.policyText(), /^# ours\n[^]*# the end\n$/)
  t.like(await bench.ask(TRAVELLER), { status: 200 })
  t.like(await bench.ask(OLD, { tls: 'TLSv1' }), { status: 200 })
  t.true('error' in (await bench.ask('111.235.160.7')))
  t.regex((await bench.cli(['trial', 'end', '--reason', 'again'])).out, /Nothing is on trial/)

  bench.writePolicy(before)
  await bench.cli(['reload'])
  bench.advance(Date.parse(last) + DAY_MS - bench.nowMs())
  t.true('error' in (await bench.ask(TRAVELLER)))
  t.true('error' in (await bench.ask(OLD, { tls: 'TLSv1' })))
  t.like(await bench.ask(HOME, { path: '/automate/' }), { status: 403 })
  t.like(await bench.ask(HOME), { status: 200 })
  t.regex(await openssl('-tls1'), /alert protocol version/)
})
