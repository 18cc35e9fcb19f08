// Situations that support meets, played with real clients against a real gate: the diagnosis names the cause, and its fix fixes it.
import test from 'ava'
import { OTHER_HOST, startRunningBench, type Ask, type RunningBench } from '../cli/support.ts'
import { AGENT, applyPatch, diagnose, GB, isThrough, US } from './support.ts'

type Situation = {
  readonly title: string
  readonly policy?: string
  readonly source?: string
  /** What the client does; false: it is refused. */
  readonly ask?: Ask
  readonly cause: string
  readonly sentence: RegExp
  readonly before?: (bench: RunningBench) => Promise<unknown>
}

/** Refused, diagnosed, the printed YAML merged, admitted, diagnosed as healthy. */
const WITH_YAML: readonly Situation[] = [
  { title: 'country refused', source: GB, cause: 'country', sentence: /GB/ },
  {
    title: 'country refused for a recorded site',
    source: GB,
    policy: `sites: { acme: { name: Acme, addresses: [${GB}] } }`,
    cause: 'country',
    sentence: /GB/,
  },
  { title: 'unknown country', source: '240.0.0.0', cause: 'country', sentence: /./ },
  { title: 'private address refused', source: '10.1.2.3', cause: 'country', sentence: /private/ },
  {
    title: 'IPv6 address of a refused country',
    source: '2a00:1450:4009:81f::200e',
    cause: 'country',
    sentence: /./,
  },
  {
    title: 'old TLS, the whole site',
    ask: { ...AGENT, tls: 'TLSv1' },
    cause: 'tls-version',
    sentence: /^Every client at .* offers only TLSv1, below the minimum TLSv1\.2/,
  },
  {
    title: 'old TLS, one device among healthy ones of a recorded site',
    policy: `sites: { acme: { name: "Acme: the # one", addresses: [${US}] } }`,
    ask: { ...AGENT, tls: 'TLSv1.1' },
    before: bench => bench.ask(US, AGENT),
    cause: 'tls-version',
    sentence: /^One device among healthy ones/,
  },
  {
    title: 'class closed',
    policy: 'model: agent-only',
    ask: { path: '/automate' },
    cause: 'class',
    sentence: /gets in, but not to console: .*portcullis\.yaml:\d+/,
  },
  {
    title: 'class for trusted addresses only',
    policy: 'model: mixed',
    ask: { path: '/automate' },
    cause: 'class',
    sentence: /gets in, but not to console/,
  },
  {
    title: 'class for trusted addresses only, recorded site',
    policy: `model: mixed\nsites: { acme: { addresses: [${US}] } }`,
    ask: { path: '/automate' },
    cause: 'class',
    sentence: /gets in, but not to console/,
  },
  {
    title: 'class not open to the country',
    policy: 'classes: { agent: { countries: [home, GB] } }',
    source: GB,
    ask: { path: '/automate' },
    cause: 'class',
    sentence: /not to console.*country/,
  },
  {
    title: 'class demands newer TLS',
    policy: 'classes: { console: { tls: TLSv1.3 } }',
    ask: { path: '/automate', tls: 'TLSv1.2' },
    cause: 'class',
    sentence: /not to console.*newer TLS/,
  },
  {
    title: 'rule hit',
    ask: { path: '/automate?file=../../windows/win.ini' },
    cause: 'rule',
    sentence: /refused by rule [a-z-]+ \(.*\), which matched args\.file of \/automate/,
  },
  {
    title: 'unknown name',
    ask: { ...AGENT, serverName: OTHER_HOST, host: OTHER_HOST },
    cause: 'name',
    sentence: /asks for old\.example\.test/,
  },
]

for (const { title, policy = '', source = US, ask = AGENT, cause, sentence, before } of WITH_YAML) {
  test.serial(`${title}: named, and the printed YAML mends it`, async t => {
    const bench = await startRunningBench(t, policy)
    await before?.(bench)
    t.false(isThrough(await bench.ask(source, ask)), 'refused at first')
    bench.advance(1_000)
    const found = await diagnose(bench, source)
    t.is(found.cause, cause, JSON.stringify(found))
    t.regex(found.sentence, sentence)
    t.false(found.healthy)
    t.is(found.code, 1)
    await applyPatch(bench, found.fix)
    const changed = await diagnose(bench, source)
    t.true(changed.healthy || ['rule', 'never-arrived'].includes(changed.cause), JSON.stringify(changed))
    bench.advance(1_000)
    const result = await bench.ask(source, ask)
    t.true(isThrough(result), JSON.stringify(result))
    const healthy = await diagnose(bench, source)
    t.true(healthy.healthy, healthy.sentence)
    t.is(healthy.code, 0)
  })
}
