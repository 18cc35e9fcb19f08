// Asks questions line by line: line editing on a terminal, plain lines from a pipe. Ctrl-C and the end of input end the asking, nothing else.
import { createInterface } from 'node:readline'
import { PortcullisError } from '../policy/error.ts'

/** Where questions are asked and answers come from. */
export type AskStreams = {
  readonly input: NodeJS.ReadableStream
  readonly output: NodeJS.WritableStream
  /** Line editing and history keys. */
  readonly isTerminal: boolean
}

/** Asks. Close it in any case. */
export type Asker = {
  /** Shows a prompt and waits for a line. @throws PortcullisError `cancelled` */
  readonly line: (prompt: string) => Promise<string>
  readonly say: (text: string) => void
  readonly close: () => void
}

/** Longest answer. */
const MAX_ANSWER = 2_000

/** Opens the dialogue. */
export function openAsker(streams: AskStreams): Asker {
  const { input, output, isTerminal } = streams
  const reader = createInterface({ input, output, terminal: isTerminal, historySize: 0 })
  const lines: string[] = []
  let waiting: { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void } | null =
    null
  let ended: Error | null = null
  const end = (how: string): void => {
    ended ??= new PortcullisError(how, {
      code: 'cancelled',
      side: 'configuration',
      remedy: 'Nothing was written. Start again when you like; --answers takes what you know already.',
    })
    waiting?.reject(ended)
    waiting = null
  }
  reader.on('line', line => {
    const text = line.slice(0, MAX_ANSWER)
    if (waiting === null) {
      // Lines may come ahead of their questions from a pipe; a flood of them may not fill the memory.
      if (lines.length < 1_000) lines.push(text)
      return
    }
    const { resolve } = waiting
    waiting = null
    resolve(text)
  })
  reader.on('SIGINT', () => {
    end('stopped by Ctrl-C')
    reader.close()
  })
  reader.on('close', () => end('the input has ended before every question was answered'))
  return {
    line: prompt => {
      const next = lines.shift()
      if (next !== undefined) {
        output.write(`${prompt}${next}\n`)
        return Promise.resolve(next)
      }
      if (ended !== null) return Promise.reject(ended)
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        reader.setPrompt(prompt)
        reader.prompt()
      })
    },
    say: text => {
      output.write(`${text}\n`)
    },
    close: () => {
      reader.removeAllListeners('close')
      reader.close()
    },
  }
}
