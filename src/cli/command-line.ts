// Finds the command, parses its options, runs it, and turns errors into words with a next step.
import { PortcullisError } from '../policy/error.ts'
import { COMMON_OPTIONS, parseCommand, type Command, type CommandContext } from './command.ts'
import { COMMANDS } from './commands.ts'
import { suggest } from '../config/spelling.ts'
import type { Terminal } from './terminal.ts'

/** Runs one command line. @returns the exit code: 0 done, 1 refused or failed, 2 called wrongly */
export async function runCommandLine(argv: readonly string[], context: CommandContext): Promise<number> {
  const [word, ...rest] = argv
  const { terminal } = context
  if (word === undefined || word === 'help' || word === '--help' || word === '-h') {
    const about = rest[0] === undefined ? undefined : COMMANDS.find(entry => entry.name === rest[0])
    terminal.print(about === undefined ? overview(terminal) : commandHelp(about, terminal))
    return word === undefined ? 2 : 0
  }
  const command = COMMANDS.find(entry => entry.name === word)
  if (command === undefined) {
    const suggestion = suggest(
      word,
      COMMANDS.map(entry => entry.name),
    )
    terminal.complain(
      `portcullis: there is no command "${word}".`,
      suggestion === undefined ? 'See: portcullis help' : `Did you mean: portcullis ${suggestion}?`,
    )
    return 2
  }
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

function overview(terminal: Terminal): string {
  const rows = COMMANDS.map(({ name, summary }) => [terminal.tone('strong', name), summary])
  return [
    'Portcullis: the gate in front of an RMM server.',
    '',
    'Usage: portcullis <command> [options]',
    '',
    terminal.table(rows, '  '),
    '',
    'Options of a command: portcullis <command> --help',
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
