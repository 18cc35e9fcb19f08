// Heartbeats through the connector program before a whole gate, with programs of Debian as agents and servers.
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import anyTest, { type ExecutionContext } from 'ava'
import { addKey } from '../../src/access/edit.ts'
import { AGENT_NAME, startWholeGate, until, type WholeGate } from '../support/whole-gate.ts'
import { connectorDirectory, startConnectorProcess, type ConnectorProcess } from '../tunnel/process.ts'

// One after the other: a gate that waits for the processor looks dead to its connectors.
const test = anyTest.serial
const run = promisify(execFile)

const KEY = 'correct horse battery'
const HERE = '127.0.0.1'

/** A UDP port that was free just now. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4')
  socket.bind(0, HERE)
  await once(socket, 'listening')
  const { port } = socket.address()
  await new Promise<void>(done => socket.close(() => done()))
  return port
}

async function gateWith(t: ExecutionContext): Promise<{ gate: WholeGate; port: number }> {
  const port = await freePort()
  const gate = await startWholeGate({
    policy: {
      geo: { loopback: 'allow' },
      gateway: { connectors: { rmm: { key: 'head-office' } } },
      heartbeats: {
        automate: { address: `${HERE}:${port}`, upstream: 'connector://rmm/heartbeat', replyRatio: 10 },
      },
      // Loading rules would hold this process, and with it the gate, for longer than a tunnel may be silent.
      rules: { packs: [] },
    },
  })
  t.teardown(() => gate[Symbol.asyncDispose]())
  await addKey(
    join(gate.directory, 'state/access.json'),
    KEY,
    { name: 'head-office', maxClients: null },
    Date.now(),
  )
  await gate.admin('POST', '/v1/access/reload')
  return { gate, port }
}

/** The connector program, attached, with a UDP service. */
async function connect(
  t: ExecutionContext,
  gate: WholeGate,
  udp: number,
  more: Readonly<Record<string, unknown>> = {},
): Promise<ConnectorProcess> {
  const settings = {
    gates: [{ url: `https://${AGENT_NAME}:${gate.directPort}`, address: HERE, ca: 'ca.pem' }],
    services: { heartbeat: { udp: `${HERE}:${udp}`, ...more } },
    udpConnections: 2,
  }
  const running = startConnectorProcess(connectorDirectory(settings, KEY, { 'ca.pem': gate.ca }))
  t.teardown(() => running[Symbol.asyncDispose]())
  await until(async () => (await gate.status()).heartbeats[0]?.connector?.connections === 2)
  return running
}

/** Why a program of Debian cannot take part; undefined: it can. */
function lacking(...programs: readonly string[]): string | undefined {
  return programs.find(program => spawnSync('which', [program]).status !== 0)
}

/** A test that needs programs is skipped by their name where they are not. */
function needs(...programs: readonly string[]): {
  readonly test: typeof test | typeof test.skip
  readonly suffix: string
} {
  const missing = lacking(...programs)
  return missing === undefined ? { test, suffix: '' } : { test: test.skip, suffix: ` (needs ${missing})` }
}

function program(t: ExecutionContext, command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

test('an agent reaches a server without any way in, and the status, the reload and the end of the connector are told', async t => {
  const { gate, port } = await gateWith(t)
  const server = createSocket('udp4')
  const seen = new Set<string>()
  server.on('message', (message, from) => {
    seen.add(from.address)
    server.send(`ok ${String(message)}`, from.port, from.address)
  })
  server.bind(0, HERE)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const running = await connect(t, gate, server.address().port, { loopbackPerClient: true })
  const agent = createSocket('udp4')
  t.teardown(() => agent.close())
  const answer = once(agent, 'message')
  agent.send('beat', port, HERE)
  t.is(String((await answer)[0]), 'ok beat')
  t.regex([...seen].join(), /^127\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./, 'the client has an own address')
  t.like((await gate.status()).heartbeats, [
    { upstream: 'connector://rmm/heartbeat', flows: 1, connector: { trouble: null, portClosed: false } },
  ])
  t.is(await running.stop(), 0)
  await until(async () => (await gate.status()).heartbeats[0]?.connector?.trouble === 'away')
})

const inform = needs('snmptrapd', 'snmpinform')
inform.test(`SNMP informs are acknowledged through the tunnel${inform.suffix}`, async t => {
  const { gate, port } = await gateWith(t)
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-snmp-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const trapPort = await freePort()
  const log = join(directory, 'traps.log')
  writeFileSync(join(directory, 'snmptrapd.conf'), 'authCommunity log public\n')
  program(t, 'snmptrapd', [
    '-f',
    '-C',
    '-c',
    join(directory, 'snmptrapd.conf'),
    '-Lf',
    log,
    '-On',
    `udp:${HERE}:${trapPort}`,
  ])
  await connect(t, gate, trapPort)
  const send = (text: string) =>
    run(
      'snmpinform',
      `-v2c -c public -r 5 -t 1 udp:${HERE}:${port} 0 1.3.6.1.4.1.8072.2.3.0.1 1.3.6.1.4.1.8072.2.3.2.1 s`
        .split(' ')
        .concat(text),
    )
  // snmpinform fails unless the acknowledgement has come back to it.
  await until(async () => {
    try {
      await send('first inform')
      return true
    } catch {
      return false
    }
  })
  await Promise.all(['second inform', 'third inform', 'fourth inform'].map(send))
  await until(() =>
    ['first', 'second', 'third', 'fourth'].every(word =>
      readFileSync(log, 'utf8').includes(`${word} inform`),
    ),
  )
  t.true(((await gate.status()).heartbeats[0]?.replies ?? 0) >= 4)
})

const echo = needs('socat')
echo.test(`socat echoes datagrams of every size through the tunnel${echo.suffix}`, async t => {
  const { gate, port } = await gateWith(t)
  const echoPort = await freePort()
  program(t, 'socat', ['-b', '65536', `UDP4-RECVFROM:${echoPort},bind=${HERE},fork`, 'EXEC:cat'])
  const running = await connect(t, gate, echoPort)
  const agent = createSocket('udp4')
  t.teardown(() => agent.close())
  const got: string[] = []
  agent.on('message', message => got.push(String(message)))
  const sizes = [1, 100, 512, 1_200, 1_472]
  for (const size of sizes) {
    await until(() => {
      // A datagram may come before socat listens.
      if (!got.some(text => text.length === size)) agent.send('x'.repeat(size), port, HERE)
      return got.some(text => text.length === size)
    })
  }
  t.true(sizes.every(size => got.includes('x'.repeat(size))))
  t.is(await running.stop(), 0)
})

const coap = needs('coap-client-notls', 'coap-server-notls')
coap.test(
  `trap 45: a CoAP server answers through the tunnel, and pushes what is observed${coap.suffix}`,
  async t => {
    const { gate, port } = await gateWith(t)
    const serverPort = await freePort()
    program(t, 'coap-server-notls', ['-A', HERE, '-p', String(serverPort)])
    await connect(t, gate, serverPort)
    // The time resource changes every second: observed for three seconds, it comes several times without being asked.
    const { stdout } = await run('coap-client-notls', ['-B', '4', '-s', '3', `coap://${HERE}:${port}/time`])
    t.true((stdout.match(/\d\d:\d\d:\d\d/g) ?? []).length >= 2, stdout)
  },
)
