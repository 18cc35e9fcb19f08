// Starts programs pinned to a core, waits until they serve, and stops them by pid.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** A running program. */
export type Running = { readonly pid: number; readonly stop: () => Promise<void> }

/** What to start. */
export type Start = {
  readonly argv: readonly string[]
  readonly core: number
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly logFile: string
  /** Resolves to true once it serves. */
  readonly ready: () => Promise<boolean>
  readonly readyMs?: number
}

const live = new Set<ChildProcess>()
let watching = false

/** Starts the program. Throws with the end of its log when it dies or does not serve in time. */
export async function startPinned(start: Start): Promise<Running> {
  stopAllAtExit()
  const log = openSync(start.logFile, 'a')
  const child = spawn('taskset', ['-c', String(start.core), ...start.argv], {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...start.env },
    ...(start.cwd === undefined ? {} : { cwd: start.cwd }),
  })
  closeSync(log)
  live.add(child)
  child.once('exit', () => live.delete(child))
  const deadline = Date.now() + (start.readyMs ?? 20_000)
  while (!(await start.ready())) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop(child)
      throw new Error(`${start.argv.join(' ')} does not serve:\n${logTail(start.logFile)}`)
    }
    await delay(100)
  }
  if (child.pid === undefined) throw new Error(`${start.argv[0] ?? ''} did not start`)
  return { pid: child.pid, stop: () => stop(child) }
}

/** First line of what a command prints (stdout, then stderr); undefined when it is not installed. */
export function firstLine(command: string, ...args: readonly string[]): string | undefined {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: 10_000 })
  if (result.error !== undefined) return undefined
  return `${result.stdout}${result.stderr}`.trim().split('\n')[0] ?? ''
}

function stopAllAtExit(): void {
  if (watching) return
  watching = true
  process.once('exit', () => {
    for (const child of live) child.kill('SIGTERM')
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await exited
  clearTimeout(timer)
}

function logTail(file: string): string {
  return readFileSync(file, 'utf8').slice(-2_000)
}
