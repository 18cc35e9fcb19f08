// N8 when the primary is a black hole: two gates, a connector, an operator's port and live sessions, all as processes on hosts of their own.
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test, { type ExecutionContext } from 'ava'
import { addKey, addOperator } from '../../src/access/edit.ts'
import { testAuthority } from '../support/certificates.ts'
import { runGate, type RunningGate } from '../support/gate-process.ts'
import { labObstacle, openLab, type NetLab } from '../support/netlab.ts'
import { AGENT_NAME, policyDirectory, ROOT, US, until, usualPolicy } from '../support/whole-gate.ts'
import { connectorDirectory, startConnectorProcess } from '../tunnel/process.ts'

const NFT = '/usr/sbin/nft'
const SOCAT = '/usr/bin/socat'
const obstacle =
  labObstacle() ??
  (existsSync(NFT) ? undefined : 'needs nftables') ??
  (existsSync(SOCAT) ? undefined : 'needs socat')
const inLab = obstacle === undefined ? test : test.skip

const KEY = 'correct horse battery'
const PASSWORD = 'a password of alice'
const PRIMARY = '198.51.100.1'
const STANDBY = '198.51.100.2'
const PC = '216.160.83.60'
const URLS = [`https://${AGENT_NAME}`, `https://${AGENT_NAME}:8443`] as const

async function gateOn(t: ExecutionContext, lab: NetLab, host: string, address: string): Promise<RunningGate> {
  const directory = await policyDirectory({
    ...usualPolicy({ primary: 'http://127.0.0.1:9' }),
    listeners: { direct: { address } },
    rules: { packs: [] },
  })
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const access = join(directory, 'state/access.json')
  await addKey(access, KEY, { name: 'head-office', maxClients: null }, Date.now())
  await addOperator(access, PASSWORD, { name: 'alice', role: 'support', keys: null, sites: null }, Date.now())
  const gate = await runGate(directory, ['direct'], lab.prefix(host))
  t.teardown(() => gate.signal('SIGKILL'))
  return gate
}

/** `portcullis connect` on the operator's host; `said` is what it wrote for the operator. */
async function connectOn(
  t: ExecutionContext,
  lab: NetLab,
  caFile: string,
): Promise<{ readonly port: number; readonly said: readonly string[] }> {
  const gates = URLS.flatMap((url, index) => ['--gate', url, '--address', [PRIMARY, STANDBY][index] ?? ''])
  const words = ['connect', 'PC-1/echo', '--local', '0', '--json', ...gates, '--operator', 'alice']
  const child = spawn('env', [...lab.prefix('op'), join(ROOT, 'bin/portcullis'), ...words, '--ca', caFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], PORTCULLIS_PASSWORD: PASSWORD, PORTCULLIS_KEY: KEY },
  })
  t.teardown(() => child.kill('SIGKILL'))
  const said: string[] = []
  createInterface({ input: child.stderr }).on('line', line => said.push(line))
  let text = ''
  const printed = Promise.withResolvers<void>()
  child.stdout.on('data', chunk => {
    text += String(chunk)
    if (text.trimEnd().endsWith('}')) printed.resolve()
  })
  child.once('close', () => printed.reject(new Error(said.join('\n'))))
  await printed.promise
  const { local } = JSON.parse(text) as { local: { port: number } }
  return { port: local.port, said }
}

/** A session through the local port: a program that sends a line and reads it back. */
class Session {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #waiting: (() => void)[] = []
  readonly ended: Promise<number | null>
  #isOver = false

  constructor(t: ExecutionContext, lab: NetLab, port: number) {
    this.#child = lab.spawn('op', SOCAT, ['-', `TCP:127.0.0.1:${port}`], {
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    t.teardown(() => this.#child.kill('SIGKILL'))
    const { stdin, stdout } = this.#child
    if (stdout === null) throw new Error('it has no output')
    stdin?.on('error', () => undefined)
    createInterface({ input: stdout }).on('line', line => {
      this.#lines.push(line)
      this.#waiting.splice(0).forEach(look => look())
    })
    this.ended = (once(this.#child, 'close') as Promise<[number | null]>).then(([code]) => {
      this.#isOver = true
      this.#waiting.splice(0).forEach(look => look())
      return code
    })
  }

  /** Whether these words come back. */
  async echoes(words: string): Promise<boolean> {
    this.#child.stdin?.write(`${words}\n`)
    while (!this.#lines.includes(words) && !this.#isOver)
      await new Promise<void>(done => this.#waiting.push(done))
    return this.#lines.includes(words)
  }

  end(): Promise<number | null> {
    this.#child.stdin?.end()
    return this.ended
  }
}

inLab(
  `N8: a primary that swallows everything is left, and is the primary again when it does not${obstacle === undefined ? '' : ` (${obstacle})`}`,
  async t => {
    const hosts = [
      { name: 'a', addresses: [PRIMARY] },
      { name: 'b', addresses: [STANDBY] },
      { name: 'op', addresses: [US] },
      { name: 'pc', addresses: [PC] },
    ]
    const lab = await openLab(`h${randomBytes(3).toString('hex')}`, hosts, {})
    t.teardown(() => lab.close())
    const [a, b] = await Promise.all([
      gateOn(t, lab, 'a', `${PRIMARY}:443`),
      gateOn(t, lab, 'b', `${STANDBY}:8443`),
    ])
    const ca = await testAuthority()
    const settings = {
      name: 'PC-1',
      gates: URLS.map((url, index) => ({ url, address: [PRIMARY, STANDBY][index], ca: 'ca.pem' })),
      use: 'standby',
      moveAfter: '1s',
      returnAfter: '1s',
      services: { echo: { tcp: '127.0.0.1:7000' } },
    }
    const file = connectorDirectory(settings, KEY, { 'ca.pem': ca })
    const caFile = join(file, '../authority.pem')
    writeFileSync(caFile, ca)
    const echo = lab.spawn('pc', SOCAT, ['TCP-LISTEN:7000,bind=127.0.0.1,fork,reuseaddr', 'PIPE'], {
      stdio: 'ignore',
    })
    t.teardown(() => echo.kill('SIGKILL'))
    const connector = startConnectorProcess(file, lab.prefix('pc'))
    t.teardown(() => connector[Symbol.asyncDispose]())
    await a.lines.next('client.connected')
    const { port, said } = await connectOn(t, lab, caFile)

    const holes: readonly (readonly [string, () => unknown, () => unknown])[] = [
      [
        'packets dropped',
        () =>
          lab.run('wan', NFT, [
            `table ip hole { chain a { type filter hook forward priority 0; ip saddr ${PRIMARY} drop; ip daddr ${PRIMARY} drop; }; }`,
          ]),
        () => lab.run('wan', NFT, ['delete table ip hole']),
      ],
      ['process stopped', () => process.kill(a.pid, 'SIGSTOP'), () => process.kill(a.pid, 'SIGCONT')],
    ]
    let onStandby: Session | null = null
    for (const [round, [name, swallow, heal]] of holes.entries()) {
      const moved = (to: string): number => said.filter(line => line.includes(`go through ${to} now`)).length
      const before = new Session(t, lab, port)
      t.true(await before.echoes(`${name}: through the primary`))
      await swallow()
      const startMs = performance.now()
      // Begun in the hole: it waits until the client is at the standby, and is served.
      const during = new Session(t, lab, port)
      t.regex((await connector.next('gate.lost', round + 1)).message, /nothing was heard/)
      t.log(`${name}: the connector noticed after ${Math.round(performance.now() - startMs)} ms`)
      await b.lines.next('client.connected', () => b.lines.of('client.connected').length > round)
      t.log(`${name}: at the standby after ${Math.round(performance.now() - startMs)} ms`)
      t.true(await during.echoes(`${name}: through the standby`))
      t.log(
        `${name}: a session begun in the hole was served after ${Math.round(performance.now() - startMs)} ms`,
      )
      t.not(await before.ended, null)
      t.is(moved(`${AGENT_NAME}:8443`), round + 1)

      await heal()
      const healedMs = performance.now()
      await connector.next('gate.left', round + 1)
      t.log(
        `${name}: back at the primary, the standby left, ${Math.round(performance.now() - healedMs)} ms after its end`,
      )
      // New connections find the way back as soon as the operator's side has seen that the primary answers.
      for (let count = 0; moved(`${AGENT_NAME}:443`) <= round; count++) {
        const next = new Session(t, lab, port)
        t.true(await next.echoes(`${name}: number ${count}`))
        t.is(await next.end(), 0)
      }
      t.log(
        `${name}: new sessions through the primary ${Math.round(performance.now() - healedMs)} ms after its end`,
      )
      t.true(await during.echoes(`${name}: still there`))
      if (onStandby !== null) {
        t.true(await onStandby.echoes('through everything'))
        t.is(await onStandby.end(), 0)
      }
      onStandby = during
    }
    t.is(await onStandby?.end(), 0)
    // The gate in the hole saw its clients go, too; nobody was lost for good.
    await until(() => a.lines.of('client.disconnected').length >= 2)
    t.is(a.lines.of('client.identity-refused').length + b.lines.of('client.identity-refused').length, 0)
  },
)
