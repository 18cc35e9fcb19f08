// Where commands write: text for a person, JSON for a program, colour on a terminal only.
import { styleText } from 'node:util'

/** Anything that takes text. */
export type TextSink = {
  readonly write: (text: string) => unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** Colours with a meaning. */
export type Tone = 'good' | 'bad' | 'warn' | 'dim' | 'strong' | 'accent'

const STYLES = {
  good: 'green',
  bad: 'red',
  warn: 'yellow',
  dim: 'dim',
  strong: 'bold',
  accent: 'cyan',
} as const

/** Output of one command. */
export class Terminal {
  readonly #out: TextSink
  readonly #err: TextSink
  readonly colour: boolean
  readonly width: number
  /** Tables break at the width of a terminal only: a pipe gets one line per row, so that grep and awk work. Infinity: a pipe. */
  readonly tableWidth: number

  constructor(out: TextSink, err: TextSink, options: { readonly colour?: boolean } = {}) {
    this.#out = out
    this.#err = err
    this.colour = options.colour ?? out.isTTY === true
    this.width = Math.max(MIN_WIDTH, Math.min(out.columns ?? PIPE_WIDTH, MAX_WIDTH))
    this.tableWidth = out.columns === undefined ? Infinity : Math.max(MIN_WIDTH, out.columns)
  }

  /** Writes lines to standard output. */
  print(...lines: readonly string[]): void {
    this.#out.write(`${lines.join('\n')}\n`)
  }

  /** Writes lines to standard error. */
  complain(...lines: readonly string[]): void {
    this.#err.write(`${lines.join('\n')}\n`)
  }

  /** Writes a question to standard error, without a line end, so that output that is piped on stays clean. */
  prompt(text: string): void {
    this.#err.write(text)
  }

  /** Writes one JSON document. */
  json(value: unknown): void {
    this.#out.write(`${JSON.stringify(value, null, 2)}\n`)
  }

  /** Colours text when the output is a terminal. */
  tone(tone: Tone, text: string): string {
    return this.colour ? styleText(STYLES[tone], text, { validateStream: false }) : text
  }

  /**
   * Rows as aligned columns; cells may carry colour. The last column is not padded; on a terminal it breaks at the edge
   * and goes on below itself, or below the row when there is too little room beside the others.
   */
  table(rows: readonly (readonly string[])[], indent = ''): string {
    const widths: number[] = []
    for (const row of rows) {
      for (const [column, cell] of row.slice(0, -1).entries())
        widths[column] = Math.max(widths[column] ?? 0, visibleLength(cell))
    }
    return rows
      .map(row => {
        const last = row.at(-1) ?? ''
        const cells = row.slice(0, -1).map((cell, column) => padded(cell, widths[column] ?? 0) + '  ')
        const before = indent + cells.join('')
        const room = this.tableWidth - visibleLength(before)
        if (visibleLength(last) <= room) return (before + last).trimEnd()
        if (room >= MIN_LAST_COLUMN) {
          return before + wrapWords(last, room).join(`\n${' '.repeat(visibleLength(before))}`)
        }
        const below = `${indent}    `
        const lines = wrapWords(last, Math.max(MIN_LAST_COLUMN, this.tableWidth - below.length))
        return [before.trimEnd(), ...lines.map(line => below + line)].join('\n')
      })
      .join('\n')
  }

  /** Whether every line of the text fits beside nothing else. */
  fits(text: string): boolean {
    return text.split('\n').every(line => visibleLength(line) <= this.tableWidth)
  }

  /** Text wrapped to the width of the terminal, every line indented; lines after the first by `hanging` more. */
  wrap(text: string, indent = '', hanging = ''): string {
    const [first = '', ...rest] = wrapWords(text, this.width - indent.length - hanging.length)
    return [indent + first, ...rest.map(line => indent + hanging + line)].join('\n')
  }
}

const PIPE_WIDTH = 100
// Prose is hard to read in longer lines, whatever the terminal has.
const MAX_WIDTH = 110
const MIN_WIDTH = 40
const MIN_LAST_COLUMN = 36

function padded(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - visibleLength(cell)))
}

/** Lines of at most `width` characters; a longer word (a path, a digest) stays whole, so that it can be copied. */
function wrapWords(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.trim().split(/\s+/)) {
    if (line !== '' && visibleLength(line) + 1 + visibleLength(word) > width) {
      lines.push(line)
      line = ''
    }
    line += (line === '' ? '' : ' ') + word
  }
  return [...lines, line]
}

// Colour codes take no room on the screen.
const COLOUR_CODES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g')

function visibleLength(text: string): number {
  return text.replaceAll(COLOUR_CODES, '').length
}
