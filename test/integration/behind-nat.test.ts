// Real addresses: two PCs with xrdp behind one NAT, reached at once through a gate elsewhere, and a black hole on the way.
import { spawn, execFileSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { addKey, addOperator } from '../../src/access/edit.ts'
import { testAuthority } from '../support/certificates.ts'
import { runGate } from '../support/gate-process.ts'
import { labObstacle, openLab, type NetLab } from '../support/netlab.ts'
import { AGENT_NAME, policyDirectory, ROOT, US, until, usualPolicy } from '../support/whole-gate.ts'
import { connectorDirectory, startConnectorProcess, type ConnectorProcess } from '../tunnel/process.ts'

const NFT = '/usr/sbin/nft'
const XRDP = '/usr/sbin/xrdp'
const obstacle =
  labObstacle() ??
  (existsSync(NFT) ? undefined : 'needs nftables') ??
  (existsSync(XRDP) ? undefined : 'needs xrdp')
const inLab = obstacle === undefined ? test : test.skip

const KEY = 'correct horse battery'
const PASSWORD = 'a password of alice'
const GATE = '198.51.100.1'
const NAT = '216.160.83.60'
const PCS = { 'PC-1': '10.0.0.1', 'PC-2': '10.0.0.2' } as const

/** xrdp with a certificate of its own, on the loopback of its host. */
async function startXrdp(t: ExecutionContext, lab: NetLab, host: string, name: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-xrdp-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const words = `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=${name} -keyout ${key} -out ${certificate}`
  execFileSync('openssl', words.split(' '), { stdio: 'ignore' })
  const config = join(directory, 'xrdp.ini')
  const globals = `ini_version=1\nfork=false\nport=tcp://127.0.0.1:3389\nuse_vsock=false\nsecurity_layer=tls\ncertificate=${certificate}\nkey_file=${key}\nssl_protocols=TLSv1.2, TLSv1.3`
  writeFileSync(
    config,
    `[Globals]\n${globals}\n[Logging]\nLogFile=${join(directory, 'xrdp.log')}\nLogLevel=INFO\nEnableSyslog=false\n[Channels]\n[Xorg]\nname=Xorg\nlib=libxup.so\nusername=ask\npassword=ask\nport=-1\n`,
  )
  const child = lab.spawn(host, XRDP, ['--nodaemon', '--config', config], { stdio: 'ignore' })
  t.teardown(() => stop(child))
  await until(async () => (await lab.run(host, 'ss', ['-ltnH'])).includes(':3389'))
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'close')
  child.kill('SIGKILL')
  await ended
}

function connectorOn(
  t: ExecutionContext,
  lab: NetLab,
  host: string,
  name: string,
  ca: string,
): ConnectorProcess {
  const settings = {
    name,
    gates: [{ url: `https://${AGENT_NAME}`, address: GATE, ca: 'ca.pem' }],
    services: { rdp: { tcp: '127.0.0.1:3389' } },
  }
  const file = connectorDirectory(settings, KEY, { 'ca.pem': ca })
  const running = startConnectorProcess(file, lab.prefix(host))
  t.teardown(() => running[Symbol.asyncDispose]())
  return running
}

/** The name in the certificate that the RDP server of a client shows to `portcullis connect`. */
async function rdpName(t: ExecutionContext, lab: NetLab, target: string, caFile: string): Promise<string> {
  const words = [
    'connect',
    `${target}/rdp`,
    '--stdio',
    '--gate',
    `https://${AGENT_NAME}`,
    '--operator',
    'alice',
  ]
  const program = [...lab.prefix('op'), join(ROOT, 'bin/portcullis'), ...words, '--ca', caFile]
  const child = spawn('env', program, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'], PORTCULLIS_PASSWORD: PASSWORD, PORTCULLIS_KEY: KEY },
  })
  t.teardown(() => stop(child))
  const line = Duplex.from({ readable: child.stdout, writable: child.stdin })
  // The end of the program ends all of it, in whatever order.
  for (const stream of [line, child.stdin, child.stdout]) stream.on('error', () => undefined)
  // MS-RDPBCGR 2.2.1.1: connection request with a negotiation request for TLS; the confirm names TLS as well.
  line.write(Buffer.from('030000130ee000000000000100080001000000', 'hex'))
  const [confirm] = (await once(line, 'data')) as [Buffer]
  t.is(confirm.subarray(0, 6).toString('hex'), '030000130ed0')
  t.is(confirm.subarray(11, 19).toString('hex').slice(0, 2), '02')
  t.is(confirm.readUInt32LE(15), 1)
  const secure = connectTls({ socket: line, rejectUnauthorized: false })
  await once(secure, 'secureConnect')
  secure.on('error', () => undefined)
  const { subject } = secure.getPeerCertificate()
  await stop(child)
  return String(subject.CN)
}

inLab(
  `two PCs with xrdp behind one NAT at once, and back after a black hole${obstacle === undefined ? '' : ` (${obstacle})`}`,
  async t => {
    const hosts = [
      { name: 'gate', addresses: [GATE] },
      { name: 'op', addresses: [US] },
      ...Object.entries(PCS).map(([name, address]) => ({ name: name.toLowerCase(), addresses: [address] })),
    ]
    const lab = await openLab(`n${randomBytes(3).toString('hex')}`, hosts, { [AGENT_NAME]: GATE })
    t.teardown(() => lab.close())
    await lab.run('wan', 'ip', ['addr', 'add', `${NAT}/32`, 'dev', 'lo'])
    await lab.run('wan', NFT, [
      `table ip nat { chain out { type nat hook postrouting priority srcnat; ip saddr 10.0.0.0/8 snat to ${NAT}; }; }`,
    ])
    const directory = await policyDirectory({
      ...usualPolicy({ primary: 'http://127.0.0.1:9' }),
      listeners: { direct: { address: `${GATE}:443` } },
      rules: { packs: [] },
    })
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const access = join(directory, 'state/access.json')
    await addKey(access, KEY, { name: 'head-office', maxClients: null }, Date.now())
    await addOperator(
      access,
      PASSWORD,
      { name: 'alice', role: 'support', keys: null, sites: null },
      Date.now(),
    )
    const ca = await testAuthority()
    const caFile = join(directory, 'ca.pem')
    writeFileSync(caFile, ca)
    const gate = await runGate(directory, ['direct'], lab.prefix('gate'))
    t.teardown(() => gate.signal('SIGKILL'))
    const connectors = Object.keys(PCS).map(name => connectorOn(t, lab, name.toLowerCase(), name, ca))
    await Promise.all(Object.keys(PCS).map(name => startXrdp(t, lab, name.toLowerCase(), name)))
    for (const name of Object.keys(PCS)) {
      const attached = await gate.lines.next('client.connected', ({ client }) => client === name)
      t.is(attached.address, NAT)
    }
    // Each reaches the PC that it asked for: the certificates tell.
    t.deepEqual(
      await Promise.all(Object.keys(PCS).map(name => rdpName(t, lab, name, caFile))),
      Object.keys(PCS),
    )

    await lab.run('wan', NFT, [
      'table ip hole { chain every { type filter hook forward priority 0; policy drop; }; }',
    ])
    const holeMs = performance.now()
    const lost = await Promise.all(connectors.map(connector => connector.next('gate.lost')))
    t.log(`noticed after ${Math.round(performance.now() - holeMs)} ms`)
    for (const { message } of lost) t.regex(message, /nothing was heard/)
    await lab.run('wan', NFT, ['delete table ip hole'])
    const freeMs = performance.now()
    await Promise.all(connectors.map(connector => connector.next('gate.attached', 2)))
    t.log(`attached again after ${Math.round(performance.now() - freeMs)} ms`)
    t.is(await rdpName(t, lab, 'PC-2', caFile), 'PC-2')
  },
)
