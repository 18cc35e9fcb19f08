// Reads the official regression tests of the Core Rule Set: YAML files with requests and the rules that must or must not match.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

/** What a stage sends. */
export type StageInput = {
  readonly method: string
  readonly uri: string
  readonly version: string
  /** Name and value, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly data: string | null
  /** A whole request as bytes, one character per byte; the rest of the input then counts for nothing. */
  readonly encoded: string | null
  /** Whether headers that a body needs are added. */
  readonly autocomplete: boolean
}

/** What a stage expects. */
export type StageOutput = {
  readonly expectIds: readonly number[]
  readonly noExpectIds: readonly number[]
  readonly matchPattern: string | null
  readonly noMatchPattern: string | null
  readonly status: number | null
  readonly expectError: boolean
}

/** One request of a test. */
export type Stage = { readonly input: StageInput; readonly output: StageOutput }

/** A test; it passes when all its stages do. */
export type OfficialTest = {
  readonly name: string
  readonly ruleId: number
  readonly testId: number
  readonly description: string
  /** Its rule is of the response phases. */
  readonly isResponse: boolean
  readonly stages: readonly Stage[]
}

type Values = Readonly<Record<string, unknown>>

const values = (value: unknown): Values =>
  typeof value === 'object' && value !== null ? (value as Values) : {}
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const text = (value: unknown): string | null =>
  typeof value === 'string' ? value : typeof value === 'number' ? `${value}` : null

/** Reads all tests below a folder, in order of their names. */
export function readOfficialTests(folder: string): readonly OfficialTest[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => /\.ya?ml$/.test(name))
    .sort()
  return files.flatMap(name => readTests(name, readFileSync(join(folder, name), 'utf8')))
}

function readTests(file: string, source: string): readonly OfficialTest[] {
  const document = values(parse(source))
  const ruleId = Number(document.rule_id ?? /(\d+)\.ya?ml$/.exec(file)?.[1])
  return list(document.tests).map(entry => {
    const test = values(entry)
    const testId = Number(test.test_id)
    return {
      name: `${ruleId}-${testId}`,
      ruleId,
      testId,
      description: (text(test.desc) ?? '').trim(),
      isResponse: /^(?:.*\/)?RESPONSE-/.test(file),
      stages: list(test.stages).map(readStage),
    }
  })
}

function readStage(entry: unknown): Stage {
  const outer = values(entry)
  const stage = 'input' in outer ? outer : values(outer.stage)
  const input = values(stage.input)
  const output = values(stage.output)
  const log = values(output.log)
  const encoded = text(input.encoded_request)
  return {
    input: {
      method: text(input.method) ?? 'GET',
      uri: text(input.uri) ?? '/',
      version: text(input.version) ?? 'HTTP/1.1',
      headers: Object.entries(values(input.headers)).map(([name, value]) => [
        bytes(name),
        bytes(text(value) ?? ''),
      ]),
      data: input.data === undefined ? null : bytes(text(input.data) ?? ''),
      encoded: encoded === null || encoded === '' ? null : Buffer.from(encoded, 'base64').toString('latin1'),
      autocomplete: input.autocomplete_headers !== false && input.stop_magic !== true,
    },
    output: {
      expectIds: list(log.expect_ids).map(Number),
      noExpectIds: list(log.no_expect_ids).map(Number),
      matchPattern: text(log.match_regex),
      noMatchPattern: text(log.no_match_regex),
      status: typeof output.status === 'number' ? output.status : null,
      expectError: output.expect_error === true,
    },
  }
}

// The files are UTF-8, and what goes over the wire are bytes.
const bytes = (value: string): string => Buffer.from(value, 'utf8').toString('latin1')

/** Whether a stage expects that the server which stands before the rules refuses the request, so that no rule is asked. */
export function expectsServerRefusal({ output }: Stage): boolean {
  return output.status === 400 && output.expectIds.length === 0 && output.matchPattern === null
}
