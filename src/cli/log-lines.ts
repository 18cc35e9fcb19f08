// Log lines on standard output: JSON for a collector, one readable line each on a terminal.
import { createLineSink, descriptorWriter, type LineSink } from '../journal/line-sink.ts'
import type { CommandContext } from './command.ts'

const STANDARD_OUTPUT = 1

/** Where log lines of a foreground gate go. */
export function standardLines({ terminal, isTerminal }: CommandContext): LineSink {
  const sink = createLineSink(descriptorWriter(STANDARD_OUTPUT))
  if (!isTerminal) return sink
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
