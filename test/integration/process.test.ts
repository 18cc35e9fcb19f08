// The gate as a process: reload and shutdown by signal, and what it says when it cannot start.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import { digestOf, seededDigest } from '../../src/practice/seeded-bytes.ts'
import { runPortcullis, startGateProcess } from '../support/gate-process.ts'
import {
  AGENT_NAME,
  ask,
  client,
  GB,
  openTls,
  policyDirectory,
  ROOT,
  startWholeGate,
  usualPolicy,
} from '../support/whole-gate.ts'

test('SIGHUP reloads: a right policy is taken, a wrong one is refused loudly, and a kept connection lives through both', async t => {
  await using gate = await startGateProcess()
  using agent = client(gate)
  t.is((await agent.ask({})).status, 200)
  await t.throwsAsync(ask(gate, {}, { from: GB }))

  gate.write({ ...gate.policy, home: ['US', 'GB'] })
  gate.signal('SIGHUP')
  const loaded = await gate.lines.next('policy.loaded', entry => entry.changes.length > 0)
  t.regex(loaded.changes.join(), /GB/)
  t.is((await ask(gate, {}, { from: GB })).status, 200)

  gate.write('version: 1\nhoem: [US]\n')
  gate.signal('SIGHUP')
  const rejected = await gate.lines.next('policy.rejected')
  t.is(rejected.keptId, loaded.id)
  t.regex(rejected.problems.join(), /hoem/)
  t.is((await ask(gate, {}, { from: GB })).status, 200)
  t.is((await agent.ask({})).status, 200)
  t.is(agent.connections(), 1)
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} drains: a running download arrives whole and the process ends with 0`, async t => {
    await using gate = await startGateProcess({ limits: { drain: '20s' } })
    using agent = client(gate)
    using idle = client(gate)
    t.is((await idle.ask({})).status, 200)
    const bytes = 30_000_000
    const response = await agent.begin({ path: `/LabTech/transfer/x?bytes=${bytes}&seed=drain` })
    gate.signal(signal)
    await gate.lines.next('listener.closed')
    const { sha256 } = await digestOf(response as AsyncIterable<Buffer>)
    t.is(sha256, seededDigest('drain', bytes))
    t.deepEqual(await gate.ended, { code: 0, signal: null }, gate.complaints())
    const stopped = await gate.lines.next('gate.stopped')
    t.is(stopped.connectionsCut, 0)
    t.is(gate.complaints(), '')
  })
}

test('what is still open at the end of the drain time is cut and counted, and the process ends with 0', async t => {
  await using gate = await startGateProcess({ limits: { drain: '0s' } })
  const socket = await openTls(gate)
  const webSocket = new WebSocket(`ws://${AGENT_NAME}/LabTech/agent/ws`, { createConnection: () => socket })
  await once(webSocket, 'open')
  webSocket.on('error', () => undefined)
  gate.signal('SIGTERM')
  await once(webSocket, 'close')
  t.deepEqual(await gate.ended, { code: 0, signal: null })
  t.is((await gate.lines.next('gate.stopped')).connectionsCut, 1)
})

test('a second gate on the same port says who holds it and ends', async t => {
  await using gate = await startWholeGate()
  const directory = await policyDirectory({
    ...usualPolicy({ primary: gate.rmm.url }),
    listeners: { https: { address: `127.0.0.1:${gate.port}` } },
  })
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const second = await runPortcullis(['run', '--policy', join(directory, 'policies')])
  t.not(second.code, 0)
  t.is(second.signal, null)
  t.regex(second.stdout, new RegExp(`port ${gate.port} is held by [^"]*\\(process ${process.pid}\\)`))
  t.regex(second.stderr, /no listener could be opened/)
  t.notRegex(second.stderr, /\n +at /, 'a person reads this: no stack')
})

test('a second gate on the same admin address says so and ends', async t => {
  await using gate = await startWholeGate()
  const admin = gate.portcullis.adminEndpoint()
  const directory = await policyDirectory({
    ...usualPolicy({ primary: gate.rmm.url }),
    admin: { address: `127.0.0.1:${admin?.port ?? 0}` },
  })
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const second = await runPortcullis(['run', '--policy', join(directory, 'policies')])
  t.not(second.code, 0)
  t.regex(second.stderr, /the admin address .* cannot be opened/)
  t.regex(second.stderr, /another gate/)
})

test('a wrong policy at the start is shown with its line, and nothing listens', async t => {
  const directory = await policyDirectory({
    ...usualPolicy({ primary: 'http://127.0.0.1:1' }),
    modle: 'mixed',
  })
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const ended = await runPortcullis(['run', '--policy', join(directory, 'policies')])
  t.not(ended.code, 0)
  t.regex(ended.stderr, /portcullis\.yaml:\d+:\d+/)
  t.regex(ended.stderr, /modle/)
  t.regex(ended.stderr, /model/)
})

test('trap 10: the process refuses to start with a TLS key log', async t => {
  const directory = await policyDirectory(usualPolicy({ primary: 'http://127.0.0.1:1' }))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const ended = await runPortcullis(['run', '--policy', join(directory, 'policies')], {
    NODE_OPTIONS: `--tls-keylog=${join(directory, 'keys')}`,
  })
  t.not(ended.code, 0)
  t.regex(ended.stderr, /tls-keylog/)
})

test('trap 37: the commands run from the checkout, through a link from anywhere', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-link-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const name of ['portcullis', 'diagnose']) {
    symlinkSync(join(ROOT, 'bin', name), join(directory, name))
    symlinkSync(name, join(directory, `${name}-again`))
    const child = spawn(join(directory, `${name}-again`), ['--help'], {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', chunk => (output += String(chunk)))
    const [code] = (await once(child, 'close')) as [number]
    t.is(code, 0, name)
    t.regex(output, /portcullis|diagnose/, name)
  }
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly private: boolean
  }
  t.true(manifest.private, 'nobody installs it as a library')
})
