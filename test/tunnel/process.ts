// The real process `bin/connector run` with a file of its own, and its JSON lines to wait for.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { stringify } from 'yaml'

const ROOT = resolve(import.meta.dirname, '../..')

/** A line of its log. */
export type ConnectorLine = { readonly event: string; readonly message: string; readonly level: string }

/** A running connector. */
export type ConnectorProcess = AsyncDisposable & {
  readonly pid: number
  readonly lines: readonly ConnectorLine[]
  /** Waits for the `count`th line of an event. */
  readonly next: (event: string, count?: number) => Promise<ConnectorLine>
  readonly stop: () => Promise<number | null>
}

/** Writes connector.yaml, the key and other files into a directory of its own. Returns the path of connector.yaml. */
export function connectorDirectory(
  settings: Readonly<Record<string, unknown>>,
  key: string,
  files: Readonly<Record<string, string>> = {},
): string {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-connector-'))
  for (const [name, text] of Object.entries({ 'gateway.key': `${key}\n`, ...files })) {
    writeFileSync(join(directory, name), text)
    chmodSync(join(directory, name), 0o600)
  }
  const whole = { version: 1, name: 'rmm', key: { file: 'gateway.key' }, ...settings }
  writeFileSync(join(directory, 'connector.yaml'), stringify(whole))
  return join(directory, 'connector.yaml')
}

/**
 * Starts it.
 * @param prefix command line that runs it elsewhere, for example in a network namespace
 */
export function startConnectorProcess(file: string, prefix: readonly string[] = []): ConnectorProcess {
  const args = [...prefix, join(ROOT, 'bin/connector'), 'run', '--config', file, '--json']
  const child = spawn('env', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
  })
  const lines: ConnectorLine[] = []
  const waiting = new Set<() => void>()
  let complaints = ''
  let isOver = false
  createInterface({ input: child.stdout }).on('line', line => {
    lines.push(JSON.parse(line) as ConnectorLine)
    for (const look of waiting) look()
  })
  child.stderr.on('data', chunk => (complaints += String(chunk)))
  const ended = (once(child, 'close') as Promise<[number | null]>).then(([code]) => {
    isOver = true
    for (const look of waiting) look()
    return code
  })
  return {
    pid: child.pid ?? 0,
    lines,
    next: async (event, count = 1) => {
      for (;;) {
        const found = lines.filter(line => line.event === event)[count - 1]
        if (found !== undefined) return found
        if (isOver) throw new Error(`the connector ended: ${complaints}\n${JSON.stringify(lines)}`)
        await new Promise<void>(done => {
          const look = (): void => {
            waiting.delete(look)
            done()
          }
          waiting.add(look)
        })
      }
    },
    stop: () => {
      child.kill('SIGTERM')
      return ended
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await ended
      rmSync(resolve(file, '..'), { recursive: true, force: true })
    },
  }
}
