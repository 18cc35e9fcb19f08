// diagnose --live says what comes while a client tries; diagnose --probe names the first hop that fails.
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import test, { type ExecutionContext } from 'ava'
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
