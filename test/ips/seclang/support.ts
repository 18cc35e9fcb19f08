// Compiles small SecLang files and asks them about requests, for tests of the language.
import { Engine, newRun, type EngineOptions } from '../../../src/ips/engine/engine.ts'
import { inspectRequest, withBody } from '../../../src/ips/parts/inspect.ts'
import { compilePattern } from '../../../src/ips/regex/compile.ts'
import { compileSecLang, type SecCompiled } from '../../../src/ips/seclang/compile.ts'
import { requestFacts } from '../../policy/request.ts'

/** Services without any detection of injections beyond a fixed word. */
export const SERVICES = {
  compilePattern,
  detectSqli: (text: string): string | null => (text.includes('union select') ? 'UE' : null),
  detectXss: (text: string): boolean => text.includes('<script'),
}

/** Compiles one file, or several by name. */
export function compiled(source: string | Readonly<Record<string, string>>): SecCompiled {
  const files = new Map(Object.entries(typeof source === 'string' ? { 'a.conf': source } : source))
  const entries = [...files.keys()].filter(name => name.endsWith('.conf'))
  return compileSecLang(files, entries, { name: 'x', ...SERVICES })
}

/** A request as tests write it. */
export type Asked = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Numbers of the rules that a request matches, in order, and the variables that they leave. */
export function ask(
  rules: SecCompiled,
  target: string,
  asked: Asked = {},
  options: EngineOptions = {},
): {
  readonly fired: readonly number[]
  readonly tx: ReadonlyMap<string, string>
  readonly log: readonly string[]
} {
  const engine = new Engine(rules.steps, options)
  const facts = requestFacts(asked.method ?? 'GET', target, { headers: asked.headers ?? {} })
  const run = newRun({
    class: 'other',
    site: null,
    sourceText: '198.51.100.1',
    nowMs: 0,
    listener: 'l',
    country: 'US',
  })
  const fired: number[] = []
  const log: string[] = []
  const note = (id: string): boolean => {
    const rule = rules.rules.find(entry => entry.id === id)
    if (rule === undefined) return false
    fired.push(rule.number)
    log.push(`${rule.message.expand(run)} ${rule.logData?.expand(run) ?? ''}`.trim())
    return false
  }
  const pass = engine.begin(inspectRequest(facts, null, true), run)
  engine.run('head', pass, ({ rule }) => note(rule.id))
  if (asked.body !== undefined)
    pass.advance(withBody(pass.inspected, Buffer.from(asked.body, 'latin1'), true))
  engine.run('body', pass, ({ rule }) => note(rule.id))
  return { fired, tx: run.tx, log }
}
