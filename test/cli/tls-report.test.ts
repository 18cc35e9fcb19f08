// tls-report: who needs old TLS, what covers them until when, and what would break; the answer of `plan` to the same change.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { startBench, startRunningBench, type Json } from './support.ts'

const OLD = '216.160.83.56'
const COVERED = '216.160.84.10'
const TWELVE = '216.160.85.7'
const POLICY = `
geo: { overrides: [{ address: 216.160.0.0/16, country: US, reason: test }] }
sites:
  acme: { name: '=cmd', addresses: [${OLD}] }
  clinic:
    addresses: [${COVERED}]
    tlsException: { minimum: TLSv1, reason: X-ray PC, owner: jane, expires: 2099-01-31 }
`

type Report = {
  readonly report: {
    readonly devices: readonly Json[]
    readonly weeks: readonly Json[]
    readonly exceptions: readonly Json[]
  }
  readonly rising: { readonly changes: readonly Json[]; readonly lostAgents: number }
}

test('old TLS per site and week, exceptions with their end, and what plan says of the same change', async t => {
  const bench = await startRunningBench(t, POLICY)
  t.true('error' in (await bench.ask(OLD, { tls: 'TLSv1.1' })))
  t.like(await bench.ask(COVERED, { tls: 'TLSv1.1' }), { status: 200 })
  t.like(await bench.ask(TWELVE, { tls: 'TLSv1.2' }), { status: 200 })
  bench.advance(7 * 86_400_000)
  t.like(await bench.ask(COVERED, { tls: 'TLSv1.1' }), { status: 200 })
  t.like(await bench.ask(TWELVE, { tls: 'TLSv1.2' }), { status: 200 })

  const { report, rising } = (await bench.json(['tls-report'])).value as unknown as Report
  t.deepEqual(
    report.devices.map(({ address, site, strongest, refused }) => ({ address, site, strongest, refused })),
    [
      { address: OLD, site: 'acme', strongest: 'TLSv1.1', refused: true },
      { address: COVERED, site: 'clinic', strongest: 'TLSv1.1', refused: false },
    ],
  )
  t.is(report.devices[0]?.['exceptionEndsMs'], null)
  t.is(report.devices[1]?.['exceptionEndsMs'], Date.parse('2099-02-01'))
  t.is(report.devices[1]?.['afterException'], 'tls-version-too-low')
  t.deepEqual(
    report.weeks.map(({ site, devices }) => ({ site, devices })),
    [
      { site: 'acme', devices: 1 },
      { site: 'clinic', devices: 1 },
      { site: 'clinic', devices: 1 },
    ],
  )
  t.like(report.exceptions[0], { site: 'clinic', devices: 1, owner: 'jane' })
  t.deepEqual(rising.changes, [], 'TLS 1.2 is the minimum already')

  const strict = (await bench.json(['tls-report', '--minimum', '1.3'])).value as unknown as Report
  t.is(strict.report.devices.length, 3)
  cpSync(join(bench.root, 'policies'), join(bench.root, 'candidate'), { recursive: true })
  const file = join(bench.root, 'candidate/portcullis.yaml')
  writeFileSync(
    file,
    readFileSync(file, 'utf8').replace('listeners:\n  https:\n', 'listeners:\n  https:\n    tls: strict\n'),
  )
  const plan = (await bench.json(['plan', 'candidate', '--since', '8w'])).value['replay'] as Report['rising']
  const told = ({ changes, lostAgents }: Report['rising']): unknown => ({
    lostAgents,
    changes: changes.map(({ kind, address, site, class: name, reason }) => ({
      kind,
      address,
      site,
      name,
      reason,
    })),
  })
  t.is(strict.rising.changes.length, 1)
  t.like(strict.rising.changes[0], { address: TWELVE, reason: 'tls-version-too-low' })
  t.deepEqual(told(strict.rising), told(plan))

  const text = await bench.cli(['tls-report', '--minimum', 'TLSv1.3'])
  t.regex(text.out, /3 devices offered less than TLSv1\.3 in the last 56 days; 1 is refused/)
  t.regex(text.out, /clinic +216\.160\.84\.10 +TLSv1\.1 .* exception until 2099-01-31/)
  t.regex(text.out, /1 source would be lost, 1 with active agents/)
})

test('as CSV: one line per device, for one site, and no cell that a spreadsheet would calculate', async t => {
  const bench = await startRunningBench(t, POLICY)
  await bench.ask(OLD, { tls: 'TLSv1.1' })
  await bench.ask(COVERED, { tls: 'TLSv1.1', headers: { 'user-agent': '=HYPERLINK("http://x")' } })
  const { out, code } = await bench.cli(['tls-report', '--csv'])
  t.is(code, 0)
  const [head, ...lines] = out.trim().split('\n')
  t.regex(head ?? '', /^site,address,strongest,/)
  t.is(lines.length, 2)
  t.true(
    lines.every(line => !/(?:^|,)"?[=+@]/.test(line)),
    out,
  )
  const one = await bench.cli(['tls-report', '--csv', '--site', 'clinic'])
  t.regex(one.out, /\nclinic,216\.160\.84\.10,TLSv1\.1,.*,no,2099-01-31\n$/)
})

test('an exception that nobody uses is called so; questions without sense are refused', async t => {
  const bench = await startRunningBench(t, POLICY)
  await bench.ask(TWELVE)
  const { out } = await bench.cli(['tls-report'])
  t.regex(out, /✓ Nothing below TLSv1\.2 was offered/)
  t.regex(out, /clinic .*nobody uses it: it can go/)
  t.regex((await bench.cli(['tls-report', '--minimum', 'TLSv1'])).err, /not TLSv1\.2 or TLSv1\.3/)
  t.regex((await bench.cli(['tls-report', '--site', 'nowhere'])).err, /no site/)
  t.is((await startBench(t).cli(['tls-report', '--csv'])).code, 0)
})
