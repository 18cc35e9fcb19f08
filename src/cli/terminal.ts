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

  constructor(out: TextSink, err: TextSink, options: { readonly colour?: boolean } = {}) {
    this.#out = out
    this.#err = err
    this.colour = options.colour ?? out.isTTY === true
    this.width = out.columns ?? 100
  }

  /** Writes lines to standard output. */
  print(...lines: readonly string[]): void {
    this.#out.write(`${lines.join('\n')}\n`)
  }

  /** Writes lines to standard error. */
  complain(...lines: readonly string[]): void {
    this.#err.write(`${lines.join('\n')}\n`)
  }

  /** Writes one JSON document. */
  json(value: unknown): void {
    this.#out.write(`${JSON.stringify(value, null, 2)}\n`)
  }

  /** Colours text when the output is a terminal. */
  tone(tone: Tone, text: string): string {
    return this.colour ? styleText(STYLES[tone], text, { validateStream: false }) : text
  }

  /** Rows as aligned columns; cells may carry colour. The last column is not padded. */
  table(rows: readonly (readonly string[])[], indent = ''): string {
    const widths: number[] = []
    for (const row of rows) {
      for (const [column, cell] of row.entries())
        widths[column] = Math.max(widths[column] ?? 0, visibleLength(cell))
    }
    return rows
      .map(row => {
        const cells = row.map((cell, column) =>
          column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - visibleLength(cell)),
        )
        return (indent + cells.join('  ')).trimEnd()
      })
      .join('\n')
  }

  /** Text wrapped to the width of the terminal, every line indented. */
  wrap(text: string, indent = ''): string {
    const lines: string[] = []
    let line = indent
    for (const word of text.split(/\s+/)) {
      if (line.length > indent.length && visibleLength(line) + word.length + 1 > this.width) {
        lines.push(line)
        line = indent
      }
      line += (line.length > indent.length ? ' ' : '') + word
    }
    lines.push(line)
    return lines.join('\n')
  }
}

// Colour codes take no room on the screen.
const COLOUR_CODES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g')

function visibleLength(text: string): number {
  return text.replaceAll(COLOUR_CODES, '').length
}
