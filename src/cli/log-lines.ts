// Log lines on standard output: JSON for a collector, one readable line each on a terminal.
import { createLineSink, descriptorWriter, type LineSink } from '../journal/line-sink.ts'
import type { CommandContext } from './command.ts'

const STANDARD_OUTPUT = 1

/** Where log lines of a foreground gate go: readable on a terminal, JSON into a pipe. */
export function standardLines(context: CommandContext): LineSink {
  return context.isTerminal ? readableLines(context) : createLineSink(descriptorWriter(STANDARD_OUTPUT))
}

/** Log lines for a person, wherever they go. */
export function readableLines({ terminal }: CommandContext): LineSink {
  const sink = createLineSink(descriptorWriter(STANDARD_OUTPUT))
  const tones = { debug: 'dim', info: 'dim', warn: 'warn', error: 'bad' } as const
  return {
    ...sink,
    write: line => {
      const { time, level, msg } = JSON.parse(line) as {
        readonly time: string
        readonly level: keyof typeof tones
        readonly msg: string
      }
      sink.write(
        `${terminal.tone('dim', time.slice(11, 19))} ${terminal.tone(tones[level], level.padEnd(5))} ${msg}`,
      )
    },
  }
}
