// The part of invitation-network.test.ts that runs on the gate's host: a gate, its command line, and real programs on other hosts.
// Called with the command line that runs something on the host of a PC and on that of a helper; prints what it saw as JSON.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startGate, startRunningBench, type Json, type Owner } from '../cli/support.ts'

const GATE = '198.51.100.1'
const POLICY = `
invitations:
  public: ${GATE}
  address: ${GATE}:51000-51003
  targets: [10.0.0.0/8]
sites:
  helpers: { name: Helpers, addresses: [216.160.83.60] }
  others: { name: Others, addresses: [216.160.83.61] }
limits: { drain: 100ms }
`

const [, , pcWords = '', helperWords = ''] = process.argv
const onPc = pcWords.split(' ')
const onHelper = helperWords.split(' ')
const after: (() => unknown)[] = []
const t: Owner = { teardown: work => after.unshift(work) }

function start(words: readonly string[]): ChildProcess {
  const [program = '', ...args] = words
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin?.on('error', () => undefined)
  t.teardown(() => void child.kill('SIGKILL'))
  return child
}

/** A program of the helper that is connected to a public port. */
function helper(kind: 'TCP' | 'UDP', port: number): ChildProcess {
  return start([...onHelper, 'socat', '-T', '60', '-', `${kind}:${GATE}:${port}`])
}

async function says({ stdin, stdout }: ChildProcess, text: string): Promise<string> {
  stdin?.write(`${text}\n`)
  if (stdout === null) return ''
  const [data] = (await once(stdout, 'data')) as [Buffer]
  return data.toString().trim()
}

/** Resolves when its connection is gone. */
async function ended(child: ChildProcess): Promise<true> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return true
}

/** What the PCs answer: its address before each line. */
async function startPc(address: string): Promise<void> {
  const answer = `EXEC:sed -u s/^/${address}-/`
  start([...onPc, 'socat', `TCP-LISTEN:3389,bind=${address},fork,reuseaddr`, answer])
  start([...onPc, 'socat', `UDP-RECVFROM:3389,bind=${address},fork,reuseaddr`, answer])
  const listens = async (words: string): Promise<boolean> => {
    const { stdout } = start([...onPc, 'ss', ...words.split(' ')])
    let text = ''
    for await (const chunk of stdout ?? []) text += String(chunk)
    return text.includes(`${address}:3389`)
  }
  while (!(await listens('-ltnH')) || !(await listens('-lunH'))) await new Promise(setImmediate)
}

const PCS = ['10.77.0.5', '10.77.0.6'] as const
const saw: Record<string, unknown> = {}
try {
  const bench = await startRunningBench(t, POLICY)
  await Promise.all(PCS.map(startPc))
  let count = 0
  const invite = async (address: string, ...more: readonly string[]) => {
    const file = join(bench.root, `invitation-${++count}`)
    writeFileSync(file, `<U RCTICKET="65538,1,${address}:3389,*,x" RCTICKETENCRYPTED="0" />`)
    return await bench.cli(['rewrite-invitation', file, ...more])
  }
  const askBoth = async (kind: 'TCP' | 'UDP') => {
    const both = [helper(kind, 51_000), helper(kind, 51_001)]
    return { both, said: await Promise.all(both.map(child => says(child, 'help'))) }
  }

  saw['own'] = (await invite('10.77.0.1')).err
  for (const address of PCS) await invite(address)
  const tcp = await askBoth('TCP')
  saw['tcp'] = tcp.said
  saw['udp'] = (await askBoth('UDP')).said
  await invite(PCS[0], '--from', 'others')
  saw['elsewhere'] = await ended(helper('TCP', 51_002))

  const cut = Promise.all(tcp.both.map(ended))
  await bench.portcullis.stop()
  saw['cutByStop'] = await cut
  await startGate(t, bench)
  const back = await askBoth('TCP')
  saw['tcpAfterRestart'] = back.said
  saw['udpAfterRestart'] = (await askBoth('UDP')).said

  await bench.cli(['invitations', 'end', '51000'])
  saw['cutByEnd'] = await ended(back.both[0] as ChildProcess)
  saw['stillOpen'] = await says(back.both[1] as ChildProcess, 'go on')
  bench.advance(2 * 3_600_000)
  saw['cutByTime'] = await ended(back.both[1] as ChildProcess)
  saw['closed'] = await ended(helper('TCP', 51_001))
  const events = (await bench.json(['events', '--name', 'invitation.expired']))
    .value as unknown as readonly Json[]
  saw['expired'] = events.map(({ fields }) => {
    const { port, cut: wasCut } = fields as Json
    return [port, wasCut]
  })
  const { value } = await bench.json(['sites'])
  saw['sites'] = (value as unknown as readonly Json[]).map(({ id, passed, refused }) => [id, passed, refused])
} finally {
  for (const work of after) await work()
}
process.stdout.write(`${JSON.stringify(saw)}\n`)
