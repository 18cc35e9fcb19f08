// Exceptions of rules: where they hold, and which targets of a rule they take out.
import { parseAddress } from '../net/address.ts'
import { cidrContains, parseCidr, type Cidr } from '../net/cidr.ts'
import type { RequestFacts } from '../policy/facts.ts'
import { matchesPath } from '../policy/path-pattern.ts'
import { readField, type Field } from './fields/field.ts'
import type { RuleException, RuleProblem } from './rule-document.ts'
import type { HelloScope, RuleScope } from './rule-set.ts'
import type { Selector } from './rule.ts'

/** A part of a rule's targets. */
export type RemovedTarget = { readonly collection: string; readonly only: Selector | null }

/** A compiled exception. */
export type Exception = {
  readonly document: RuleException
  readonly paths: readonly string[] | null
  readonly sources: readonly Cidr[] | null
  readonly sites: ReadonlySet<string> | null
  /** What it takes out; null: the rule as a whole. */
  readonly removes: readonly RemovedTarget[] | null
}

/**
 * Compiles an exception of a rule that looks at `fields`. One that would hold everywhere is a problem: such a rule is switched
 * off, where everybody sees it.
 */
export function compileException(
  ruleId: string,
  document: RuleException,
  looksAt: readonly Field[],
  problems: RuleProblem[],
): Exception {
  const problem = (message: string): void => {
    problems.push({ ruleId, message, at: document.at })
  }
  const { paths, fields, sources, sites } = document
  if (paths === undefined && sources === undefined && sites === undefined) {
    problem('an exception needs paths, sources or sites: switch the rule off instead of excepting everything')
  }
  for (const path of paths ?? []) {
    // Anchored at a literal first segment: "allow if the URI contains /x" is a bypass (trap 15).
    if (!/^\/[^/*]+/.test(path) || /^\/[^/]*\*/.test(path) || /[?%#\\;]/.test(path)) {
      problem(
        `exception path ${path} must start with a literal segment such as /cwa/ and match the decoded path`,
      )
    }
  }
  const excepted = (fields ?? []).flatMap(
    text => readField(text) ?? (problem(`there is no field ${text}`), []),
  )
  const ranges = (sources ?? []).flatMap(text => {
    const range = parseCidr(text)
    if (typeof range !== 'string') return [range]
    problem(`exception source ${text}: ${range}`)
    return []
  })
  return {
    document,
    paths: paths?.map(path => path.toLowerCase()) ?? null,
    sources: sources === undefined ? null : ranges,
    sites: sites === undefined ? null : new Set(sites),
    removes: fields === undefined ? null : removedTargets(excepted, looksAt),
  }
}

/** Whether an exception holds for a request; `facts` is null for a ClientHello, which has no path. */
export function holdsFor(
  exception: Exception,
  facts: RequestFacts | null,
  scope: RuleScope | HelloScope,
): boolean {
  const { paths, sources, sites, document } = exception
  if (scope.nowMs >= document.expiresMs) return false
  if (paths !== null) {
    if (facts === null || !paths.some(pattern => matchesPath(pattern, facts.pathFolded))) return false
  }
  if (sites !== null && (scope.site === null || !sites.has(scope.site))) return false
  if (sources === null) return true
  const address = parseAddress(scope.sourceText)
  return address !== undefined && sources.some(range => cidrContains(range, address))
}

/** Which targets of a rule fields stand for: `args.id` also stands for that member of `args`, and `args` for all of them. */
function removedTargets(excepted: readonly Field[], looksAt: readonly Field[]): readonly RemovedTarget[] {
  const collections = new Map(looksAt.map(field => [field.text, field]))
  const removed: RemovedTarget[] = []
  for (const { text, family, name } of excepted) {
    for (const target of collections.values()) {
      if (target.text === text || (text === family && target.family === family)) {
        removed.push({ collection: target.text, only: null })
      } else if (
        name !== null &&
        target.family === family &&
        (target.name === null || target.name === name)
      ) {
        removed.push({ collection: target.text, only: isMember(name) })
      }
    }
  }
  return removed
}

/** The same names as in fields: a leaf of JSON is known by its path of keys and by its own key. */
function isMember(name: string): Selector {
  const leaf = `.${name}`
  return member => member === name || member.endsWith(leaf)
}
