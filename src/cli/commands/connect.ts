// portcullis connect: a local port, or standard streams, joined to a service of a client through the gate.
import { isIP } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { PortcullisError } from '../../policy/error.ts'
import { joinStreams, openLocalPort } from '../../tunnel/operator/local-port.ts'
import { createServiceWay, type ServiceWay } from '../../tunnel/operator/service-way.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { REMOTE_OPTIONS, remoteOperators } from '../remote-gate.ts'
import { safeText } from '../shown-text.ts'

export const connectCommand: Command = {
  name: 'connect',
  usage: 'connect <client>/<service> --local <port> | connect <client>/<service> --stdio',
  summary: 'Open a local port to a service of a client, through the gate',
  examples: [
    'portcullis connect PC-17/rdp --local 13389 --gate https://rmm.example.com --operator alice',
    'portcullis connect PC-17/rdp --local 13389 --gate https://gate.example.com --gate https://standby.example.com --operator alice',
    'ssh -o ProxyCommand="portcullis connect PC-17/ssh --stdio" jo@PC-17',
  ],
  options: {
    local: {
      type: 'string',
      value: '<port>',
      help: 'port on this machine, on loopback only; 0: any that is free; [::1]:13389 for IPv6',
    },
    stdio: {
      type: 'boolean',
      help: 'one connection over standard input and output, for ProxyCommand of ssh',
    },
    ...REMOTE_OPTIONS,
  },
  run: async (args, context) => {
    const { client, service } = targetOf(args)
    const local = args.text('local')
    if (args.flag('stdio') === (local !== undefined))
      throw usageError(
        'where should the service appear?',
        `Either a local port (connect ${client}/${service} --local 13389) or --stdio.`,
      )
    if (local !== undefined) return listen(client, service, localOf(local), args, context)
    if (args.flag('json')) throw usageError('--stdio carries the service itself', 'Leave --json out.')
    return carry(client, service, args, context)
  },
}

function targetOf(args: CommandArguments): { readonly client: string; readonly service: string } {
  const [target = '', more] = args.positionals
  const match = /^([^/]+)\/([^/]+)$/.exec(target)
  const [, client, service] = match ?? []
  if (client !== undefined && service !== undefined && more === undefined) return { client, service }
  throw usageError(
    target === '' ? 'connect needs a client and a service' : `"${target}" is not a client and a service`,
    'Write <client>/<service>, for example PC-17/rdp; `portcullis clients` lists them.',
  )
}

function localOf(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:(127\.0\.0\.1|localhost|\[::1\]):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[2] ?? Number.NaN)
  if (match !== null && port <= 65_535) return { host: match[1] === '[::1]' ? '::1' : '127.0.0.1', port }
  const host = /^\[?([0-9a-f:.]+?)\]?:\d+$/i.exec(text)?.[1] ?? ''
  throw isIP(host) === 0
    ? usageError(`"${text}" is not a local port`, 'Write a port from 0 to 65535, for example --local 13389.')
    : usageError(
        `${host} is not loopback`,
        'The port opens on this machine only: others on its network must not reach the client through it.',
      )
}

async function listen(
  client: string,
  service: string,
  local: { readonly host: string; readonly port: number },
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  const way = await wayTo(client, service, args, context)
  // Wrong names, passwords and keys show now, not when the first program connects. The service itself may be down meanwhile.
  await begin(way)
  const port = await open(way, local, terminal.complain.bind(terminal))
  if (args.flag('json')) terminal.json({ client, service, local: { host: local.host, port: port.port } })
  else {
    const host = local.host === '::1' ? '[::1]' : local.host
    terminal.print(
      `${terminal.tone('good', '✓')} ${client}/${service} is at ${host}:${port.port} on this machine, for every program of it. Ctrl+C ends it.`,
    )
  }
  await new Promise<void>(resolve => {
    const remove = context.onSignal(signal => {
      if (signal !== 'stop') return
      remove()
      resolve()
    })
  })
  port.close()
  way.close()
  return 0
}

async function wayTo(
  client: string,
  service: string,
  args: CommandArguments,
  context: CommandContext,
): Promise<ServiceWay> {
  const operators = await remoteOperators(args, context)
  const say = (text: string): void => context.terminal.complain(`portcullis: ${text}`)
  return createServiceWay(operators, client, service, {
    nowMs: () => performance.now(),
    wait: ms => wait(ms),
    every,
    lost: why => say(`the session has ended: ${safeText(why)}. The next connection begins a new one.`),
    left: (gate, why) =>
      say(`${gate} carries no new connections: ${safeText(why).replace(/\.$/, '')}. The next gate is asked.`),
    moved: gate => say(`new connections go through ${gate} now; those in progress stay where they are.`),
  })
}

function every(ms: number, tick: () => void): () => void {
  const timer = setInterval(tick, ms)
  return () => clearInterval(timer)
}

async function begin(way: ServiceWay): Promise<void> {
  try {
    await way.prepare()
  } catch (error) {
    way.close()
    throw error
  }
}

async function open(
  way: ServiceWay,
  { host, port }: { readonly host: string; readonly port: number },
  complain: (...lines: readonly string[]) => void,
): ReturnType<typeof openLocalPort> {
  const failed = (error: unknown): void => {
    const remedy = error instanceof PortcullisError ? [`  ${error.remedy}`] : []
    complain(`portcullis: ${safeText(error instanceof Error ? error.message : String(error))}`, ...remedy)
  }
  try {
    return await openLocalPort(way, host, port, failed)
  } catch (cause) {
    way.close()
    throw new PortcullisError(
      `port ${port} of this machine cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        code: 'local-port',
        side: 'configuration',
        remedy: 'Choose another one, or 0 for any that is free.',
        cause,
      },
    )
  }
}

async function carry(
  client: string,
  service: string,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { input, output, env } = context
  if (input === undefined || output === undefined)
    throw usageError('there are no standard streams', 'Use --local <port>.')
  const piped = (name: string, variable: string): boolean =>
    args.text(name) !== undefined || (env[variable] ?? '') !== ''
  if (!piped('password-file', 'PORTCULLIS_PASSWORD') || !piped('key-file', 'PORTCULLIS_KEY'))
    throw usageError(
      'standard input belongs to the service: password and key cannot be asked for',
      'Name files with --password-file and --key-file, or set PORTCULLIS_PASSWORD and PORTCULLIS_KEY.',
    )
  const way = await wayTo(client, service, args, context)
  try {
    return (await joinStreams(way, input, output)) ? 0 : 1
  } finally {
    way.close()
  }
}
