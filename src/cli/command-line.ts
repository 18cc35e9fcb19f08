// Finds the command, parses its options, runs it, and turns errors into words with a next step.
import { PortcullisError } from '../policy/error.ts'
import { COMMON_OPTIONS, parseCommand, type Command, type CommandContext } from './command.ts'
import { COMMAND_GROUPS, COMMANDS } from './commands.ts'
import { suggest } from '../config/spelling.ts'
import type { Terminal } from './terminal.ts'
import { VERSION } from './version.ts'

/** Runs one command line. @returns the exit code: 0 done, 1 refused or failed, 2 called wrongly */
export async function runCommandLine(argv: readonly string[], context: CommandContext): Promise<number> {
  const [word, ...rest] = argv
  const { terminal } = context
  if (word === undefined || word === 'help' || word === '--help' || word === '-h') {
    const [topic] = rest
    const about = COMMANDS.find(entry => entry.name === topic)
    if (topic !== undefined && about === undefined) return complainOfCommand(topic, 'help ', terminal)
    terminal.print(about === undefined ? overview(terminal) : commandHelp(about, terminal))
    return word === undefined ? 2 : 0
  }
  if (word === 'version' || word === '--version' || word === '-v') {
    terminal.print(`Portcullis ${VERSION}`)
    return 0
  }
  const command = COMMANDS.find(entry => entry.name === word)
  if (command === undefined) return complainOfCommand(word, '', terminal)
  try {
    const args = parseCommand(command, rest)
    if (args.flag('help')) {
      terminal.print(commandHelp(command, terminal))
      return 0
    }
    return await command.run(args, context)
  } catch (error) {
    if (!(error instanceof PortcullisError)) throw error
    terminal.complain(`${terminal.tone('bad', 'portcullis:')} ${error.message}`, `  ${error.remedy}`)
    return error.code === 'usage' ? 2 : 1
  }
}

function complainOfCommand(word: string, before: string, terminal: Terminal): number {
  const suggestion = suggest(
    word,
    COMMANDS.map(entry => entry.name),
  )
  terminal.complain(
    `portcullis: there is no command "${word}".`,
    suggestion === undefined ? 'See: portcullis help' : `Did you mean: portcullis ${before}${suggestion}?`,
  )
  return 2
}

function overview(terminal: Terminal): string {
  const nameLength = Math.max(...COMMANDS.map(({ name }) => name.length))
  const groups = COMMAND_GROUPS.flatMap(({ title, commands }) => {
    const rows = commands.map(({ name, summary }) => [
      terminal.tone('strong', name.padEnd(nameLength)),
      summary,
    ])
    return [title, terminal.table(rows, '  '), '']
  })
  return [
    'Portcullis: the gate in front of an RMM server.',
    '',
    'Usage: portcullis <command> [options]',
    '',
    ...groups,
    'Options of a command: portcullis <command> --help',
    terminal.wrap('Exit codes: 0 done or healthy; 1 refused, failed or unhealthy; 2 called wrongly.'),
  ].join('\n')
}

function commandHelp(command: Command, terminal: Terminal): string {
  const options = Object.entries({ ...command.options, ...COMMON_OPTIONS }).map(([name, option]) => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `
    const value = option.type === 'boolean' ? '' : ` ${option.value ?? '<value>'}`
    return [`${short}--${name}${value}`, option.help]
  })
  return [
    command.summary,
    '',
    `Usage: portcullis ${command.usage}`,
    '',
    terminal.table(options, '  '),
    ...(command.examples.length === 0 ? [] : ['', 'Examples:', ...command.examples.map(line => `  ${line}`)]),
  ].join('\n')
}
