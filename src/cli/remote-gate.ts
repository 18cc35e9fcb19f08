// Commands that work from another machine: which gate, how it proves itself, through which proxy, and who asks.
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { createOperatorClient, type OperatorClient } from '../tunnel/operator/operator-client.ts'
import { outcomeOf } from '../tunnel/operator/service-way.ts'
import type { GateAddress, ProxyAddress } from '../tunnel/connector/dial.ts'
import { usageError, type CommandArguments, type CommandContext, type CommandOption } from './command.ts'
import { counted } from './format.ts'
import { SecretReader } from './secrets.ts'
import { safeText } from './shown-text.ts'

/** Options of every command that can ask a gate from another machine. */
export const REMOTE_OPTIONS: Readonly<Record<string, CommandOption>> = {
  gate: {
    type: 'string',
    multiple: true,
    value: '<https://host>',
    help: 'the gate, from another machine (or PORTCULLIS_GATE); with a standby repeated, the primary first',
  },
  operator: { type: 'string', value: '<name>', help: 'who logs in (or PORTCULLIS_OPERATOR)' },
  'password-file': {
    type: 'string',
    value: '<file>',
    help: 'password of the operator, in a file of mode 600 (or PORTCULLIS_PASSWORD, or asked for)',
  },
  'key-file': {
    type: 'string',
    value: '<file>',
    help: 'gateway key, in a file of mode 600 (or PORTCULLIS_KEY, or asked for)',
  },
  ca: { type: 'string', value: '<file>', help: 'PEM of the authority of the gate, when it is a private one' },
  pin: {
    type: 'string',
    multiple: true,
    value: '<sha256/...>',
    help: 'key of the gate, whatever authority signed it; may be repeated, every gate must have one of them',
  },
  proxy: {
    type: 'string',
    value: '<http://host:port>',
    help: 'HTTP proxy on the way out (default: HTTPS_PROXY; "none" for no proxy)',
  },
  address: {
    type: 'string',
    multiple: true,
    value: '<ip>',
    help: 'connect to this address instead of looking the name up; one for each --gate, in order',
  },
}

/** Whether the command is meant for a gate elsewhere. */
export function isRemote(args: CommandArguments, context: CommandContext): boolean {
  return gateTexts(args, context).length > 0
}

/**
 * The gates that the options name, the most wanted first, and what they need to know of who asks.
 * @throws PortcullisError `usage`, `secret-file`
 */
export async function remoteOperators(
  args: CommandArguments,
  context: CommandContext,
): Promise<readonly OperatorClient[]> {
  const gates = gatesOf(args, context)
  const proxy = proxyOf(args, context)
  const operator = args.text('operator') ?? context.env['PORTCULLIS_OPERATOR']
  if (operator === undefined || operator === '')
    throw usageError('who logs in?', 'Add --operator <name>, or set PORTCULLIS_OPERATOR.')
  const secrets = new SecretReader(context)
  const password = await secrets.read({
    what: `Password of ${operator}`,
    variable: 'PORTCULLIS_PASSWORD',
    file: args.text('password-file'),
  })
  const key = await secrets.read({
    what: 'Gateway key',
    variable: 'PORTCULLIS_KEY',
    file: args.text('key-file'),
  })
  return gates.map(gate =>
    createOperatorClient({
      gate,
      proxy,
      credentials: { operator, password, key },
      monotonicMs: () => performance.now(),
      ...(gates.length > 1 ? { dialMs: NEXT_GATE_MS } : {}),
    }),
  )
}

/** When there is another gate, one that drops what it is sent holds nobody up for longer. */
const NEXT_GATE_MS = 4_000

/** Asks the first gate that answers. @throws PortcullisError */
export async function askGates(
  args: CommandArguments,
  context: CommandContext,
  what: 'clients' | 'sessions',
): Promise<unknown> {
  const operators = await remoteOperators(args, context)
  for (const [index, operator] of operators.entries()) {
    try {
      return await operator.ask(what)
    } catch (error) {
      if (outcomeOf(error) === null || index === operators.length - 1) throw error
      const problem = error instanceof Error ? error.message : String(error)
      context.terminal.complain(
        `portcullis: ${safeText(problem)}. Asking ${operators[index + 1]?.place ?? ''}.`,
      )
    }
  }
  throw usageError('which gate?', 'Add --gate https://host, or set PORTCULLIS_GATE.')
}

/** The variable may hold several, with blanks between them. */
function gateTexts(args: CommandArguments, { env }: CommandContext): readonly string[] {
  const given = args.texts('gate')
  const texts = given.length > 0 ? given : (env['PORTCULLIS_GATE'] ?? '').split(/[\s,]+/)
  return texts.filter(text => text !== '')
}

function gatesOf(args: CommandArguments, context: CommandContext): readonly GateAddress[] {
  const texts = gateTexts(args, context)
  if (texts.length === 0) throw usageError('which gate?', 'Add --gate https://host, or set PORTCULLIS_GATE.')
  if (texts.length > MAX_GATES)
    throw usageError(`${texts.length} gates are too many`, `Name at most ${MAX_GATES}, the primary first.`)
  const addresses = args.texts('address')
  if (addresses.length > 0 && addresses.length !== texts.length)
    throw usageError(
      `there are ${counted(texts.length, 'gate')}, and --address is given ${counted(addresses.length, 'time')}`,
      'Give every --gate an --address, in the same order, or none.',
    )
  const gates = texts.map((text, index) => gateOf(text, addresses[index], args, context))
  const twin = gates.find((gate, index) =>
    gates
      .slice(0, index)
      .some(other => other.host === gate.host && other.port === gate.port && other.address === gate.address),
  )
  if (twin !== undefined)
    throw usageError(`${twin.host} is named twice`, 'Name the primary first, then the standby.')
  return gates
}

const MAX_GATES = 8

function gateOf(
  text: string,
  address: string | undefined,
  args: CommandArguments,
  context: CommandContext,
): GateAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:' || url.pathname !== '/' || url.search !== '' || url.username !== '')
    throw usageError(`"${text}" is not the address of a gate`, 'Write https://host or https://host:port.')
  if (address !== undefined && isIP(address) === 0)
    throw usageError(`"${address}" is not an IP address`, 'For example --address 198.51.100.7')
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 443 : Number(url.port),
    address: address ?? null,
    pinsSha256: args.texts('pin').map(pinOf),
    caPem: authorityOf(args.text('ca'), context),
  }
}

function pinOf(text: string): string {
  // curl writes two slashes; one of them may as well be the first character of the hash.
  const pin = /^(?:sha256\/{1,2})?([A-Za-z0-9+/]{43}=)$/.exec(text)?.[1]
  if (pin !== undefined) return pin
  throw usageError(
    `"${text}" is not a pin`,
    'A pin is sha256/ and the base64 of the SHA-256 of a public key; the message about an untrusted gate shows it.',
  )
}

function authorityOf(file: string | undefined, { cwd }: CommandContext): string | null {
  if (file === undefined) return null
  try {
    const pem = readFileSync(resolve(cwd, file), 'utf8')
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem
  } catch (cause) {
    throw usageError(
      `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      'Name the PEM file of the authority that signed the certificate of the gate.',
    )
  }
  throw usageError(
    `${file} holds no certificate`,
    'Name the PEM file of the authority that signed the certificate of the gate.',
  )
}

function proxyOf(args: CommandArguments, { env }: CommandContext): ProxyAddress | null {
  const given = args.text('proxy')
  const text = given ?? env['HTTPS_PROXY'] ?? env['https_proxy'] ?? ''
  if (text === '' || text === 'none') return null
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'http:' || url.hostname === '')
    throw usageError(
      // Never repeated: it may hold a password.
      given === undefined
        ? 'HTTPS_PROXY is not the address of a proxy'
        : '--proxy is not the address of a proxy',
      'Write http://host:port.',
    )
  if (given !== undefined && url.password !== '')
    throw usageError(
      'a password on the command line could be read by every user of this machine',
      'Put the proxy with its password into HTTPS_PROXY.',
    )
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 80 : Number(url.port),
    user: url.username === '' ? null : decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
  }
}
