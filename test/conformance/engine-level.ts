// Runs official tests at the engine: facts as the test describes them, all request phases, the rules that matched.
import { inspectRequest, withBody } from '../../src/ips/parts/inspect.ts'
import { Engine, newRun, type EngineOptions } from '../../src/ips/engine/engine.ts'
import type { SecCompiled, SecRule } from '../../src/ips/seclang/compile.ts'
import type { OfficialTest, Stage } from './official-tests.ts'
import { expectsServerRefusal } from './official-tests.ts'
import { announcedBody, factsOf, rawRequest } from './raw-request.ts'

/** How a test ended. */
export type Outcome = {
  readonly test: OfficialTest
  readonly result: 'passed' | 'failed' | 'not-applicable'
  readonly reason: string
}

/** What rules said of a request. */
export type Log = { readonly ids: ReadonlySet<number>; readonly lines: readonly string[] }

/** Asks all rules about a request. */
export class EngineLevel {
  readonly #engine: Engine
  readonly #rules: ReadonlyMap<string, SecRule>

  constructor(compiled: SecCompiled, options: EngineOptions = {}) {
    this.#engine = new Engine(compiled.steps, { maxWork: Number.POSITIVE_INFINITY, ...options })
    this.#rules = new Map(compiled.rules.map(rule => [rule.id, rule]))
  }

  /** What the rules say. */
  ask(input: Stage['input']): Log {
    const raw = rawRequest(input)
    const facts = factsOf(raw)
    const scope = {
      class: 'other' as const,
      site: null,
      sourceText: '198.51.100.1',
      nowMs: facts.nowMs,
      listener: 'test',
      country: 'US',
    }
    const run = newRun(scope)
    const ids = new Set<number>()
    const lines: string[] = []
    const note = (id: string): boolean => {
      const rule = this.#rules.get(id)
      if (rule === undefined || !rule.isLogged) return false
      ids.add(rule.number)
      lines.push(
        printable(
          `[id "${rule.number}"] [msg "${rule.message.expand(run)}"] [data "${rule.logData?.expand(run) ?? ''}"]`,
        ),
      )
      return false
    }
    const pass = this.#engine.begin(inspectRequest(facts, null, true), run)
    this.#engine.run('head', pass, ({ rule }) => note(rule.id))
    pass.advance(withBody(pass.inspected, Buffer.from(announcedBody(raw), 'latin1'), true))
    this.#engine.run('body', pass, ({ rule }) => note(rule.id))
    return { ids, lines }
  }

  /** Runs tests. */
  testAll(tests: readonly OfficialTest[]): readonly Outcome[] {
    return tests.map(test => this.test(test))
  }

  /** Runs a test. */
  test(test: OfficialTest): Outcome {
    if (test.isResponse) return { test, result: 'not-applicable', reason: 'looks at the response' }
    if (test.stages.every(expectsServerRefusal)) {
      return { test, result: 'not-applicable', reason: 'expects a refusal by the server before the rules' }
    }
    for (const [index, stage] of test.stages.entries()) {
      const reason = judge(stage, this.ask(stage.input))
      if (reason !== null) {
        return {
          test,
          result: 'failed',
          reason: test.stages.length === 1 ? reason : `stage ${index + 1}: ${reason}`,
        }
      }
    }
    return { test, result: 'passed', reason: '' }
  }
}

// As ModSecurity writes its log.
function printable(line: string): string {
  return line.replaceAll(
    /[^ -~]/g,
    character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** What a log lacks or has too much; null: it is as expected. */
export function judge({ output }: Stage, { ids, lines }: Log): string | null {
  const missing = output.expectIds.filter(id => !ids.has(id))
  if (missing.length > 0) return `${missing.join(', ')} did not match`
  const extra = output.noExpectIds.filter(id => ids.has(id))
  if (extra.length > 0) return `${extra.join(', ')} matched`
  const log = lines.join('\n')
  if (output.matchPattern !== null && !new RegExp(output.matchPattern).test(log)) {
    return `the log lacks ${output.matchPattern}`
  }
  if (output.noMatchPattern !== null && new RegExp(output.noMatchPattern).test(log)) {
    return `the log has ${output.noMatchPattern}`
  }
  return null
}
