// portcullis run: the gate in the foreground, until a signal ends it.
import { unsafeRuntime } from '../../edge/start-check.ts'
import { PortcullisError } from '../../policy/error.ts'
import { startPortcullis } from '../../compose.ts'
import type { Command } from '../command.ts'
import { policyDirectory } from '../gate-access.ts'
import { standardLines } from '../log-lines.ts'
import { startOptions } from '../start-options.ts'

export const runCommand: Command = {
  name: 'run',
  usage: 'run [--policy <dir>]',
  summary: 'Run the gate until it is told to stop',
  examples: ['portcullis run', 'portcullis run --policy /etc/portcullis'],
  options: { 'no-watch': { type: 'boolean', help: 'do not take up changed policy files by themselves' } },
  run: async (args, context) => {
    refuseUnsafeRuntime(context.env, context.execArgv)
    const portcullis = await startPortcullis(
      startOptions(policyDirectory(args, context), standardLines(context), !args.flag('no-watch'), context),
    )
    await new Promise<void>(resolve => {
      const remove = context.onSignal(signal => {
        if (signal === 'reload') void portcullis.reload('signal')
        else {
          remove()
          resolve()
        }
      })
    })
    await portcullis.stop()
    return 0
  },
}

/** Stops a start under settings that would expose or weaken every connection. @throws PortcullisError `runtime-unsafe` */
export function refuseUnsafeRuntime(
  env: Readonly<Record<string, string | undefined>>,
  execArgv: readonly string[],
): void {
  const unsafe = unsafeRuntime(env['NODE_OPTIONS'], execArgv)
  if (unsafe === undefined) return
  throw new PortcullisError(unsafe.problem, {
    code: unsafe.code,
    side: 'configuration',
    remedy: unsafe.remedy,
  })
}
