// P14, P15: share of the fleet, order of the steps, the check from outside and the drill, as people run them.
import { freePort } from '../support/free-port.ts'
import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { rehearse } from '../../src/cli/rehearsal.ts'
import { startBench, startRunningBench, type Json } from './support.ts'

const ONE = '216.160.83.56'
const TWO = '216.160.83.57'
const POLICY = `
geo: { overrides: [{ address: 216.160.0.0/16, country: US, reason: test }] }
sites:
  acme: { addresses: [${ONE}], agents: 30 }
  beta: { addresses: [${TWO}], agents: 10 }
`
const PROBE = { path: '/LabTech/Agent.aspx', statuses: new Set([200]), bodyPattern: /^\|{6}\d/ }

async function rmm(t: ExecutionContext, port: number, body = '||||||220.105'): Promise<Server> {
  const server = createServer((_, response) => response.end(body)).listen(port, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return server
}

test('P14: the share of the fleet by list, by sites and by the ledger, and the steps in their order', async t => {
  const bench = await startRunningBench(t, POLICY)
  for (let hour = 0; hour < 3; hour++) {
    await bench.ask(ONE)
    bench.advance(3_600_000)
  }
  const bySite = await bench.json(['cutover'])
  t.is(bySite.code, 1)
  t.like(bySite.value['fleet'], { known: 40, using: 30, share: 0.75 })
  t.is(bySite.value['current'], 'template')

  const list = join(bench.root, 'agents.csv')
  writeFileSync(list, `Computer,Router Address\r\npc1,${ONE}\r\npc2,${ONE}\r\n"pc, 3",${TWO}\r\npc4,\r\n`)
  const byList = await bench.cli(['cutover', '--list', list])
  t.regex(byList.out, /66 % \(2 of 3\), by .*agents\.csv \(Router Address\)/)
  t.regex(byList.out, /1 rows of the list have no public address/)
  t.regex(byList.out, /not there: 216\.160\.83\.57, 1 agent, never through the gate/)

  const early = await bench.cli(['cutover', 'done', 'redirector'])
  t.is(early.code, 1)
  t.regex(early.err, /"One new template with both addresses" comes before/)
  t.regex((await bench.cli(['cutover', 'done', 'firewall', '--direct', '127.0.0.1'])).err, /comes before/)
  t.is((await bench.cli(['cutover', 'undone', 'firewall', '--direct', '127.0.0.1'])).code, 0)
  t.is((await bench.cli(['cutover', 'done', 'template'])).code, 0)
  t.is((await bench.json(['cutover'])).value['current'], 'all-templates')
  t.is((await bench.cli(['cutover', 'done', 'all-templates'])).code, 0)
  t.is((await bench.cli(['cutover', 'undone', 'all-templates'])).code, 0)
  t.is((await bench.json(['cutover'])).value['current'], 'all-templates')
  bench.advance(2 * 86_400_000)
  t.like((await bench.json(['cutover'])).value['fleet'], { using: 0 }, 'they have left')
  t.like((await bench.json(['cutover', '--since', '3d'])).value['fleet'], { using: 30 })
})

test('P14: the check tells product, open, refused and unresolvable apart, and remembers', async t => {
  const bench = await startRunningBench(t, POLICY)
  const direct = `127.0.0.1:${new URL(bench.practice.url).port}`
  const open = await bench.json(['cutover', 'verify', '--direct', direct])
  t.is(open.code, 1)
  t.like((open.value['results'] as readonly Json[])[0], { reach: 'answers' })
  t.regex((await bench.cli(['cutover'])).out, /was OPEN/)

  const other = await rmm(t, 0, 'hello')
  const { port } = other.address() as AddressInfo
  t.like(
    (
      (await bench.json(['cutover', 'verify', '--direct', `127.0.0.1:${port}`])).value[
        'results'
      ] as readonly Json[]
    )[0],
    {
      reach: 'open',
    },
  )
  const silent = createTcpServer(socket => socket.destroy()).listen(0, '127.0.0.1')
  t.teardown(() => silent.close())
  await once(silent, 'listening')
  const silentPort = (silent.address() as AddressInfo).port
  t.like(
    (
      (await bench.json(['cutover', 'verify', '--direct', `127.0.0.1:${silentPort}`])).value[
        'results'
      ] as readonly Json[]
    )[0],
    {
      reach: 'open',
    },
  )
  const closedPort = await freePort()
  const closed = await bench.cli(['cutover', 'verify', '--direct', `127.0.0.1:${closedPort}`])
  t.is(closed.code, 0)
  t.regex(closed.out, /refused[^]*closed from here/)
  t.regex((await bench.cli(['status'])).out, /direct access closed, checked/)
  const both = await bench.json([
    'cutover',
    'verify',
    '--direct',
    `127.0.0.1:${closedPort}`,
    '--ports',
    String(port),
  ])
  t.is(both.code, 1, 'one open port is enough')
  const nowhere = await bench.cli(['cutover', 'verify', '--direct', 'direct.invalid'])
  t.is(nowhere.code, 1)
  t.regex(nowhere.out, /does not resolve/)
})

test('a check is of one server: ranges, URLs and long lists are refused', async t => {
  const bench = startBench(t)
  const wrong = async (...words: string[]): Promise<string> => (await bench.cli(['cutover', ...words])).err
  for (const text of [
    '10.0.0.0/8',
    'https://x.example.com',
    'a b',
    'x.example.com:0',
    'x.example.com:99999',
    '10.0.0.1-9',
  ])
    t.regex(await wrong('verify', '--direct', text), /not a host/, text)
  const many = Array.from({ length: 17 }, (_, index) => index + 1).join()
  t.regex(await wrong('verify', '--direct', '127.0.0.1', '--ports', many), /at most 16/)
  t.regex(await wrong('verify', '--direct', '127.0.0.1', '--ports', '80,x'), /not a list of ports/)
  t.regex(await wrong('verify'), /deployment\.direct/)
  t.regex(await wrong('verfy'), /cutover verify\?/)
  t.regex(await wrong('done', 'trial'), /seen, not said/)
  t.regex(await wrong('rehearse', '--direct', '127.0.0.1', '--every', '0s'), /at least 1s/)
  t.regex(await wrong('--list', '/nonexistent'), /cannot be read/)
  const file = join(bench.root, 'list.csv')
  writeFileSync(file, 'name,city\na,b\n')
  t.regex(await wrong('--list', file), /--column; there are: name, city/)
  t.regex(await wrong('--list', file, '--column', 'nme'), /no column "nme"/)
  writeFileSync(file, `${ONE}\n${TWO}\n`)
  t.like((await bench.json(['cutover', '--list', file])).value['fleet'], { known: 2, using: 0 })
})

test('P14: the rule of the policy names the egress address; without one the guess is called a guess', async t => {
  const bench = startBench(t, 'deployment: { egress: [203.0.113.5] }')
  const stated = await bench.cli(['cutover', 'firewall'])
  t.is(stated.code, 0)
  t.regex(stated.out, /Only 203\.0\.113\.5 may reach the RMM server on TCP 70, 80, 443, 8484 and UDP 75/)
  t.regex(stated.out, /In an emergency:\n +nft delete table/)
  const guessed = await startBench(t).cli(['cutover', 'firewall'])
  t.regex(guessed.out, /Only 127\.0\.0\.1[^]*this machine would use/)
  t.regex((await bench.cli(['cutover', 'firewall', '--egress', 'me'])).err, /not an address/)
})

test('P15: the drill opens, sees, closes and sees again; the gate is watched all the while', async t => {
  const port = await freePort()
  let server: Server | null = null
  let asked = 0
  const said: string[] = []
  const steps = await rehearse({
    host: '127.0.0.1',
    port,
    probe: PROBE,
    gateUpstream: () => {
      asked++
      return Promise.resolve({ ok: true, saw: 'rmm/primary up' })
    },
    waitMs: 20_000,
    everyMs: 20,
    isStopped: () => false,
    // What the operator does at the firewall, a server does here: it comes, and it goes.
    say: line => {
      said.push(line)
      if (said.length === 1)
        server = createServer((_, response) => response.end('||||||220.105')).listen(port, '127.0.0.1')
      else server?.close()
    },
  })
  t.deepEqual(
    steps.map(step => step.ok),
    steps.map(() => true),
    JSON.stringify(steps),
  )
  t.is(steps.length, 7)
  t.is(asked, 3)
})

test('P15: a drill that cannot work says at which step, and is remembered as failed', async t => {
  const bench = await startRunningBench(t, POLICY)
  const direct = `127.0.0.1:${new URL(bench.practice.url).port}`
  const open = await bench.cli(['cutover', 'rehearse', '--direct', direct])
  t.is(open.code, 1)
  t.regex(open.out, /✗ direct access was closed\n[^]*nothing to rehearse yet/)
  t.regex(
    (await bench.cli(['cutover'])).out,
    /rehearsed less than a second ago \(tester\): it FAILED|rehearsed \d+ seconds? ago \(tester\): it FAILED/,
  )
  const late = await bench.json([
    'cutover',
    'rehearse',
    '--direct',
    `127.0.0.1:${await freePort()}`,
    '--wait',
    '0s',
  ])
  const steps = late.value['steps'] as readonly Json[]
  t.regex(String(steps.at(-1)?.['saw']), /not within the time/)
  const nameless = await bench.json(['cutover', 'rehearse', '--direct', 'direct.invalid'])
  t.like((nameless.value['steps'] as readonly Json[])[0], { ok: false })
  const printed = await bench.cli(['cutover', 'rehearse', '--direct', direct, '--print'])
  t.is(printed.code, 0)
  t.regex(printed.out, /2\. Firewall admin: removes/)
  await bench.portcullis.stop()
  const down = await bench.json(['cutover', 'rehearse', '--direct', direct])
  t.regex(JSON.stringify(down.value), /no gate runs/)
})
