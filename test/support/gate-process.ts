// The real process `bin/portcullis run` on a policy directory: its log lines, its signals and how it ends.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startPracticeRmm, type PracticeRmm } from '../../src/practice/rmm.ts'
import { testAuthority } from './certificates.ts'
import { LogLines, policyDirectory, ROOT, usualPolicy, writePolicy, type PolicyParts } from './whole-gate.ts'

/** How a process ended. */
export type Ended = { readonly code: number | null; readonly signal: string | null }

/** A process on a policy directory. */
export type RunningGate = {
  readonly lines: LogLines
  readonly pid: number
  /** Ports of its listeners. */
  readonly ports: Readonly<Record<string, number>>
  readonly signal: (name: 'SIGHUP' | 'SIGTERM' | 'SIGINT' | 'SIGKILL') => void
  readonly ended: Promise<Ended>
  /** What it wrote to standard error so far. */
  readonly complaints: () => string
}

/** A running gate process with a practice RMM behind it. */
export type GateProcess = AsyncDisposable & {
  readonly lines: LogLines
  readonly directory: string
  readonly policy: PolicyParts
  readonly rmm: PracticeRmm
  readonly ca: string
  readonly pid: number
  readonly port: number
  readonly directPort: number
  readonly write: (policy: PolicyParts | string) => void
  readonly signal: (name: 'SIGHUP' | 'SIGTERM' | 'SIGINT' | 'SIGKILL') => void
  readonly ended: Promise<Ended>
  /** What it wrote to standard error so far. */
  readonly complaints: () => string
}

/** Runs a command of the command line to its end. */
export async function runPortcullis(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended & { readonly stdout: string; readonly stderr: string }> {
  const child = spawn(join(ROOT, 'bin/portcullis'), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => (stdout += String(chunk)))
  child.stderr.on('data', chunk => (stderr += String(chunk)))
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return { code, signal, stdout, stderr }
}

/**
 * Starts a process on a directory as `policyDirectory` makes it, and waits until its listeners are open.
 * @param prefix command line that runs it elsewhere, for example in a network namespace
 */
export async function runGate(
  directory: string,
  listeners: readonly string[] = ['https', 'direct'],
  prefix: readonly string[] = [],
): Promise<RunningGate> {
  const words = [...prefix, join(ROOT, 'bin/portcullis'), 'run', '--no-watch', '--policy']
  const child = spawn('env', [...words, join(directory, 'policies')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
  })
  const lines = new LogLines()
  let complaints = ''
  createInterface({ input: child.stdout }).on('line', line => lines.take(line))
  child.stderr.on('data', chunk => (complaints += String(chunk)))
  const ended = (once(child, 'close') as Promise<[number | null, string | null]>).then(([code, signal]) => ({
    code,
    signal,
  }))
  const opened = await Promise.race([
    Promise.all(listeners.map(id => lines.next('listener.opened', entry => entry.listener === id))),
    ended,
  ])
  if (!Array.isArray(opened)) throw new Error(`the gate ended with ${opened.code}: ${complaints}`)
  return {
    lines,
    pid: child.pid ?? 0,
    ports: Object.fromEntries(opened.map(({ listener, port }) => [listener, port])),
    signal: name => void child.kill(name),
    ended,
    complaints: () => complaints,
  }
}

/** Starts the process and waits until it listens. `prepare` may change its directory before. */
export async function startGateProcess(
  parts: PolicyParts = {},
  prepare: (directory: string) => Promise<void> = () => Promise.resolve(),
): Promise<GateProcess> {
  const rmm = await startPracticeRmm()
  const policy = { ...usualPolicy({ primary: rmm.url }), ...parts }
  const directory = await policyDirectory(policy)
  await prepare(directory)
  const gate = await runGate(directory)
  return {
    ...gate,
    directory,
    policy,
    rmm,
    ca: await testAuthority(),
    port: gate.ports['https'] ?? 0,
    directPort: gate.ports['direct'] ?? 0,
    write: next => writePolicy(directory, next),
    [Symbol.asyncDispose]: async () => {
      gate.signal('SIGKILL')
      await gate.ended
      await rmm.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
