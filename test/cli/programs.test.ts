// bin/portcullis and bin/diagnose as programs: from any directory, through links, with spaces in paths, in pipes, under unsafe settings.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ROOT, startBench } from './support.ts'

type Ran = { readonly code: number; readonly out: string; readonly err: string }

async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Ran> {
  const child = spawn(program, args, {
    cwd: options.cwd ?? ROOT,
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      HOME: tmpdir(),
      ...options.env,
    },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', chunk => (out += String(chunk)))
  child.stderr.on('data', chunk => (err += String(chunk)))
  const [code] = (await once(child, 'close')) as [number]
  return { code, out, err }
}

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portcullis bin-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('from another directory, by absolute path', async t => {
  const { code, out } = await run(join(ROOT, 'bin/portcullis'), ['help'], { cwd: '/' })
  t.is(code, 0)
  t.regex(out, /Usage: portcullis <command>/)
})

test('through absolute, relative and chained links, from a directory with a space in its name', async t => {
  const here = directory(t)
  mkdirSync(join(here, 'a b'))
  symlinkSync(join(ROOT, 'bin/portcullis'), join(here, 'absolute'))
  symlinkSync(relative(join(here, 'a b'), join(ROOT, 'bin/portcullis')), join(here, 'a b', 'relative'))
  symlinkSync('a b/relative', join(here, 'chained'))
  symlinkSync(join(ROOT, 'bin/diagnose'), join(here, 'a b', 'diagnose'))
  for (const program of ['absolute', 'a b/relative', 'chained']) {
    const { code, out } = await run(join(here, program), ['help'], { cwd: here })
    t.is(code, 0, program)
    t.regex(out, /Usage: portcullis/)
  }
  const diagnosed = await run(join(here, 'a b', 'diagnose'), ['--help'], { cwd: join(here, 'a b') })
  t.is(diagnosed.code, 0)
  t.regex(diagnosed.out, /diagnose <address \| site/)
})

test('a checkout in a path with spaces, reached through a link to the whole of it', async t => {
  const here = directory(t)
  symlinkSync(ROOT, join(here, 'my checkout'))
  // Where systemd gives a cache directory, compiled code is kept there.
  const env = { NODE_COMPILE_CACHE: '', CACHE_DIRECTORY: join(here, 'my cache') }
  const { code, out } = await run(join(here, 'my checkout/bin/portcullis'), ['help'], { cwd: here, env })
  t.is(code, 0)
  t.regex(out, /Usage/)
  t.true(readdirSync(join(here, 'my cache/compile'), { recursive: true }).length > 100)
})

test('a policy in a path with spaces, named relative to where one stands; the suggestions name it, too', async t => {
  const bench = startBench(t)
  const { code, out } = await run(join(ROOT, 'bin/diagnose'), ['81.2.69.142', '--policy', './policies'], {
    cwd: bench.root,
  })
  t.is(code, 1)
  t.regex(out, /^✗ 81\.2\.69\.142 is refused/)
  t.regex(out, /bin\/portcullis allow 81\.2\.69\.142 .*--policy \.\/policies/)
  t.regex(out, /\(policies\/portcullis\.yaml:\d+:\d+\)/)
})

test('a pipe gets no colour', async t => {
  const escape = String.fromCharCode(27)
  const { out } = await run('sh', ['-c', `'${ROOT}/bin/portcullis' rules | cat`])
  t.false(out.includes(escape))
  t.regex(out, /enforce/)
})

test('a reader that has seen enough ends the command quietly', async t => {
  for (const reader of ['head -n 1 >/dev/null', ':']) {
    const { err } = await run('sh', ['-c', `'${ROOT}/bin/portcullis' rules | ${reader}`])
    t.is(err, '', reader)
  }
})

test('trap 10: NODE_OPTIONS that writes TLS keys to a file is refused', async t => {
  const keys = join(directory(t), 'keys')
  const bench = startBench(t)
  for (const command of ['run', 'demo']) {
    const { code, err } = await run(
      join(ROOT, 'bin/portcullis'),
      [command, '--policy', join(bench.root, 'policies')],
      { env: { NODE_OPTIONS: `--tls-keylog=${keys}` } },
    )
    t.is(code, 1, command)
    t.regex(err, /tls-keylog/)
  }
})

test('misspelt commands and options end with 2 and a suggestion', async t => {
  const command = await run(join(ROOT, 'bin/portcullis'), ['diagnos', '198.51.100.7'])
  t.is(command.code, 2)
  t.regex(command.err, /Did you mean: portcullis diagnose\?/)
  const option = await run(join(ROOT, 'bin/diagnose'), ['198.51.100.7', '--jsn'])
  t.is(option.code, 2)
  t.regex(option.err, /Did you mean --json\?/)
})
