// Entry point of bin/connector: check or run connector.yaml. Beside main.ts and cli/ the only place that touches `process`.
import { randomBytes } from 'node:crypto'
import { relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { loadConnectorFile, type ConnectorResult } from './config/connector-file.ts'
import { renderProblem } from './config/problems.ts'
import { suggestion } from './config/spelling.ts'
import { runConnector } from './connector-parts.ts'
import { openOwnIdentity } from './tunnel/connector/own-identity.ts'
import { levelOf, sentenceOf, type ConnectorEvent } from './tunnel/connector/events.ts'
import { VERSION } from './cli/version.ts'

const USAGE = `connector: carries local services to a Portcullis gate by dialling out to it

  bin/connector check    [--config FILE] [--json]   say whether the file is right
  bin/connector run      [--config FILE] [--json]   attach, and stay attached
  bin/connector identity [--config FILE] [--json]   show the identity, made now if there is none

  --config FILE   connector.yaml of this directory when left out
  --json          one JSON object per line, for programs

The file is described in docs/connector.md.
`

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

const COMMANDS = ['check', 'run', 'identity'] as const
type Command = (typeof COMMANDS)[number]

process.exitCode = main(process.argv.slice(2))

function main(argv: readonly string[]): number {
  const words = parse(argv)
  if (typeof words === 'string') {
    process.stderr.write(`connector: ${words}\nTry: bin/connector --help\n`)
    return 2
  }
  const { command, config, json } = words
  if (command === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const path = resolve(config)
  const label = relative(process.cwd(), path)
  const result = loadConnectorFile(path, label.startsWith('..') ? path : label, process.env)
  if (!result.ok) return sayProblems(result, json)
  if (command === 'check') return sayGood(result, label, json)
  if (command === 'identity') return sayIdentity(result.connector.identityFile, json)
  run(result.connector, json)
  return 0
}

function run(loaded: Extract<ConnectorResult, { ok: true }>['connector'], json: boolean): void {
  const report = (entry: ConnectorEvent): void => {
    const time = new Date().toISOString()
    const level = levelOf(entry)
    const line = json
      ? JSON.stringify({ time, level, ...entry, message: sentenceOf(entry) })
      : `${time.slice(0, 19).replace('T', ' ')}  ${level === 'warning' ? '!' : ' '} ${sentenceOf(entry)}`
    process.stdout.write(`${line}\n`)
  }
  const connector = runConnector({
    loaded,
    version: VERSION,
    instance: randomBytes(18).toString('base64url'),
    report,
    random: Math.random,
  })
  // The timers of lines do not keep the process: a connector with nothing to wait for would end by itself.
  const alive = setInterval(() => undefined, 60_000)
  const stop = (): void => {
    clearInterval(alive)
    connector.stop()
    report({ event: 'connector.stopped' })
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
}

type Words = {
  readonly command: Command | 'help'
  readonly config: string
  readonly json: boolean
}

function parse(argv: readonly string[]): Words | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        config: { type: 'string', default: 'connector.yaml' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false, short: 'h' },
      },
    })
    const [command, more] = positionals
    const { config, json } = values
    if (values.help || command === undefined || command === 'help') return { command: 'help', config, json }
    if (more !== undefined) return `${JSON.stringify(more)} is one word too many`
    const known = COMMANDS.find(name => name === command)
    if (known === undefined) {
      const hint = suggestion(command, COMMANDS)
      return `there is no command ${JSON.stringify(command)}${hint === null ? '' : `; ${hint}`}`
    }
    return { command: known, config, json }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Making it before the first run lets the gate hold on to it from the first attach. */
function sayIdentity(file: string, json: boolean): number {
  const own = openOwnIdentity(file)
  if (own.held === null) {
    if (json) process.stdout.write(`${JSON.stringify({ ok: false, file, problem: own.problem })}\n`)
    else process.stderr.write(`connector: the identity file ${file}: ${own.problem}\n`)
    return 1
  }
  const { held, made } = own
  if (json) process.stdout.write(`${JSON.stringify({ ok: true, identity: held.text, file, made })}\n`)
  else
    process.stdout.write(
      `${held.text}\n  ${made ? 'made just now' : 'kept'} in ${file}\n  At the gate: gateway: { connectors: { <name>: { key: <key>, identity: ${held.text} } } }\n`,
    )
  return 0
}

function sayProblems({ problems }: Extract<ConnectorResult, { ok: false }>, json: boolean): number {
  if (json) process.stdout.write(`${JSON.stringify({ ok: false, problems })}\n`)
  else process.stderr.write(`${problems.map(renderProblem).join('\n\n')}\n`)
  return 1
}

function sayGood(result: Extract<ConnectorResult, { ok: true }>, label: string, json: boolean): number {
  const { name, gates, tcp, udp, use } = result.connector
  const services = [
    ...tcp.map(entry => `${entry.name} -> ${entry.tls === null ? 'tcp' : 'tls'} ${entry.host}:${entry.port}`),
    ...udp.map(entry => `${entry.name} -> udp ${entry.host}:${entry.port}`),
  ]
  if (json) {
    const shown = gates.map(({ host, port }) => ({ host, port }))
    process.stdout.write(`${JSON.stringify({ ok: true, name, use, gates: shown, services })}\n`)
    return 0
  }
  const lines = [
    `${label} is right: connector ${name}`,
    ...gates.map(({ host, port }, index) => `  gate     ${host}:${port}${trustOf(gates[index])}`),
    ...(gates.length > 1
      ? [`  use      ${use === 'all' ? 'all gates at once' : 'the first gate that can be reached'}`]
      : []),
    ...services.map(service => `  service  ${service}`),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
  return 0
}

function trustOf(
  gate: { readonly pinsSha256: readonly string[]; readonly caPem: string | null } | undefined,
): string {
  if (gate === undefined) return ''
  if (gate.pinsSha256.length > 0) return ', trusted by pin'
  return gate.caPem === null ? ', trusted by the public authorities' : ', trusted by its own authority'
}
