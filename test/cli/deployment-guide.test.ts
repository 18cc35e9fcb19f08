// Trap 38: every command line of the deployment guide works in the order in which it stands, on a gate that has seen agents.
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, startBench, startRunningBench } from './support.ts'

/** The words of a simple shell line. */
function wordsOf(line: string): readonly string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(match => match[1] ?? match[2] ?? match[3] ?? '')
}

test('trap 38: the commands of the deployment guide are called rightly and say something', async t => {
  const bench = await startRunningBench(
    t,
    `
geo: { overrides: [{ address: 216.160.0.0/16, country: US, reason: test }] }
sites: { acme: { addresses: [216.160.83.56] } }
deployment: { direct: '127.0.0.1:1', egress: [203.0.113.5] }
`,
  )
  for (let hour = 0; hour < 3; hour++) {
    await bench.ask('216.160.83.56')
    bench.advance(3_600_000)
  }
  const text = readFileSync(join(ROOT, 'docs/deployment.md'), 'utf8')
  const blocks = [...text.matchAll(/^```\w*\n([^]*?)^```/gm)].map(match => match[1] ?? '')
  const inline = [...text.matchAll(/`(bin\/portcullis (?:enroll|cutover|trial|template)[^`]*)`/g)].map(
    match => match[1] ?? '',
  )
  const lines = [...blocks.join('\n').split('\n'), ...inline]
  const commands = lines
    .filter(line => line.startsWith('bin/portcullis '))
    .map(line => wordsOf(line).slice(1))
  t.true(commands.length >= 16, String(commands.length))
  let ran = 0
  for (const words of commands) {
    // These are proven elsewhere: they wait for people, or need a history.
    if (
      ['setup', 'rollback', 'apply', 'run'].includes(words[0] ?? '') ||
      words.join(' ') === 'cutover rehearse'
    )
      continue
    if (words[0] === 'plan')
      cpSync(join(bench.root, 'policies'), join(bench.root, 'candidate'), { recursive: true })
    const { code, out, err } = await bench.cli(words)
    t.true(code === 0 || code === 1, `${words.join(' ')}: ${err}`)
    t.is(err, '', words.join(' '))
    t.not(out, '', words.join(' '))
    ran++
  }
  t.true(ran >= 12, String(ran))
})

test('N7, S9: firewall-plan knows raw streams, heartbeats and the ports of the policy, and each placement alone', async t => {
  const bench = startBench(
    t,
    `
listeners: { https: { address: '127.0.0.1:443' } }
heartbeats: { automate: { address: '0.0.0.0:75', upstream: '10.0.0.5:75' } }
streams: { relay: { address: ['0.0.0.0:8041', '0.0.0.0:8042'], upstream: '10.0.0.5:8041' } }
`,
  )
  const { value } = await bench.json(['firewall-plan'])
  const lines = value['lines'] as readonly Record<'direction' | 'protocol' | 'port' | 'peer', string>[]
  const told = lines.map(({ direction, protocol, port, peer }) => `${direction} ${protocol}/${port} ${peer}`)
  for (const line of [
    'in tcp/8041 any',
    'in tcp/8042 any',
    'out tcp/8041 10.0.0.5',
    'in udp/75 any',
    'out udp/75 10.0.0.5',
  ])
    t.true(told.includes(line), `${line} in ${told.join('; ')}`)
  const dmz = await bench.cli(['firewall-plan', '--placement', 'dmz'])
  t.regex(dmz.out, /outer firewall: allow tcp\/8041 from the internet to the gate/)
  t.false(dmz.out.includes('customer-network'))
  t.regex((await bench.cli(['firewall-plan', '--placement', 'dmzz'])).err, /Did you mean dmz\?/)
})
