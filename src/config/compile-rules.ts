// Turns rule files into rule documents.
import type {
  PatternPlace,
  RuleCondition,
  RuleDocument,
  RuleException,
  RuleRate,
  RuleTestRequest,
} from '../ips/rule-document.ts'
import type { SourceLine } from '../policy/source-line.ts'
import { warnOfEnd } from './compile-sources.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import type { WrittenCondition, WrittenRequest, WrittenRule } from './schema-rules.ts'

/** A rule file as read. */
export type RuleFile = {
  readonly pack: string
  readonly rules: readonly WrittenRule[]
  readonly report: Reporter
}

/** Every rule of a file as a document, with its lines. */
export function ruleDocuments(file: RuleFile, nowMs: number): readonly RuleDocument[] {
  return file.rules.map((rule, index) => {
    const path: Path = ['rules', index]
    const at = (...more: Path): SourceLine => file.report.at([...path, ...more])
    const requests = (list: 'fires' | 'quiet'): readonly RuleTestRequest[] =>
      rule.tests[list].map((request, number) => testRequest(request, at('tests', list, number)))
    return {
      id: rule.id,
      title: rule.title,
      severity: rule.severity,
      mode: rule.mode,
      pack: file.pack,
      tags: rule.tags,
      refs: rule.refs,
      classes: rule.classes,
      methods: rule.methods,
      products: rule.product,
      notFor: rule.notFor,
      phase: rule.phase,
      action: rule.action,
      rate: rateOf(rule.rate),
      overrides: [],
      enforceAfterDays: null,
      digest: '',
      when: conditionOf(rule.when, [...path, 'when'], file.report),
      except: rule.except.map((entry, number): RuleException => {
        const { reason, owner, expires, ...scope } = entry
        warnOfEnd(
          [...path, 'except', number, 'expires'],
          `an exception of rule ${rule.id}`,
          expires,
          nowMs,
          file.report,
        )
        return { ...defined(scope), reason, owner, expiresMs: expires, at: at('except', number) }
      }),
      tests: { fires: requests('fires'), quiet: requests('quiet') },
      at: at('id'),
    }
  })
}

function rateOf(rate: WrittenRule['rate']): RuleRate | null {
  if (rate === null) return null
  const { over, per, by, user, on, hold } = rate
  return { over, perMs: per, by, userField: user ?? null, on, holdMs: hold }
}

function conditionOf(written: WrittenCondition, path: Path, report: Reporter): RuleCondition {
  if ('all' in written) {
    return { all: written.all.map((inner, index) => conditionOf(inner, [...path, 'all', index], report)) }
  }
  if ('any' in written) {
    return { any: written.any.map((inner, index) => conditionOf(inner, [...path, 'any', index], report)) }
  }
  if ('not' in written) return { not: conditionOf(written.not, [...path, 'not'], report) }
  const patternsAt = written.matches?.map((pattern, index) =>
    patternPlace(
      pattern,
      report.at([...path, 'matches', ...(written.matches?.length === 1 ? [] : [index])]),
      report,
    ),
  )
  return {
    ...defined(written),
    in: written.in,
    at: report.at(path),
    ...(patternsAt === undefined ? {} : { patternsAt }),
  }
}

/** Quoted or not, a pattern that stands in one line as it is can be pointed into. */
function patternPlace(pattern: string, at: SourceLine, report: Reporter): PatternPlace {
  const line = report.lines[at.line - 1] ?? ''
  for (const column of [at.column, at.column + 1]) {
    if (line.startsWith(pattern, column - 1)) return { at: { ...at, column }, isExact: true }
  }
  return { at, isExact: false }
}

function testRequest(written: WrittenRequest, at: SourceLine): RuleTestRequest {
  if (typeof written === 'string') return { request: written, at }
  const { within, ...rest } = written
  return {
    ...defined(rest),
    request: rest.request ?? null,
    ...(within === undefined ? {} : { withinMs: within }),
    at,
  }
}

type Defined<T> = { [Key in keyof T]: Exclude<T[Key], undefined> }

/** Drops keys without a value: with exact optional types, absent and undefined differ. */
export function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as Defined<T>
}
