// Puts a real RMM server (MeshCentral with its native agent) behind the gate and shows, step by step, that everything works. Needs root.
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { labObstacle, openLab } from '../support/netlab.ts'
import { openBrowser, openTerminal, typeCommand } from './console.ts'
import { installMeshCentral, startMeshAgent, startMeshCentral, stopChild } from './meshcentral.ts'
import { gatePolicy } from './policy.ts'
import { until, waitForLine } from './wait.ts'

const root = resolve(import.meta.dirname, '../..')
const work = join(root, '.real-rmm')
const NAME = 'mesh.example.test'
const ADDRESSES = {
  gate: '203.0.113.10',
  rmm: '10.99.0.2',
  us: '216.160.83.56',
  se: '89.160.20.112',
  cn: '111.235.160.1',
}
const URL = `https://${NAME}/`
const started = Date.now()

function say(text: string): void {
  process.stdout.write(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${text}\n`)
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`FAILED: ${what}`)
  say(`✓ ${what}`)
}

const obstacle =
  labObstacle() ?? (existsSync('/usr/bin/chromium') ? undefined : 'needs chromium (Debian package)')
if (obstacle !== undefined) {
  process.stdout.write(`real-rmm ${obstacle}\n`)
  process.exit(1)
}

/** Says what is wrong with exit code 1, which is an answer here. */
const diagnose = (address: string): Promise<string> =>
  lab
    .run('gate', join(root, 'bin/diagnose'), [address, '--policy', policyDir])
    .catch((error: { readonly stdout?: string }) => error.stdout ?? '')
const portcullis = (host: string, args: readonly string[]): Promise<string> =>
  lab.run(host, join(root, 'bin/portcullis'), args)
const policyDir = join(work, 'policy')
const file = join(policyDir, 'portcullis.yaml')
const writePolicy = (options: Parameters<typeof gatePolicy>[0]): Promise<void> =>
  writeFile(file, gatePolicy(options, { root, work, name: NAME, ...ADDRESSES }))

say('Installing MeshCentral (first time only) …')
const home = await installMeshCentral(join(work, 'meshcentral'))
for (const folder of ['policy', 'var', 'certs', 'agent', 'agent-cn', 'files']) {
  await rm(join(work, folder), { recursive: true, force: true })
  await mkdir(join(work, folder), { recursive: true })
}
await promisify(execFile)('cp', [
  '-r',
  join(root, 'policies/profiles'),
  join(root, 'policies/rules'),
  policyDir,
])
await writePolicy({ countries: 'US' })

say('Building a little internet of network namespaces …')
const hosts = Object.entries(ADDRESSES).map(([name, address]) => ({ name, addresses: [address] }))
const lab = await openLab('rr', hosts, { [NAME]: ADDRESSES.gate })
try {
  const gate = lab.spawn('gate', join(root, 'bin/portcullis'), ['run', '--policy', policyDir], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  await waitForLine(gate, /listener\.opened|Listening on port/, 30_000)
  say('✓ the gate listens on 203.0.113.10:443')

  const node = join(root, 'node_modules/.bin/node')
  const mesh = await startMeshCentral(
    lab,
    { host: 'rmm', address: ADDRESSES.rmm, port: 4430 },
    { home, data: join(work, 'mesh-data'), node },
    { gate: ADDRESSES.gate, name: NAME },
  )
  say('✓ MeshCentral runs on 10.99.0.2:4430, plain HTTP behind the gate')

  const group = await until('device group made through the gate', 60_000, async () => {
    const answer = await mesh.control('us', ['AddDeviceGroup', '--name', 'Lab'])
    return /ok (mesh\/\/\S+)/.exec(answer)?.[1]
  })
  say('✓ the command line client made a device group through the gate (WebSocket /control.ashx)')
  const settingsUrl = `${URL}meshsettings?id=${group.replace('mesh//', '')}`
  const settings = await lab.run('us', 'curl', ['-sSk', '--fail', settingsUrl])
  expect(settings.includes(`wss://${NAME}:443/agent.ashx`), 'the agent settings point at the public name')

  type Device = { readonly _id: string; readonly conn?: number; readonly ip?: string; readonly host?: string }
  const online = async (): Promise<Device | undefined> => {
    const devices = JSON.parse(await mesh.control('us', ['ListDevices', '--json'])) as readonly Device[]
    return devices.find(device => ((device.conn ?? 0) & 1) === 1)
  }
  await startMeshAgent(lab, 'us', home, join(work, 'agent'), settings)
  const device = await until('agent online', 120_000, online)
  say('✓ the native agent is enrolled and online through the gate')
  const info = await mesh.control('us', ['DeviceInfo', '--id', device._id, '--json'])
  const sources = `${JSON.stringify(device)} ${info}`
  expect(sources.includes(ADDRESSES.us), `MeshCentral knows the agent's true address ${ADDRESSES.us}`)
  expect(!sources.includes(`"${ADDRESSES.gate}"`), "the gate's own address does not stand in for it")

  const browser = await openBrowser(lab, 'us', join(work, 'chromium.sh'))
  const page = await openTerminal(browser, URL)
  const marker = `terminal-${randomBytes(4).toString('hex')}`
  await typeCommand(page, `echo ${marker} > '${join(work, 'files/from-terminal')}'`)
  await until('terminal command ran', 30_000, async () =>
    (await readFile(join(work, 'files/from-terminal'), 'utf8')).trim() === marker ? true : undefined,
  )
  say('✓ console login and a terminal command in Chromium')
  await page.screenshot({ path: join(work, 'console.png') })

  const bytes = randomBytes(8 * 1024 * 1024)
  const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
  await mkdir(join(work, 'files/up'), { recursive: true })
  await mkdir(join(work, 'files/down'), { recursive: true })
  await writeFile(join(work, 'files/sample.bin'), bytes)
  // The client puts the domain before the id by itself.
  const shortId = device._id.split('/').at(-1) ?? device._id
  const sent = await mesh.control('us', [
    'Upload',
    '--id',
    shortId,
    '--file',
    join(work, 'files/sample.bin'),
    '--target',
    join(work, 'files/up'),
  ])
  if (!sent.includes('Upload done')) throw new Error(`the upload did not go through:\n${sent}`)
  await until('upload complete', 60_000, async () =>
    digest(await readFile(join(work, 'files/up/sample.bin'))) === digest(bytes) ? true : undefined,
  )
  say('✓ 8 MiB uploaded to the device through the gate, identical')
  await mesh.control('us', [
    'Download',
    '--id',
    shortId,
    '--file',
    join(work, 'files/up/sample.bin'),
    '--target',
    join(work, 'files/down/sample.bin'),
  ])
  await until('download complete', 60_000, async () =>
    digest(await readFile(join(work, 'files/down/sample.bin'))) === digest(bytes) ? true : undefined,
  )
  say('✓ and downloaded again, identical')

  type Live = {
    readonly connections: readonly { readonly id: string; readonly address: string; readonly state: string }[]
  }
  const agentConnection = async (): Promise<string | undefined> => {
    const live = JSON.parse(await portcullis('gate', ['status', '--policy', policyDir, '--json'])) as Live
    return live.connections.find(
      entry => entry.address === ADDRESSES.us && /websocket.*agent/i.test(entry.state),
    )?.id
  }
  const before = await until('agent connection listed', 10_000, agentConnection)
  for (const countries of ['US, SE', 'US, DE', 'US']) {
    await writePolicy({ countries })
    await portcullis('gate', ['reload', '--policy', policyDir])
  }
  expect((await agentConnection()) === before, 'the agent kept its connection through three reloads')
  await typeCommand(page, `echo again-${marker} > '${join(work, 'files/from-terminal')}'`)
  await until('terminal survives reloads', 30_000, async () =>
    (await readFile(join(work, 'files/from-terminal'), 'utf8')).trim() === `again-${marker}`
      ? true
      : undefined,
  )
  say('✓ so did the open terminal')
  await browser.close()

  await startMeshAgent(lab, 'cn', home, join(work, 'agent-cn'), settings)
  const refused = await until('agent from CN refused', 60_000, async () => {
    const text = await diagnose(ADDRESSES.cn)
    return text.includes('CN') && /no part of the server is open to the country/.test(text) ? text : undefined
  })
  say('✓ an agent from CN is refused, and bin/diagnose says why:')
  process.stdout.write(`${refused.replaceAll(/^/gm, '           ')}\n`)

  const old = [
    's_client',
    '-connect',
    `${NAME}:443`,
    '-servername',
    NAME,
    '-tls1',
    '-cipher',
    'DEFAULT:@SECLEVEL=0',
  ]
  const answer = await lab
    .run('us', 'openssl', old)
    .catch((error: { readonly stderr?: string }) => error.stderr ?? '')
  expect(/alert protocol version/.test(answer), 'a TLS 1.0 client gets the alert protocol_version')
  const below = await diagnose(ADDRESSES.us)
  expect(/TLSv1\b/.test(below) && /below the minimum/.test(below), 'bin/diagnose names the offered version')

  await mesh.stop()
  await stopChild(gate)
  say('All shown.')
} finally {
  await lab.close()
}
