// What a command is: its name, its words for the help page, its options, and its run function.
import type { Writable } from 'node:stream'
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'
import { PortcullisError } from '../policy/error.ts'
import { suggest } from '../config/spelling.ts'
import type { InputStream } from './secrets.ts'
import type { Terminal } from './terminal.ts'

/** Everything of the process that a command may use; tests pass their own. */
export type CommandContext = {
  readonly terminal: Terminal
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Root of the checkout: where policies/, certs/ and geoip/ stand by default. */
  readonly root: string
  readonly nowMs: () => number
  readonly pid: number
  readonly platform: string
  readonly user: string
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean
  readonly execArgv: readonly string[]
  /** Standard input; absent: there is none. */
  readonly input?: InputStream
  /** Standard output as a stream of bytes; absent: there is none. */
  readonly output?: Writable
  readonly memory: () => { readonly rssBytes: number; readonly heapBytes: number }
  /** Calls back on SIGINT/SIGTERM (`stop`) and SIGHUP (`reload`). Returns the remover. */
  readonly onSignal: (listener: (signal: 'stop' | 'reload') => void) => () => void
}

/** Parsed options of a command: what parseArgs gives, narrowed by `text`, `flag`. */
export class CommandArguments {
  readonly #values: Readonly<Record<string, unknown>>
  readonly positionals: readonly string[]

  constructor(values: Readonly<Record<string, unknown>>, positionals: readonly string[]) {
    this.#values = values
    this.positionals = positionals
  }

  /** Value of a text option; undefined when not given. */
  text(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  /** Values of an option that may be repeated. */
  texts(name: string): readonly string[] {
    const value = this.#values[name]
    return Array.isArray(value) ? value.filter(entry => typeof entry === 'string') : []
  }

  /** Whether a switch was given. */
  flag(name: string): boolean {
    return this.#values[name] === true
  }
}

/** One option for the help page and the parser. */
export type CommandOption = {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  readonly multiple?: boolean
  /** Placeholder of the value, for example `<ip>`. */
  readonly value?: string
  readonly help: string
}

/** A command. `run` answers with the exit code. */
export type Command = {
  readonly name: string
  readonly usage: string
  readonly summary: string
  /** Shown by `--help` below the options: examples, one per line. */
  readonly examples: readonly string[]
  readonly options: Readonly<Record<string, CommandOption>>
  readonly run: (args: CommandArguments, context: CommandContext) => Promise<number>
}

/** Options that every command understands. */
export const COMMON_OPTIONS: Readonly<Record<string, CommandOption>> = {
  policy: {
    type: 'string',
    short: 'p',
    value: '<dir>',
    help: 'policy directory (default: policies/ of the checkout)',
  },
  json: { type: 'boolean', help: 'print JSON for a program' },
  'no-color': { type: 'boolean', help: 'no colour, even on a terminal' },
  help: { type: 'boolean', short: 'h', help: 'this page' },
}

/** Parses a command's arguments. @throws PortcullisError `usage` with a suggestion for a misspelt option. */
export function parseCommand(command: Command, argv: readonly string[]): CommandArguments {
  const options = { ...command.options, ...COMMON_OPTIONS }
  const config: ParseArgsOptionsConfig = {}
  for (const [name, option] of Object.entries(options)) {
    config[name] = {
      type: option.type,
      ...(option.short === undefined ? {} : { short: option.short }),
      ...(option.multiple === undefined ? {} : { multiple: option.multiple }),
    }
  }
  for (const word of argv) {
    if (word === '--') break
    const name = /^--([^=]+)/.exec(word)?.[1]
    if (name !== undefined && !(name in config)) {
      const suggestion = suggest(name, Object.keys(config))
      throw usageError(
        `${command.name} has no option --${name}`,
        suggestion === undefined ? `See portcullis ${command.name} --help.` : `Did you mean --${suggestion}?`,
      )
    }
  }
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: config,
      allowPositionals: true,
      strict: true,
    })
    return new CommandArguments(values, positionals)
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split('. ')[0] : String(cause)
    throw usageError(message ?? 'bad arguments', `See portcullis ${command.name} --help.`)
  }
}

/** A mistake in how a command was called. */
export function usageError(message: string, remedy: string): PortcullisError {
  return new PortcullisError(message, { code: 'usage', side: 'configuration', remedy })
}
