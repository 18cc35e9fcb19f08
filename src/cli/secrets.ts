// Secrets for commands: from a file only its owner can read, a variable, a prompt without echo, or standard input. Never from argv.
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { PortcullisError } from '../policy/error.ts'
import { usageError, type CommandContext } from './command.ts'

/** Standard input as commands use it. */
export type InputStream = Readable & {
  readonly isTTY?: boolean
  readonly setRawMode?: (raw: boolean) => unknown
}

/** Where a secret may come from. */
export type SecretSource = {
  /** What is asked for, for example `Password of alice`. */
  readonly what: string
  /** Ask twice: a new secret that is mistyped once would lock its owner out. */
  readonly twice?: boolean
  readonly variable?: string
  readonly file?: string | undefined
}

const MAX_LINE = 1_024

/** Reads the secrets of one command. One reader for all of them, since standard input may carry several lines. */
export class SecretReader {
  readonly #context: CommandContext
  #rest = ''

  constructor(context: CommandContext) {
    this.#context = context
  }

  /** @throws PortcullisError `usage` when there is none to be had, `secret-file` when others can read the file */
  async read(source: SecretSource): Promise<string> {
    const { env, cwd, input, terminal } = this.#context
    if (source.file !== undefined) return readSecretFile(resolve(cwd, source.file))
    const fromEnvironment = source.variable === undefined ? undefined : env[source.variable]
    if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
    if (input === undefined) throw nothingToRead(source)
    if (input.isTTY !== true) {
      const line = await this.#line(input)
      if (line === undefined) throw nothingToRead(source)
      return line
    }
    const first = await this.#ask(input, `${source.what}: `)
    if (source.twice === true && (await this.#ask(input, `${source.what}, once more: `)) !== first) {
      terminal.complain('')
      throw usageError('the two are not the same', 'Run the command again.')
    }
    return first
  }

  async #ask(input: InputStream, prompt: string): Promise<string> {
    const { terminal } = this.#context
    terminal.prompt(prompt)
    input.setRawMode?.(true)
    try {
      let text = ''
      for (;;) {
        for (const character of await this.#characters(input)) {
          if (character === '\r' || character === '\n') return text
          // Ctrl+C and Ctrl+D arrive as characters while there is no echo.
          if (character === '\u0003' || character === '\u0004')
            throw usageError('nothing was entered', 'Run the command again.')
          if (character === '\u007f' || character === '\b') text = text.slice(0, -1)
          else if (text.length < MAX_LINE) text += character
        }
      }
    } finally {
      input.setRawMode?.(false)
      input.pause()
      terminal.prompt('\n')
    }
  }

  async #characters(input: InputStream): Promise<readonly string[]> {
    return Array.from((await chunkOf(input)) ?? '\u0004')
  }

  async #line(input: InputStream): Promise<string | undefined> {
    for (;;) {
      const end = this.#rest.indexOf('\n')
      if (end >= 0) {
        const line = this.#rest.slice(0, end).replace(/\r$/, '')
        this.#rest = this.#rest.slice(end + 1)
        return line
      }
      const chunk = this.#rest.length > MAX_LINE ? undefined : await chunkOf(input)
      if (chunk === undefined) {
        const line = this.#rest
        this.#rest = ''
        return line === '' ? undefined : line
      }
      this.#rest += chunk
    }
  }
}

function chunkOf(input: InputStream): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      input.off('data', onData).off('end', onEnd).off('error', onError)
      input.pause()
      act()
    }
    const onData = (chunk: Buffer | string): void => settle(() => resolve(String(chunk)))
    const onEnd = (): void => settle(() => resolve(undefined))
    const onError = (error: Error): void => settle(() => reject(error))
    if (input.readableEnded) {
      resolve(undefined)
      return
    }
    input.on('data', onData).once('end', onEnd).once('error', onError)
    input.resume()
  })
}

/** The first line of a file that nobody but its owner can read. @throws PortcullisError `secret-file` */
function readSecretFile(file: string): string {
  let text: string
  try {
    const { mode, size } = statSync(file)
    if ((mode & 0o077) !== 0)
      throw new PortcullisError(`others can read ${file}`, {
        code: 'secret-file',
        side: 'configuration',
        remedy: `Run: chmod 600 ${file}`,
      })
    if (size > 4_096)
      throw new PortcullisError(`${file} is too large to hold a secret`, {
        code: 'secret-file',
        side: 'configuration',
        remedy: 'The file holds the secret on its first line and nothing else.',
      })
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof PortcullisError) throw cause
    throw new PortcullisError(
      `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        code: 'secret-file',
        side: 'configuration',
        remedy: 'Name a file that holds the secret on its first line.',
        cause,
      },
    )
  }
  return (text.split('\n')[0] ?? '').replace(/\r$/, '')
}

function nothingToRead({ what, variable }: SecretSource): PortcullisError {
  return usageError(
    `${what.toLowerCase()} is needed, and there is nothing to read it from`,
    variable === undefined
      ? 'Run the command in a terminal, pipe the secret into it, or let one be made with --generate.'
      : `Run the command in a terminal, set ${variable}, or pipe it in.`,
  )
}
