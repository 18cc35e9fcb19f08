// diagnose --live says what comes while a client tries; diagnose --probe names the first hop that fails.
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  compareProbes,
  type Hop,
  type ProbeResult,
  type ProbeStep,
} from '../../src/diagnose/probe-comparison.ts'
import { AGENT, GB, US } from '../diagnose/support.ts'
import {
  HOST,
  startBench,
  startGate,
  startRunningBench,
  type CliResult,
  type RunningBench,
} from './support.ts'

/** Runs a live diagnosis; `said` resolves when the pattern was printed, `end` presses Ctrl-C. */
function watch(bench: RunningBench, ...words: readonly string[]) {
  let out = ''
  const stop = new AbortController()
  const waiting: { readonly pattern: RegExp; readonly done: () => void }[] = []
  const result = bench.cli(['diagnose', ...words, '--live'], {
    onOutput: text => {
      out += text
      for (const { pattern, done } of waiting) if (pattern.test(out.replaceAll(/\s+/g, ' '))) done()
    },
    stop: stop.signal,
  })
  return {
    said: (pattern: RegExp): Promise<unknown> =>
      Promise.race([
        new Promise<void>(done => waiting.push({ pattern, done })),
        result.then(({ out: all, err }) =>
          Promise.reject(new Error(`ended without ${pattern}:\n${all}${err}`)),
        ),
      ]),
    end: (): Promise<CliResult> => {
      stop.abort()
      return result
    },
  }
}

test('live: a port test, a refusal and a success are said as they come, and the verdict ends it', async t => {
  const bench = await startRunningBench(t)
  const live = watch(bench, US)
  await live.said(/Watching 216\.160\.83\.56 for 15 minutes/)
  await bench.send(US, null)
  await live.said(/· Connected and sent nothing: a port test looks like this, and it succeeded/)
  await bench.ask(US, { ...AGENT, tls: 'TLSv1' })
  await live.said(/✗ Refused 216\.160\.83\.56 .*below the minimum/)
  await bench.ask(US, AGENT)
  await live.said(/✓ GET https:\/\/rmm\.example\.test\/LabTech\/Agent\.aspx passed and was answered/)
  // Nobody else is of interest.
  await bench.ask(GB, AGENT)
  const { code, out } = await live.end()
  t.is(code, 1)
  t.notRegex(out, /81\.2\.69\.142/)
  t.regex(out, /✗ One device among healthy ones behind 216\.160\.83\.56 offers only TLSv1/)
})

test('live ends by itself after --for, and needs a running gate', async t => {
  const bench = await startRunningBench(t)
  const live = watch(bench, US, '--for', '10m')
  await live.said(/Watching/)
  await bench.ask(US, AGENT)
  await live.said(/passed and was answered/)
  bench.advance(11 * 60_000)
  await live.said(/✓ 216\.160\.83\.56 gets through/)
  t.is((await live.end()).code, 0)
  const without = await startBench(t).cli(['diagnose', US, '--live'])
  t.is(without.code, 1)
  t.regex(without.err, /no gate runs with this policy/)
})

type Probed = {
  readonly code: number
  readonly steps: readonly {
    readonly hop: string
    readonly what: string
    readonly ok: boolean | null
    readonly saw: string
  }[]
  readonly firstFailure: { readonly hop: string; readonly meaning: string } | null
}

async function probe(bench: RunningBench, ...words: readonly string[]): Promise<Probed> {
  const { code, out, err } = await bench.cli(['diagnose', '--probe', ...words, '--json'])
  if (out === '') throw new Error(err)
  return { code, ...(JSON.parse(out) as Omit<Probed, 'code'>) }
}

const at = (bench: RunningBench): readonly string[] => [
  `https://${HOST}:${bench.port}`,
  '--at',
  '127.0.0.1',
  '--bind',
  '127.0.0.2',
]

test('probe: every hop works; an unknown authority, a wrong name, a refusal and a closed port are named', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const trusted = ['--ca', bench.authorityFile, '--path', '/LabTech/Agent.aspx']
  const good = await probe(bench, ...at(bench), ...trusted)
  t.is(good.code, 0, JSON.stringify(good))
  t.is(good.firstFailure, null)
  const tls = good.steps.filter(step => step.hop === 'tls')
  t.deepEqual(
    tls.map(step => [step.what, step.ok]),
    [
      ['TLSv1', false],
      ['TLSv1.1', false],
      ['TLSv1.2', true],
      ['TLSv1.3', true],
    ],
  )
  t.regex(tls[0]?.saw ?? '', /this TLS version is not taken/)

  const untrusted = await probe(bench, ...at(bench))
  t.is(untrusted.firstFailure?.hop, 'certificate')
  t.regex(untrusted.steps.find(step => step.hop === 'certificate')?.saw ?? '', /authority|chain|itself/)

  const closed = await probe(
    bench,
    ...at(bench),
    '--ca',
    bench.authorityFile,
    '--path',
    '/automate?file=../win.ini',
  )
  t.is(closed.firstFailure?.hop, 'answer')
  t.regex(closed.steps.at(-1)?.saw ?? '', /status 403 .*, reference [0-9A-Z]{4}-/)

  const unknown = await probe(
    bench,
    `https://wrong.example.test:${bench.port}`,
    '--at',
    '127.0.0.1',
    '--bind',
    '127.0.0.2',
    '--ca',
    bench.authorityFile,
  )
  t.is(unknown.firstFailure?.hop, 'tls')
  t.regex(unknown.steps.at(-1)?.saw ?? '', /does not serve this name/)

  const nobody = createServer().listen(0, '127.0.0.1')
  await once(nobody, 'listening')
  const { port } = nobody.address() as AddressInfo
  nobody.close()
  await once(nobody, 'close')
  const shut = await probe(bench, `https://${HOST}:${port}`, '--at', '127.0.0.1')
  t.is(shut.firstFailure?.hop, 'port')
  t.true(shut.steps.some(step => step.what.startsWith('other port')))
})

test('probe: a heartbeat that is answered, and one that may just not be understood', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const words = [...at(bench), '--ca', bench.authorityFile, '--path', '/LabTech/Agent.aspx']
  const answered = await probe(bench, ...words, '--heartbeat', String(bench.practice.udpPort))
  t.is(answered.steps.at(-1)?.hop, 'heartbeat')
  bench.practice.answerHeartbeats(false)
  const silent = await probe(bench, ...words, '--heartbeat', String(bench.practice.udpPort))
  t.is(silent.steps.at(-1)?.ok, null)
  t.is(silent.code, 0)
})

const step = (hop: Hop, ok: boolean | null, more: Partial<ProbeStep> = {}): ProbeStep => ({
  hop,
  what: hop,
  ok,
  saw: hop,
  ...more,
})
const NAME = step('name', true, { addresses: ['203.0.113.9'] })
const WELL = [NAME, step('port', true, { ms: 20 }), step('tls', true), step('certificate', true)]

test('probes side by side: the first hop that fails in one place only says on which side it is', t => {
  const lan = { isLan: true, steps: WELL }
  const cases: readonly (readonly [ProbeResult, ProbeResult, string | null, string | null, RegExp])[] = [
    [lan, { isLan: false, steps: WELL }, null, null, /Every hop works from both places\.$/],
    [lan, { isLan: false, steps: [step('name', false)] }, 'name', 'here', /^Here only: .*split DNS/],
    [
      lan,
      { isLan: false, steps: [step('name', true, { addresses: ['10.0.0.5'] }), step('port', false)] },
      'port',
      'here',
      /leads to 10\.0\.0\.5, which nobody outside that network can reach/,
    ],
    [
      lan,
      {
        isLan: false,
        steps: [NAME, step('port', false), step('port', true, { what: 'other port 8443' })],
      },
      'port',
      'here',
      /the port is closed on the way, port 8443 is open\. A firewall or the provider/,
    ],
    [
      { isLan: false, steps: WELL },
      { isLan: true, steps: [NAME, step('port', false)] },
      'port',
      'here',
      /^In the LAN only: from outside it works\. .*NAT loopback.*instead of 203\.0\.113\.9/,
    ],
    [
      { isLan: true, steps: [NAME, step('port', false)] },
      { isLan: false, steps: [NAME, step('port', false)] },
      'port',
      'both',
      /the gate does not listen/,
    ],
    [
      lan,
      {
        isLan: false,
        steps: [NAME, step('port', true), step('tls', false, { saw: 'refused: access denied' })],
      },
      'tls',
      'here',
      /the gate refuses this network \(country, ban or limit\)/,
    ],
    [
      { isLan: false, steps: [...WELL, step('answer', false)] },
      lan,
      'answer',
      'there',
      /^There only: .*the policy treats this network otherwise/,
    ],
    [
      {
        isLan: true,
        steps: [...WELL.slice(0, 3), step('certificate', true, { sha256: 'A', saw: 'by One' })],
      },
      {
        isLan: false,
        steps: [...WELL.slice(0, 3), step('certificate', true, { sha256: 'B', saw: 'by Two' })],
      },
      'certificate',
      null,
      /different certificates \(by One; here: by Two\)/,
    ],
    [
      lan,
      { isLan: false, steps: [NAME, step('port', true, { ms: 900 }), ...WELL.slice(2)] },
      null,
      null,
      /The way here is slow: 900 ms to connect instead of 20 ms/,
    ],
  ]
  for (const [there, here, hop, where, meaning] of cases) {
    const found = compareProbes(there, here)
    t.deepEqual([found.hop, found.where], [hop, where], found.meaning)
    t.regex(found.meaning, meaning)
  }
})

test('probe: the saved result of another place may be anything, and must be about the same address', async t => {
  const bench = startBench(t)
  const compare = async (text: string): Promise<CliResult> => {
    writeFileSync(join(bench.root, 'there.json'), text)
    return bench.cli(['diagnose', '--probe', 'https://a.invalid', '--compare', 'there.json'])
  }
  const saved = { target: { host: 'a.invalid', port: 443 }, lan: true, atMs: bench.nowMs(), steps: [] }
  for (const text of ['', '{', '[]', '{"steps":[1]}', JSON.stringify({ ...saved, steps: [{ hop: 'x' }] })])
    t.regex((await compare(text)).err, /is not the result of a probe.*--json > there\.json/s, text)
  t.regex((await compare('x'.repeat(70_000))).err, /it is too long/)
  t.regex(
    (await compare(JSON.stringify({ ...saved, target: { host: 'b.invalid', port: 443 } }))).err,
    /is about https:\/\/b\.invalid:443, not https:\/\/a\.invalid:443/,
  )
  const steps = [{ hop: 'name', what: 'name', ok: true, saw: '\u001b[2J\u202eevil', ms: -1, sha256: 'x' }]
  const { code, out } = await compare(JSON.stringify({ ...saved, steps }))
  t.is(code, 1)
  t.regex(out, /✓ \\u\{1b\}\[2J\\u\{202e\}evil/)
  t.false(out.includes('\u001b') || out.includes('\u202e'))
  t.regex(out, /The first hop that fails: name/)
})

async function wrong(t: ExecutionContext, words: readonly string[], complaint: RegExp): Promise<void> {
  const { code, err } = await startBench(t).cli(['diagnose', '--probe', ...words], {
    cwd: '/',
    root: '/nowhere',
  })
  t.is(code, 2)
  t.regex(err, complaint)
}

test('probe needs no policy, but then a name', async t => {
  await wrong(t, ['--policy', '/nowhere'], /Name it: bin\/diagnose --probe https/)
  await wrong(t, ['ftp://x'], /not the address of a gate/)
  await wrong(t, ['https://a.example', 'https://b.example'], /one address/)
  await wrong(t, ['https://a.example', '--at', 'here'], /--at is an IP address/)
  await wrong(t, ['https://a.example', '--heartbeat', '99999'], /not a port/)
  await wrong(t, ['https://a.example', '--path', 'x'], /starts with a slash/)
  const { code, out } = await startBench(t).cli(['diagnose', '--probe', 'https://a.invalid'], { cwd: '/' })
  t.is(code, 1)
  t.regex(out, /✗ name: .*\n[^]*The first hop that fails: name/)
})

test('live: a minute of nothing, other addresses meanwhile, a restart of the gate, a crowd of the same, an address of the pool', async t => {
  const bench = await startRunningBench(t, 'sites: { acme: { name: Acme, addresses: [216.160.84.0/24] } }')
  // A site from which nothing has ever come can be watched: it is the usual case when agents are rolled out.
  const live = watch(bench, 'acme')
  await live.said(/Watching site acme \(Acme\) for 15 minutes/)
  await bench.ask(US, AGENT)
  bench.advance(61_000)
  await live.said(
    /· Nothing has come from site acme \(Acme\) for 1 minute\. If somebody did try there, it did not get here: the name rmm\.example\.test leads elsewhere there \(DNS\), .* New here meanwhile: 216\.160\.83\.56\. Is one of them the client\?/,
  )
  for (let index = 0; index < 5; index++) await bench.ask('216.160.84.7', { ...AGENT, tls: 'TLSv1' })
  await live.said(/✗ Refused 216\.160\.84\.7 .*below the minimum/)
  await bench.ask('216.160.84.8', AGENT)
  await live.said(/✓ 216\.160\.84\.8 GET .* passed and was answered/)
  bench.advance(61_000)
  await live.said(/Nothing more from site acme \(Acme\) for 1 minute: the client does not try at the moment/)
  await bench.portcullis.stop()
  await live.said(/✗ The gate does not answer: it was stopped, or is being restarted\..* Still watching\./)
  await startGate(t, bench)
  await live.said(/✓ The gate answers again\./)
  const { code, out } = await live.end()
  t.is(code, 1)
  t.true(out.split('Refused 216.160.84.7').length <= 5, 'a crowd of the same is not said one by one')
  t.regex(out, /✗ Every client at 216\.160\.84\.7 offers only TLSv1/)
  t.regex(out, /✓ 216\.160\.84\.8 gets through/)
})
