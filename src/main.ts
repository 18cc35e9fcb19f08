// Entry point: hands argv, env, streams and signals to the command line. Nothing else reads `process`, except cli/.
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runCommandLine } from './cli/command-line.ts'
import { Terminal } from './cli/terminal.ts'

// A pattern that backtracks too long is finished by V8's linear-time engine instead of holding the event loop.
setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks')

// A reader that has seen enough (`| head`) is no error, and must never end a gate.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

const argv = process.argv.slice(2)
process.exitCode = await runCommandLine(argv, {
  terminal: new Terminal(process.stdout, process.stderr, {
    colour: process.stdout.isTTY && !argv.includes('--no-color') && process.env['NO_COLOR'] === undefined,
  }),
  env: process.env,
  cwd: process.cwd(),
  root: dirname(dirname(fileURLToPath(import.meta.url))),
  nowMs: Date.now,
  pid: process.pid,
  platform: `${process.platform} ${process.arch}, Node ${process.version}`,
  user: userInfo().username,
  isTerminal: process.stdout.isTTY,
  execArgv: process.execArgv,
  // Not opened before a command asks for it: a gate in the background may have none.
  get input() {
    return process.stdin
  },
  output: process.stdout,
  memory: () => {
    const { rss, heapUsed } = process.memoryUsage()
    return { rssBytes: rss, heapBytes: heapUsed }
  },
  onSignal: listener => {
    const stop = (): void => listener('stop')
    const reload = (): void => listener('reload')
    process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', reload)
    return () => {
      process.off('SIGINT', stop).off('SIGTERM', stop).off('SIGHUP', reload)
    }
  },
})
