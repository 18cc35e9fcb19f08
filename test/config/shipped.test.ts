// What ships works: the policy, every example, every profile, and the generated files are what the schemas say.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { generatedFiles } from '../../src/config/generate.ts'
import { loadPolicy } from '../../src/config/load.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { matchesPath } from '../../src/policy/path-pattern.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import { NOW_MS } from './support.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const POLICIES = join(ROOT, 'policies')

type Shipped = { readonly snapshot: Snapshot; readonly warnings: readonly string[] }

const loaded = new Map<string, Shipped>()

/** A shipped policy, loaded once. */
function shipped(file: string): Shipped {
  const known = loaded.get(file) ?? load(file)
  loaded.set(file, known)
  return known
}

function load(file: string): Shipped {
  const result = loadPolicy({ directory: POLICIES, file, nowMs: NOW_MS })
  if (!result.ok) throw new Error(result.problems.map(renderProblem).join('\n'))
  return { snapshot: result.snapshot, warnings: result.warnings.map(renderProblem) }
}

test('the shipped policy loads without a warning and serves the demo', t => {
  const { snapshot, warnings } = shipped('portcullis.yaml')
  t.deepEqual(warnings, [])
  t.deepEqual(
    snapshot.names.map(name => name.host),
    ['rmm.example.test', 'localhost'],
  )
  t.deepEqual(snapshot.listeners[0]?.endpoints, [{ host: '0.0.0.0', port: 8443 }])
  t.deepEqual(snapshot.upstreams.get('rmm')?.members[0]?.origin, {
    protocol: 'http',
    host: '127.0.0.1',
    port: 9080,
  })
  t.is(snapshot.geo.loopback.value, 'allow')
  t.deepEqual([...snapshot.home.value], ['US'])
  t.true(snapshot.rules.size >= 30)
})

const examples = readdirSync(join(POLICIES, 'examples'))
// These show what is warned about on purpose.
const WARNED: Readonly<Record<string, RegExp>> = { 'legacy-listener.yaml': /broken TLS versions/ }

for (const name of examples) {
  test(`the example ${name} loads`, t => {
    const { warnings } = shipped(`examples/${name}`)
    const expected = WARNED[name]
    t.deepEqual(
      warnings.filter(warning => expected?.test(warning) !== true),
      [],
    )
  })
}

test('there is an example for every model and every product', t => {
  const snapshots = examples.map(name => shipped(`examples/${name}`).snapshot)
  t.deepEqual([...new Set(snapshots.map(snapshot => snapshot.model.value))].sort(), [
    'agent-only',
    'all-traffic',
    'mixed',
  ])
  const profiles = readdirSync(join(POLICIES, 'profiles')).map(name => name.replace('.yaml', ''))
  const used = new Set(snapshots.flatMap(snapshot => snapshot.names.map(name => name.profile.id)))
  t.deepEqual([...used].sort(), profiles)
})

for (const { path, content } of generatedFiles()) {
  test(`${path} is what the schemas generate`, t => {
    t.is(readFileSync(join(ROOT, path), 'utf8'), content)
  })
}

function classOf(snapshot: Snapshot, host: string, path: string, webSocket = false): string {
  const profile = snapshot.names.find(name => name.host === host)?.profile
  const rule = profile?.rules.find(
    line =>
      (line.webSocket === null || line.webSocket === webSocket) &&
      matchesPath(line.pattern, profile.caseSensitive ? path : path.toLowerCase()),
  )
  return rule?.class ?? 'other'
}

test('trap 16: the Windows console below /LabTech is console, in any spelling and with path-info', t => {
  const { snapshot } = shipped('portcullis.yaml')
  const of = (path: string): string => classOf(snapshot, 'rmm.example.test', path)
  t.is(of('/LabTech/ControlCenter.asmx'), 'console')
  t.is(of('/labtech/CONTROLCENTER.ASMX/GetUser'), 'console')
  t.is(of('/LabTech/Agent.aspx'), 'agent')
  t.is(of('/LabTech/agent.aspx/x'), 'agent')
  t.is(of('/LabTech/Deployment.aspx'), 'enroll')
  t.is(of('/LabTech/Updates/LabtechUpdate_220.zip'), 'update')
  t.is(of('/LabTech/Updates/ControlCenterInstaller.exe'), 'console')
  t.is(of('/LabTech/Transfer/Scripts/a.exe'), 'transfer')
  t.is(of('/automate/login'), 'console')
  t.is(of('/WCC2/Home/Login'), 'console')
  t.is(of('/cwa/api/v1/apitoken'), 'api')
  t.is(of('/LabTech/anything-else.aspx'), 'other')
  t.is(of('/'), 'other')
})

test('trap 17: agents get large bodies, consoles hours, WebSockets more than 330 s', t => {
  for (const file of ['portcullis.yaml', ...examples.map(name => `examples/${name}`)]) {
    const { classes } = shipped(file).snapshot
    t.true((classes.get('agent')?.limits.maxBodyBytes ?? 0) >= 2 ** 33)
    t.true((classes.get('agent')?.limits.webSocketIdleMs ?? 0) >= 330_000)
    t.true((classes.get('relay')?.limits.webSocketIdleMs ?? 0) >= 330_000)
    t.is(classes.get('agent')?.limits.maxResponseBytes, 0)
  }
  const console = shipped('portcullis.yaml').snapshot.classes.get('console')?.limits
  t.is(console?.responseMs, 36_000_000)
  t.is(console?.responseIdleMs, 36_000_000)
})

test('traps 40 and 41: MeshCentral pins certificates and reads a known set of forwarded headers', t => {
  const { snapshot } = shipped('examples/meshcentral.yaml')
  const profile = snapshot.names[0]?.profile
  t.true(profile?.pinsCertificate)
  t.true(profile?.caseSensitive)
  t.deepEqual(profile?.forwardedHeaders, ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'])
  const of = (path: string, webSocket = false): string =>
    classOf(snapshot, 'rmm.example.test', path, webSocket)
  t.is(of('/agent.ashx', true), 'agent')
  t.is(of('/agent.ashx'), 'other')
  t.is(of('/control.ashx', true), 'console')
  t.is(of('/meshrelay.ashx', true), 'relay')
  t.is(of('/'), 'console')
})

test('the Automate probe knows the server’s answer and nothing else', t => {
  const pattern = shipped('portcullis.yaml').snapshot.names[0]?.profile.health.bodyPattern
  t.true(pattern?.test('||||||220.105'))
  t.false(pattern?.test('<html>IIS</html>'))
})
