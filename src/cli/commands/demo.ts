// portcullis demo: a practice RMM server, the gate in front of it, and a few simulated agents; everything on this machine.
import { join } from 'node:path'
import { startPortcullis, type Portcullis } from '../../compose.ts'
import { createFleet, type Fleet } from '../../practice/fleet.ts'
import { startPracticeRmm, type PracticeRmm } from '../../practice/rmm.ts'
import { PortcullisError } from '../../policy/error.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { readFileSync } from 'node:fs'
import type { Command, CommandArguments, CommandContext } from '../command.ts'
import { shellWord } from '../format.ts'
import { commandOptions, requirePolicy } from '../gate-access.ts'
import { readableLines } from '../log-lines.ts'
import { startOptions } from '../start-options.ts'
import { refuseUnsafeRuntime } from './run.ts'

const AGENTS = 20
const OLD_AGENTS_SHARE = 0.1
const CHECK_IN_MS = 10_000
const HOST = 'localhost'

export const demoCommand: Command = {
  name: 'demo',
  usage: 'demo [--once]',
  summary: 'Try everything here: practice RMM server, gate, simulated agents',
  examples: ['portcullis demo', 'portcullis demo --once'],
  options: { once: { type: 'boolean', help: 'one round of check-ins, then stop' } },
  run: async (args, context) => {
    refuseUnsafeRuntime(context.env, context.execArgv)
    const { terminal } = context
    const { snapshot } = requirePolicy(args, context)
    const practice = await startPractice(snapshot)
    try {
      terminal.print(`Practice RMM server on ${practice.url} (a stand-in, not a product)`)
      const portcullis = await startPortcullis(
        startOptions(snapshot.directories.policy, readableLines(context), true, context),
      )
      try {
        await walk(portcullis, args, context)
      } finally {
        await portcullis.stop()
      }
    } finally {
      await practice.stop()
    }
    return 0
  },
}

async function startPractice(snapshot: Snapshot): Promise<PracticeRmm> {
  const origin = [...snapshot.upstreams.values()][0]?.members[0]?.origin
  if (origin === undefined || origin.protocol !== 'http' || !/^(?:127\.|localhost$|::1$)/.test(origin.host)) {
    throw new PortcullisError('the first upstream of this policy is not on this machine', {
      code: 'demo-policy',
      side: 'configuration',
      remedy: 'The demo needs a policy like the shipped one: primary: http://127.0.0.1:9080.',
    })
  }
  try {
    return await startPracticeRmm({ host: origin.host, httpPort: origin.port })
  } catch (cause) {
    throw new PortcullisError(`the practice RMM server cannot listen on ${origin.host}:${origin.port}`, {
      code: 'demo-port',
      side: 'configuration',
      remedy: 'Is another demo running? Stop it, or change the upstream port in the policy.',
      cause,
    })
  }
}

async function walk(portcullis: Portcullis, args: CommandArguments, context: CommandContext): Promise<void> {
  const { terminal } = context
  const port = portcullis.gate.addresses()[0]?.port ?? 0
  const authority = join(portcullis.snapshot().directories.certs, 'development/authority.crt')
  const fleet = createFleet({
    agents: AGENTS,
    seed: 1,
    addresses: `https://${HOST}:${port}`,
    ca: readFileSync(authority, 'utf8'),
    checkInMs: CHECK_IN_MS,
    groups: [
      { name: 'current', share: 1 - OLD_AGENTS_SHARE },
      { name: 'old', share: OLD_AGENTS_SHARE, tls: { min: 'TLSv1', max: 'TLSv1' } },
    ],
  })
  try {
    await fleet.checkInAll()
    tellStory(fleet, port, authority, args, context)
    if (args.flag('once')) return
    fleet.start()
    terminal.print('', 'The agents go on checking in. Stop with Ctrl-C.', '')
    await new Promise<void>(resolve => {
      const remove = context.onSignal(signal => {
        if (signal === 'reload') void portcullis.reload('signal')
        else {
          remove()
          resolve()
        }
      })
    })
  } finally {
    fleet.stop()
  }
}

function tellStory(
  fleet: Fleet,
  port: number,
  authority: string,
  args: CommandArguments,
  { terminal }: CommandContext,
): void {
  const { ok, failed } = fleet.stats()
  const old = fleet.agents.find(agent => agent.group === 'old')?.sourceAddress ?? '127.0.0.1'
  const curl = `curl --cacert ${shellWord(authority)}`
  const policy = commandOptions(args)
  const tries: readonly (readonly [string, string])[] = [
    [`bin/diagnose ${old}${policy}`, 'why one of them is refused, and the fix'],
    [`bin/portcullis status${policy}`, 'what the gate does now'],
    [`bin/portcullis explain 81.2.69.142${policy}`, 'what an address in Great Britain would get'],
    [`${curl} https://${HOST}:${port}/automate`, 'the practice console'],
    [
      `${curl} 'https://${HOST}:${port}/automate?file=../../windows/win.ini'`,
      'an attack, refused; the answer has a reference for bin/diagnose',
    ],
  ]
  terminal.print(
    '',
    `${terminal.tone('good', `✓ ${ok} agents checked in through the gate`)}, ${terminal.tone('bad', `${failed} were refused`)}: they offer only TLS 1.0.`,
    ...(args.flag('once') ? [] : ['', 'Try in another terminal:']),
    ...(args.flag('once')
      ? []
      : tries.flatMap(([command, what]) => [`  ${terminal.tone('dim', `# ${what}`)}`, `  ${command}`])),
  )
}
