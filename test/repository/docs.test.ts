// Documentation that rots fails here: commands of the README run, its output is real, YAML loads, links lead somewhere (trap 38).
import { freePort } from '../support/free-port.ts'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { parse, stringify } from 'yaml'
import { loadConnectorFile } from '../../src/config/connector-file.ts'
import { loadRuleFile } from '../../src/config/load-rule-file.ts'
import { loadPolicy } from '../../src/config/load.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { REASON_NAMES } from '../../src/policy/reasons.ts'
import { merged, ROOT, type Json } from '../cli/support.ts'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const DOCUMENTS = [
  ...readdirSync(ROOT).filter(name => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
  'geoip/README.md',
]

type Block = { readonly language: string; readonly text: string; readonly line: number }

/** Fenced blocks, without the indent that a list gives them. */
function blocksOf(path: string): readonly Block[] {
  const text = read(path)
  return [...text.matchAll(/^( *)```(\w*)\n([^]*?)^\1```/gm)].map(match => ({
    language: match[2] ?? '',
    text: (match[3] ?? '').replaceAll(new RegExp(`^${match[1] ?? ''}`, 'gm'), ''),
    line: text.slice(0, match.index).split('\n').length,
  }))
}

const commands = blocksOf('README.md')
  .filter(block => block.language === 'sh')
  .flatMap(block => block.text.trim().split('\n'))

/** The shipped policies in a throw-away directory, on ports that nobody else uses. */
async function shippedCopy(t: ExecutionContext): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'portcullis readme-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  const policies = join(root, 'policies')
  cpSync(join(ROOT, 'policies'), policies, { recursive: true })
  const file = join(policies, 'portcullis.yaml')
  const [upstream, admin] = [await freePort(), await freePort()]
  const text = readFileSync(file, 'utf8')
    .replace('0.0.0.0:8443', '0.0.0.0:0')
    .replace(':9080', `:${upstream}`)
  writeFileSync(file, `${text}admin: { address: '127.0.0.1:${admin}' }\n`)
  return policies
}

type Ran = { readonly code: number; readonly out: string; readonly err: string }

async function shell(command: string, env: Readonly<Record<string, string>>): Promise<Ran> {
  const child = spawn('sh', ['-c', command], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      HOME: tmpdir(),
      ...env,
    },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', chunk => (out += String(chunk)))
  child.stderr.on('data', chunk => (err += String(chunk)))
  const [code] = (await once(child, 'close')) as [number]
  return { code, out, err }
}

test('trap 38: the commands of the README work in the order in which they stand, and the first diagnosis is real output', async t => {
  t.is(commands[0], 'npm ci && npm run demo')
  t.is(commands.at(-1), 'bash test/run')
  const manifest = JSON.parse(read('package.json')) as { readonly scripts: Readonly<Record<string, string>> }
  const demoScript = manifest.scripts['demo'] ?? ''
  t.regex(demoScript, /^node src\/main\.ts demo$/)
  t.is((await shell('bash -n test/run', {})).code, 0)

  const policy = await shippedCopy(t)
  const env = { PORTCULLIS_POLICY: policy }
  // What `npm run demo` runs, on a copy: this test's Node is the one that npm would put first.
  const demo = spawn(process.execPath, demoScript.split(' ').slice(1), {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...env },
  })
  const ended = once(demo, 'close')
  let isStopping = false
  let shown = ''
  demo.stderr.on('data', chunk => (shown += String(chunk)))
  await new Promise<void>((done, failed) => {
    demo.stdout.on('data', chunk => {
      shown += String(chunk)
      if (shown.includes('Stop with Ctrl-C')) done()
    })
    demo.once('close', () => {
      if (!isStopping) failed(new Error(shown))
    })
  })
  try {
    t.regex(shown, /✓ 18 agents checked in through the gate, 2 were refused/)
    for (const command of commands.slice(1, -1)) {
      const { code, out, err } = await shell(command, env)
      t.is(err, '', command)
      t.is(code, command.startsWith('bin/diagnose') ? 1 : 0, command)
      t.not(out, '', command)
      if (!command.startsWith('bin/diagnose')) continue
      // Counts, days and what is left out may differ; every line that the README shows is a line of the output.
      const same = (line: string): string =>
        line
          .trim()
          .replaceAll(/\d{4}-\d\d-\d\d/g, 'DAY')
          .replaceAll(/once|\d+ times/g, 'OFTEN')
          .replaceAll(/\(\d+\)/g, '(N)')
      const printed = new Set(out.split('\n').map(same))
      const promised = blocksOf('README.md').find(block => block.language === 'text')?.text ?? ''
      t.true(promised.length > 500)
      t.deepEqual(
        promised
          .split('\n')
          .map(same)
          .filter(line => !printed.has(line)),
        [],
      )
    }
  } finally {
    isStopping = true
    demo.kill('SIGTERM')
    await ended
  }
  t.is(demo.exitCode, 0, shown)
})

/** The pack that docs/rules.md teaches with. */
const OWN_PACK = blocksOf('docs/rules.md').find(block => block.text.startsWith('pack: own'))?.text ?? ''

for (const path of DOCUMENTS) {
  for (const { text, line } of blocksOf(path).filter(block => block.language === 'yaml')) {
    test(`trap 38: YAML of ${path}:${line} is valid policy`, t => {
      const directory = mkdtempSync(join(tmpdir(), 'portcullis-docs-'))
      t.teardown(() => rmSync(directory, { recursive: true, force: true }))
      for (const folder of ['profiles', 'rules'])
        cpSync(join(ROOT, 'policies', folder), join(directory, folder), { recursive: true })
      const written = parse(text) as Json
      if ('gates' in written) {
        const file = join(directory, 'connector.yaml')
        writeFileSync(file, text)
        writeFileSync(join(directory, 'gateway.key'), 'correct horse battery', { mode: 0o600 })
        const loaded = loadConnectorFile(file, path, {})
        t.true(loaded.ok, loaded.ok ? '' : loaded.problems.map(renderProblem).join('\n'))
        return
      }
      if ('pack' in written) {
        const file = join(directory, 'own.yaml')
        writeFileSync(file, text)
        t.deepEqual(loadRuleFile(file, path, Date.parse('2026-11-21')).problems, [])
        return
      }
      const known = join(directory, 'rules/own.yaml')
      if (JSON.stringify(written).includes('own')) writeFileSync(known, OWN_PACK)
      const whole = 'version' in written ? written : merged(parse(read('policies/portcullis.yaml')), written)
      writeFileSync(join(directory, 'portcullis.yaml'), stringify(whole))
      const result = loadPolicy({ directory, nowMs: Date.parse('2026-11-21') })
      t.true(result.ok, result.ok ? '' : result.problems.map(renderProblem).join('\n'))
    })
  }
}

/** Anchors of a document as GitHub makes them. */
function anchorsOf(path: string): ReadonlySet<string> {
  const headings = [...read(path).matchAll(/^#{1,6} (.+)$/gm)].map(match => match[1] ?? '')
  return new Set(
    headings.map(heading =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\p{Pc} -]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

test('every link inside the repository leads somewhere, to a heading where it names one', t => {
  const broken: string[] = []
  for (const path of DOCUMENTS) {
    const prose = read(path).replaceAll(/^ *```[^]*?^ *```/gm, '')
    for (const [, link = ''] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const [file = '', anchor] = link.split('#')
      const target = file === '' ? path : join(dirname(path), file)
      if (!existsSync(join(ROOT, target))) broken.push(`${path}: ${link}`)
      else if (
        anchor !== undefined &&
        statSync(join(ROOT, target)).isFile() &&
        !anchorsOf(target).has(anchor)
      )
        broken.push(`${path}: ${link}`)
    }
  }
  t.deepEqual(broken, [])
})

test('every reason has its heading in the troubleshooting guide', t => {
  const anchors = anchorsOf('docs/troubleshooting.md')
  t.deepEqual(
    REASON_NAMES.filter(name => !anchors.has(name)),
    [],
  )
})

test('every file and folder that a document names in code exists', t => {
  const missing: string[] = []
  const madeByRuns = ['bench/results']
  for (const path of DOCUMENTS) {
    for (const [name = ''] of read(path).matchAll(/\b(?:src|test|bench|policies)\/[\w./-]*[\w]/g)) {
      if (madeByRuns.includes(name)) continue
      if (!existsSync(resolve(ROOT, name)) && !existsSync(resolve(ROOT, dirname(path), name)))
        missing.push(`${path}: ${name}`)
    }
  }
  t.deepEqual(missing, [])
})

test('trap 38: every command, option and script that a document shows exists', async t => {
  const { COMMANDS } = await import('../../src/cli/commands.ts')
  const { COMMON_OPTIONS } = await import('../../src/cli/command.ts')
  const wrong: string[] = []
  for (const path of DOCUMENTS) {
    for (const [, name = '', rest = ''] of read(path).matchAll(/`(?:bin\/)?portcullis ([a-z-]+)([^`\n]*)/g)) {
      const command = COMMANDS.find(entry => entry.name === name)
      if (command === undefined && name !== 'help') wrong.push(`${path}: portcullis ${name}`)
      for (const [, option = ''] of rest.matchAll(/--([a-z-]+)/g))
        if (!(option in { ...command?.options, ...COMMON_OPTIONS }))
          wrong.push(`${path}: ${name} --${option}`)
    }
  }
  const { scripts } = JSON.parse(read('package.json')) as { readonly scripts: object }
  for (const path of DOCUMENTS) {
    for (const [, name = ''] of read(path).matchAll(/npm run (?:-s )?([a-z-]+)/g))
      if (!Object.hasOwn(scripts, name)) wrong.push(`${path}: npm run ${name}`)
  }
  t.deepEqual(wrong, [])
})

test('trap 43: what a MeshCentral server needs behind a gate is in its document', t => {
  const settings = blocksOf('docs/real-rmm.md').filter(block => block.language === 'json')
  const text = settings.map(block => JSON.stringify(JSON.parse(block.text))).join()
  for (const key of ['cert', 'WANonly', 'aliasPort', 'redirPort', 'tlsOffload', 'trustedProxy', 'certUrl'])
    t.true(text.includes(`"${key}":`), key)
})
