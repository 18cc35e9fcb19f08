// Turns rule files into rule documents, lays the policy's modes and exceptions over them, and picks the packs in use.
import type {
  RuleCondition,
  RuleDocument,
  RuleException,
  RuleRate,
  RuleTestRequest,
} from '../ips/rule-document.ts'
import type { RuleMode } from '../ips/rule-set.ts'
import type { SourceLine } from '../policy/source-line.ts'
import { warnOfEnd } from './compile-sources.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'
import type { WrittenCondition, WrittenRequest, WrittenRule } from './schema-rules.ts'
import { suggestion } from './spelling.ts'

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
      phase: rule.phase,
      action: rule.action,
      rate: rateOf(rule.rate),
      overrides: [],
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
  const patternsAt = written.matches?.map((_, index) =>
    report.at([...path, 'matches', ...(written.matches?.length === 1 ? [] : [index])]),
  )
  return {
    ...defined(written),
    in: written.in,
    at: report.at(path),
    ...(patternsAt === undefined ? {} : { patternsAt }),
  }
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

// Drops keys without a value: with exact optional types, absent and undefined differ.
function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as Defined<T>
}

/** What the policy chooses of the rules. */
export type RuleChoice = {
  /** Packs of the profiles in use: what holds when the policy names none. */
  readonly usualPacks: readonly { readonly pack: string; readonly at: SourceLine }[]
  /** Profiles in use: rules for other products are left out. */
  readonly products: readonly string[]
  readonly siteIds: readonly string[]
  readonly nowMs: number
}

/** The documents in use, with the policy's modes and exceptions in them. */
export function chooseRules(
  written: WrittenPolicy['rules'],
  documents: readonly RuleDocument[],
  choice: RuleChoice,
  report: Reporter,
): readonly RuleDocument[] {
  const packs = [...new Set(documents.map(document => document.pack))]
  const ids = documents.map(document => document.id)
  for (const [index, pack] of (written.packs ?? []).entries()) {
    if (!packs.includes(pack)) {
      const hint = suggestion(pack, packs) ?? 'there are no rule files in rules/'
      report.error(['rules', 'packs', index], `there is no rule pack ${JSON.stringify(pack)}`, hint)
    }
  }
  const chosen = new Set(written.packs ?? ['generic', ...choice.usualPacks.map(entry => entry.pack)])
  for (const key of Object.keys(written.modes)) {
    if (ids.includes(key) || packs.includes(key)) continue
    report.error(
      ['rules', 'modes', key],
      `there is no rule or rule pack ${JSON.stringify(key)}`,
      suggestion(key, [...ids, ...packs]) ?? undefined,
    )
  }
  const added = policyExceptions(written, documents, chosen, choice, report)
  return documents
    .filter(({ pack, products }) => chosen.has(pack) && isForOneOf(products, choice.products))
    .map(document => ({
      ...document,
      mode: modeOf(written.modes, document),
      except: [...document.except, ...(added.get(document.id) ?? [])],
    }))
}

function isForOneOf(products: readonly string[] | null, inUse: readonly string[]): boolean {
  return products === null || products.some(product => inUse.includes(product))
}

function modeOf(modes: Readonly<Record<string, RuleMode>>, document: RuleDocument): RuleMode {
  return modes[document.id] ?? modes[document.pack] ?? document.mode
}

function policyExceptions(
  written: WrittenPolicy['rules'],
  documents: readonly RuleDocument[],
  chosen: ReadonlySet<string>,
  choice: RuleChoice,
  report: Reporter,
): ReadonlyMap<string, readonly RuleException[]> {
  const out = new Map<string, RuleException[]>()
  for (const [index, entry] of written.exceptions.entries()) {
    const path: Path = ['rules', 'exceptions', index]
    const target = documents.find(document => document.id === entry.rule)
    if (target === undefined) {
      report.error(
        [...path, 'rule'],
        `there is no rule ${JSON.stringify(entry.rule)}`,
        suggestion(
          entry.rule,
          documents.map(document => document.id),
        ) ?? undefined,
      )
      continue
    }
    if (!chosen.has(target.pack)) {
      report.warn([...path, 'rule'], `rule ${entry.rule} is in pack ${target.pack}, which is not in use`)
    }
    if (entry.paths === undefined && entry.sources === undefined && entry.sites === undefined) {
      report.error(
        path,
        'an exception needs at least one of paths, sources and sites',
        `to switch the rule off everywhere, write modes: { ${entry.rule}: off }`,
      )
      continue
    }
    for (const [number, site] of (entry.sites ?? []).entries()) {
      if (choice.siteIds.includes(site)) continue
      report.error(
        [...path, 'sites', number],
        `there is no site ${JSON.stringify(site)}`,
        suggestion(site, choice.siteIds) ?? undefined,
      )
    }
    warnOfEnd(
      [...path, 'expires'],
      `the exception from rule ${entry.rule}`,
      entry.expires,
      choice.nowMs,
      report,
    )
    const { rule, expires, sources, ...rest } = entry
    const exceptions = out.get(rule) ?? []
    exceptions.push({
      ...defined(rest),
      ...(sources === undefined ? {} : { sources: sources.map(range => range.text) }),
      expiresMs: expires,
      at: report.at(path),
    })
    out.set(rule, exceptions)
  }
  return out
}
