// What a gate that runs in the foreground is started with.
import type { StartOptions } from '../compose.ts'
import type { LineSink } from '../journal/line-sink.ts'
import type { CommandContext } from './command.ts'
import { policyLabel } from './gate-access.ts'
import { VERSION } from './version.ts'

/** Options of a gate for this process. */
export function startOptions(
  policyDirectory: string,
  standardLines: LineSink,
  watch: boolean,
  context: CommandContext,
): StartOptions {
  return {
    policyDirectory,
    policyLabel: policyLabel(policyDirectory, context.root),
    version: VERSION,
    platform: context.platform,
    pid: context.pid,
    standardLines,
    clock: context.nowMs,
    memory: context.memory,
    watch,
  }
}
