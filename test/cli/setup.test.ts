// P1 to P5: the set-up asks, checks, explains, writes a policy with comments that loads and runs, and never overwrites unasked.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import { parse } from 'yaml'
import { setupPolicy } from '../../src/cli/setup-policy.ts'
import { SETUP_QUESTIONS } from '../../src/cli/setup-questions.ts'
import { ROOT, startBench, startGate, type Bench, type CliResult, type Json } from './support.ts'

type Session = CliResult & { readonly shown: string }

/** A bench without a policy file, whose profile wants no packs that are not there. */
function freshBench(t: ExecutionContext): Bench & { readonly file: string; readonly admin: string } {
  const bench = startBench(t)
  const file = join(bench.root, 'policies/portcullis.yaml')
  const { admin } = parse(readFileSync(file, 'utf8')) as { readonly admin: { readonly address: string } }
  rmSync(file)
  const profile = join(bench.root, 'policies/profiles/connectwise-automate.yaml')
  writeFileSync(
    profile,
    readFileSync(profile, 'utf8').replace(/^packs:\n(?: {2}.*\n)+/m, 'packs: [generic]\n'),
  )
  return { ...bench, file, admin: admin.address }
}

/** Types lines ahead, then ends the input; `null` in place of lines: Ctrl-D at once. */
async function type(
  bench: Bench,
  lines: readonly string[],
  words: readonly string[] = ['setup', '--no-probe'],
): Promise<Session> {
  const input = new PassThrough()
  const output = new PassThrough()
  let shown = ''
  output.on('data', chunk => (shown += String(chunk)))
  const done = bench.cli(words, { input, output, env: { LANG: 'de_DE.UTF-8' } })
  input.end(lines.map(line => `${line}\n`).join(''))
  return { ...(await done), shown }
}

const ALL_DEFAULTS = SETUP_QUESTIONS.map(() => '')

test('P3, P5: Enter all the way gives a policy that loads: home country offered, a name that nobody guesses, trial', async t => {
  const bench = freshBench(t)
  const { code, out, shown, err } = await type(bench, ALL_DEFAULTS)
  t.is(code, 0, err + out)
  t.regex(shown, /Home countries \(two letters each\)\? \[DE\]/)
  const policy = parse(readFileSync(bench.file, 'utf8')) as Json
  t.like(policy, {
    home: ['DE'],
    model: 'all-traffic',
    profile: 'connectwise-automate',
    rules: { modes: [{ mode: 'detect' }] },
  })
  const [name] = Object.keys(policy['names'] as object)
  t.regex(name ?? '', /^[0-9a-f]{16}\.example\.com$/)
  t.regex(readFileSync(bench.file, 'utf8'), /# Everything is open to the home countries/)
  t.is((await bench.cli(['check'])).code, 0)
  t.regex(out, /✓ Written: policies\/portcullis\.yaml[^]*Next:[^]*portcullis check/)
  t.deepEqual(readdirSync(join(bench.root, 'policies')).toSorted(), ['portcullis.yaml', 'profiles', 'rules'])
})

test('P1, P2: every answer is checked, explained on ?, and can be taken back with <', async t => {
  const bench = freshBench(t)
  const { code, shown, err } = await type(
    bench,
    [
      ['automate', 'connectwise-automate', 'mixd', 'mixed', 'ZZ', 'us ca', 'yes'],
      ['msp.example', '?', '<', 'msp.example', 'RMM.msp.example', 'file', '443', '127.0.0.1:0'],
      [
        '10.0.0.5',
        'https://10.0.0.5/LabTech',
        'https://10.0.0.5',
        '',
        '203.0.113.10/28',
        '203.0.113.10, 203.0.113.64/28',
      ],
      ['', 'old.msp.example', '203.0.113.5', 'no'],
    ].flat(),
  )
  t.is(code, 0, err + shown)
  for (const words of [
    /did you mean mixed/,
    /nobody can guess/,
    /not an ISO 3166-1/,
    /not address:port/,
    /no path/,
    /bits set/,
  ])
    t.regex(shown, words)
  const policy = parse(readFileSync(bench.file, 'utf8')) as Json
  t.like(policy, {
    home: ['US', 'CA'],
    model: 'mixed',
    names: { 'rmm.msp.example': { upstream: 'rmm' } },
    upstreams: { rmm: { primary: 'https://10.0.0.5', tls: { serverName: 'rmm.msp.example' } } },
    heartbeats: { automate: { upstream: '10.0.0.5:75' } },
    deployment: { direct: 'old.msp.example', egress: ['203.0.113.5'] },
  })
  t.is((policy['trusted'] as readonly unknown[]).length, 2)
  t.false('rules' in policy)
  t.regex(readFileSync(bench.file, 'utf8'), /admit the gate's address there before/)
})

test('a policy that is there is replaced only when that is said, and a copy is kept', async t => {
  const bench = freshBench(t)
  writeFileSync(bench.file, '# mine\n')
  for (const last of ['', 'no', 'perhaps']) {
    const { code } = await type(bench, [...ALL_DEFAULTS, last])
    t.is(code, 1)
    t.is(readFileSync(bench.file, 'utf8'), '# mine\n')
  }
  const yes = await type(bench, [...ALL_DEFAULTS.slice(0, -1), '', 'yes'])
  t.is(yes.code, 0, yes.shown)
  const backup = readdirSync(join(bench.root, 'policies')).find(name => name.endsWith('.bak')) ?? ''
  t.is(readFileSync(join(bench.root, 'policies', backup), 'utf8'), '# mine\n')
})

test('the end of the input, or no usable answer, writes nothing', async t => {
  const bench = freshBench(t)
  for (const lines of [
    [],
    ['connectwise-automate'],
    ALL_DEFAULTS.slice(0, -1),
    Array<string>(30).fill('nonsense'),
  ]) {
    const { code, err } = await type(bench, lines)
    t.not(code, 0)
    t.regex(err, /Nothing was written|no usable answer/)
    t.deepEqual(readdirSync(join(bench.root, 'policies')).toSorted(), ['profiles', 'rules'])
  }
})

test('unattended: answers from a file, defaults for the rest; the policy runs', async t => {
  const bench = freshBench(t)
  const answers = join(bench.root, 'answers.yaml')
  const write = (text: string): void => writeFileSync(answers, text)
  write('name: rmm.example.test\ntrialStages: [country, tsl]\n')
  t.regex((await bench.cli(['setup', '--answers', 'answers.yaml'])).err, /did you mean tls/)
  write('name: rmm.example.test\ntrialStages: [tls, country]\n')
  t.is((await bench.json(['setup', '--answers', 'answers.yaml'])).code, 0)
  t.like(parse(readFileSync(bench.file, 'utf8')) as Json, {
    trial: {
      stages: ['country', 'tls'],
      expires: new Date(bench.nowMs() + 30 * 86_400_000).toISOString().slice(0, 10),
    },
  })
  rmSync(bench.file)
  write(
    'name: rmm.example.test\nhome: [US, CA]\nlisten: 127.0.0.1:0\nupstream: http://127.0.0.1:9\nheartbeats: none\ntrial: false\n',
  )
  const { code, value } = await bench.json(['setup', '--answers', 'answers.yaml'])
  t.is(code, 0)
  t.is(value['written'], bench.file)
  writeFileSync(bench.file, `${readFileSync(bench.file, 'utf8')}admin: { address: '${bench.admin}' }\n`)
  const portcullis = await startGate(t, bench)
  t.deepEqual([...portcullis.snapshot().home.value], ['US', 'CA'])
  t.regex((await bench.cli(['firewall-plan'])).out, /out +tcp\/9 +to 127\.0\.0\.1/)

  const wrong = async (text: string): Promise<string> => {
    write(text)
    const { code: exit, err } = await bench.cli(['setup', '--answers', 'answers.yaml', '--yes'])
    t.is(exit, 2, text)
    return err
  }
  t.regex(await wrong('nmae: x.example.com'), /Did you mean name\?/)
  t.regex(await wrong('home: NO WAY'), /home: .*not an ISO/)
  t.regex(await wrong('name: { a: 1 }'), /no text/)
  t.regex(await wrong('- a'), /no answers/)
  t.regex(await wrong('a: &x [*x]'), /cannot be read/)
  t.regex(await wrong('model: agent-only\nproduct: meshcentrl'), /product/)
  t.regex(await wrong('upstream: http://rmm.example.test\nupstreamName: x.example.com'), /not asked/)
  t.regex((await bench.cli(['setup', '--answers', 'nowhere.yaml'])).err, /cannot be read/)
  write('name: rmm.example.test')
  t.regex((await bench.cli(['setup', '--answers', 'answers.yaml'])).err, /--yes/)
  t.regex((await bench.cli(['setup', '--json'])).err, /asks nothing/)
})

test('the server is probed, and the answer is kept either way', async t => {
  const bench = freshBench(t)
  const lines = [...Array<string>(8).fill(''), 'http://127.0.0.1:1', ...Array<string>(8).fill('')]
  const { code, shown } = await type(bench, lines, ['setup'])
  t.is(code, 0, shown)
  t.regex(shown, /127\.0\.0\.1 port 1: refused/)
})

test('answers that make no valid policy together are not lost', async t => {
  const bench = freshBench(t)
  const lines = [
    ...Array<string>(7).fill(''),
    '0.0.0.0:443',
    'http://127.0.0.1:443',
    ...Array<string>(8).fill(''),
  ]
  const { code, out } = await type(bench, lines)
  t.is(code, 1)
  t.regex(out, /nothing was written[^]*given again with --answers[^]*upstream: http:\/\/127\.0\.0\.1:443/)
  t.false(existsSync(bench.file))
})

test('the questions can be read beforehand', async t => {
  const bench = freshBench(t)
  const { value } = await bench.json(['setup', '--questions'])
  const questions = value['questions'] as readonly { readonly why: string; readonly default: string }[]
  t.is(questions.length, SETUP_QUESTIONS.length)
  t.true(questions.every(question => question.why !== ''))
})

test('no answer that passes its check can add a line of its own to the policy', t => {
  const facts = { profiles: ['connectwise-automate'], country: null, randomName: '0123456789abcdef' }
  const ids = SETUP_QUESTIONS.map(({ id }) => id)
  const hostile = fc.constantFrom(
    'x\nhome: [CN]',
    '{a: b}',
    '# x',
    '*a',
    '!!js x',
    '"',
    "'",
    '10.0.0.1\n',
    'https://a/\n',
    '203.0.113.5 #',
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...ids),
      fc.oneof(hostile, fc.string({ unit: 'binary', maxLength: 40 })),
      (id, text) => {
        let answers: Record<string, string> = {}
        for (const question of SETUP_QUESTIONS) {
          if (question.applies?.(answers) === false) continue
          const checked = question.check(
            question.id === id ? text.trim() : question.fallback(answers, facts),
            facts,
          )
          if ('problem' in checked) return
          answers = { ...answers, [question.id]: checked.value }
        }
        const policy = parse(setupPolicy(answers, '2026-11-21')) as Json
        t.deepEqual(
          Object.keys(policy).filter(key => !KEYS.has(key)),
          [],
        )
        if (id !== 'home') t.deepEqual(policy['home'], ['US'])
      },
    ),
    { numRuns: 500 },
  )
})

const KEYS = new Set(
  'version home model profile listeners names upstreams heartbeats trusted rules deployment'.split(' '),
)

const hasScript = spawnSync('script', ['--version']).status === 0
const needsScript = hasScript ? test : test.skip

/** Runs the set-up at a pseudo-terminal and types what `keys` says when its prompt is there. */
async function atTerminal(
  bench: Bench,
  keys: readonly (readonly [prompt: string, keys: string])[],
): Promise<{ readonly code: number; readonly shown: string }> {
  const command = `${process.execPath} ${join(ROOT, 'src/main.ts')} setup --no-probe --policy ${join(bench.root, 'policies').replaceAll(' ', '\\ ')}`
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      TERM: 'xterm',
      LANG: 'en_US.UTF-8',
    },
  })
  let shown = ''
  let from = 0
  let next = 0
  child.stdout.on('data', chunk => {
    shown += String(chunk)
    for (; next < keys.length; next++) {
      const [prompt = '', typed = ''] = keys[next] ?? []
      const at = shown.indexOf(prompt, from)
      if (at < 0) break
      from = at + prompt.length
      child.stdin.write(typed)
    }
  })
  const [code] = (await once(child, 'close')) as [number]
  return { code, shown }
}

needsScript(
  'at a terminal lines can be edited, and Ctrl-C leaves everything as it was (needs script)',
  async t => {
    const bench = freshBench(t)
    const stopped = await atTerminal(bench, [
      ['[connectwise-automate] ', '\r'],
      ['[all-traffic] ', '\u0003'],
    ])
    t.not(stopped.code, 0)
    t.regex(stopped.shown, /stopped by Ctrl-C[^]*Nothing was written/)
    t.false(existsSync(bench.file))
    const rest = SETUP_QUESTIONS.slice(2)
      .filter(({ id }) => id !== 'home')
      .map(({ ask }): readonly [string, string] => [ask, '\r'])
    const done = await atTerminal(bench, [
      ['[connectwise-automate] ', '\r'],
      // A letter too many, removed; and one put in front with the cursor keys.
      ['[all-traffic] ', 'gent-onlyx\u007f\u0001a\r'],
      ['[US] ', '\r'],
      ...rest,
    ])
    t.is(done.code, 0, done.shown)
    t.like(parse(readFileSync(bench.file, 'utf8')), { model: 'agent-only', home: ['US'] })
  },
)
