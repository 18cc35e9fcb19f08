// The way to the gate, in network namespaces: an outbound firewall, DNS that leads elsewhere, and large packets that get lost.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { testAuthority } from '../support/certificates.ts'
import { runGate } from '../support/gate-process.ts'
import { labObstacle, openLab, type NetLab } from '../support/netlab.ts'
import { AGENT_NAME, policyDirectory, ROOT, usualPolicy } from '../support/whole-gate.ts'
import type { Found } from './support.ts'

const NFT = '/usr/sbin/nft'
const obstacle = labObstacle() ?? (existsSync(NFT) ? undefined : 'needs nftables')
const inLab = obstacle === undefined ? test : test.skip
const GATE = '198.51.100.1'
const OLD_SERVER = '198.51.100.99'
const SITE = '216.160.83.60'
/** "Operation timed out", for a client that gives up. */
const CURL_TIMED_OUT = 28

type Ended = { readonly code: number | null; readonly out: string }

/** Runs a program on a host of the lab to its end, whatever it ends with. */
async function runOn(lab: NetLab, host: string, command: string, args: readonly string[]): Promise<Ended> {
  const child = spawn('env', [...lab.prefix(host), command, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
  })
  let out = ''
  child.stdout.on('data', chunk => (out += String(chunk)))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out }
}

inLab(
  `an outbound firewall, DNS that leads elsewhere and a packet size: named from both ends, and mended${obstacle === undefined ? '' : ` (${obstacle})`}`,
  async t => {
    const id = `d${randomBytes(3).toString('hex')}`
    const hosts = [
      { name: 'gate', addresses: [GATE] },
      { name: 'old', addresses: [OLD_SERVER] },
      { name: 'site', addresses: [SITE] },
    ]
    const lab = await openLab(id, hosts, { [AGENT_NAME]: GATE })
    t.teardown(() => lab.close())
    const directory = await policyDirectory({
      ...usualPolicy({ primary: 'http://127.0.0.1:8080' }),
      listeners: { direct: { address: `${GATE}:443` } },
      rules: { packs: [] },
      allow: [{ address: GATE, reason: 'the LAN of the gate', owner: 'jo' }],
      limits: { drain: '1s', handshake: '5s' },
      admin: { address: '127.0.0.1:9090' },
    })
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const ca = join(directory, 'ca.pem')
    writeFileSync(ca, await testAuthority())
    const server = lab.spawn('gate', process.execPath, [
      '-e',
      'require("http").createServer((_, answer) => answer.end("220.105")).listen(8080, "127.0.0.1")',
    ])
    t.teardown(() => void server.kill('SIGKILL'))
    const gate = await runGate(directory, ['direct'], lab.prefix('gate'))
    t.teardown(() => gate.signal('SIGKILL'))

    /** The agent at the site; its exit code. It gives up soon only where nothing can come: machines that test are busy. */
    const agent = async (seconds = 60): Promise<number | null> => {
      const url = `https://${AGENT_NAME}/LabTech/Agent.aspx`
      return (
        await runOn(lab, 'site', 'curl', [
          '--silent',
          '--fail',
          '--max-time',
          String(seconds),
          '--cacert',
          ca,
          url,
        ])
      ).code
    }
    const atGate = async (): Promise<Found> => {
      const words = ['diagnose', SITE, '--policy', join(directory, 'policies'), '--json']
      const { code, out } = await runOn(lab, 'gate', join(ROOT, 'bin/portcullis'), words)
      return { ...(JSON.parse(out) as { diagnosis: Omit<Found, 'code'> }).diagnosis, code: code ?? -1 }
    }
    const probe = async (host: string, ...words: readonly string[]): Promise<Ended> =>
      runOn(lab, host, join(ROOT, 'bin/diagnose'), [
        '--probe',
        `https://${AGENT_NAME}`,
        '--path',
        '/LabTech/Agent.aspx',
        '--ca',
        ca,
        '--policy',
        '/nowhere',
        ...words,
      ])
    const lan = join(directory, 'lan.json')
    const inside = await probe('gate', '--lan', '--json')
    t.is(inside.code, 0, inside.out)
    writeFileSync(lan, inside.out)
    const beside = async (): Promise<{ hop: string; where: string; meaning: string }> =>
      (JSON.parse((await probe('site', '--compare', lan, '--json')).out) as { comparison: never }).comparison

    // The outbound firewall of the site knows the old server only.
    const block = `table inet own { chain out { type filter hook output priority 0; tcp dport 443 ip daddr != ${OLD_SERVER} drop; }; }`
    await lab.run('site', NFT, [block])
    t.is(await agent(7), CURL_TIMED_OUT)
    const never = await atGate()
    t.is(never.cause, 'never-arrived', never.sentence)
    t.regex(never.fix?.steps.join('\n') ?? '', /outbound firewall there has the old address hard-coded/)
    const blocked = (await probe('site', '--compare', lan)).out.replaceAll(/ *\n */g, '\n')
    t.regex(blocked, /in the LAN, .* ago +here, now\n/)
    t.regex(
      blocked,
      /port +✓ 198\.51\.100\.1 port 443 in \d+ ms +✗ 198\.51\.100\.1 port 443: no answer in time/,
    )
    t.regex(
      blocked.replaceAll('\n', ' '),
      /✗ The first hop that fails: port\. Here only: the gate listens .* open outbound in the firewall of the failing place\?/,
    )
    await lab.run('site', NFT, ['delete table inet own'])
    t.is(await agent(), 0)

    // The name leads to the old server there.
    const hostsFile = `/etc/netns/${id}-site/hosts`
    writeFileSync(hostsFile, `${OLD_SERVER} ${AGENT_NAME}\n`)
    t.not(await agent(), 0)
    const elsewhere = await beside()
    t.like(elsewhere, { hop: 'port', where: 'here' })
    t.regex(elsewhere.meaning, /The name leads to 198\.51\.100\.99 here and to 198\.51\.100\.1 there/)
    writeFileSync(hostsFile, `${GATE} ${AGENT_NAME}\n`)
    t.is(await agent(), 0)

    // The line of the site carries small packets only, and nobody may say so.
    await lab.run('wan', 'ip', ['link', 'set', 'v-site', 'mtu', '600'])
    await lab.run('wan', NFT, [
      'table inet quiet { chain out { type filter hook output priority 0; ip protocol icmp drop; }; }',
    ])
    t.is(await agent(7), CURL_TIMED_OUT)
    const stalled = await atGate()
    t.is(stalled.cause, 'handshake', stalled.sentence)
    t.regex(
      stalled.sentence,
      /its ClientHello came, the gate answered, and then nothing more came: .*\(MTU\)/,
    )
    t.regex(stalled.fix?.steps.join('\n') ?? '', /ping -f -l 1472 .*ping -f -l 1200 .*lower the MTU/s)
    await lab.run('site', 'ip', ['link', 'set', 'eth0', 'mtu', '600'])
    t.is(await agent(), 0)
    t.true((await atGate()).healthy)
  },
)
