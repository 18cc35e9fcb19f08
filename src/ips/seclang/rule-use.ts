// What the policy makes of imported rules where a request stands: which are not asked, which only watch, what is excepted.
import type { RequestFacts } from '../../policy/facts.ts'
import { compileException, holdsFor, type Exception } from '../exceptions.ts'
import { modeIn } from '../modes.ts'
import type { RuleDocument, RuleException } from '../rule-document.ts'
import type { RuleMode, RuleScope } from '../rule-set.ts'
import type { Run } from '../rule.ts'
import type { SourceLine } from '../../policy/source-line.ts'
import type { SecRule } from './compile.ts'
import { variablesOf, type RemovedVariable } from './fields.ts'

/** What the policy says of one imported rule. */
export type RuleUse = Pick<
  RuleDocument,
  'id' | 'mode' | 'overrides' | 'enforceAfterDays' | 'digest' | 'except'
>

/** What holds for all requests that stand in one place. */
export type Place = {
  /** Ids of rules that are not asked. */
  readonly off: readonly string[]
  /** Ids of rules that are recorded and add nothing to scores. */
  readonly silent: ReadonlySet<string>
  /** Ids of rules that refuse. */
  readonly refusing: ReadonlySet<string>
  /** Refused, recorded or not asked at all. */
  readonly mode: RuleMode
}

type ExceptionEntry = {
  readonly exception: Exception
  readonly ids: readonly string[]
  /** Null: the rules as a whole. */
  readonly removes: readonly RemovedVariable[] | null
}

const NONE: ReadonlySet<string> = new Set()
const NO_EXCEPTIONS: ReadonlyMap<string, SourceLine> = new Map()

/**
 * The policy's modes and exceptions of a set of rules.
 *
 * Only rules whose matches are recorded have a mode of their own: those that count together, jump and set up belong to the
 * set as a whole. Where a rule that refuses is enforced, only rules that are enforced add points; where none is, all do, so
 * that what is recorded says what enforcing would refuse.
 */
export class RuleUses {
  readonly #rules: readonly (RuleUse & { readonly refuses: boolean })[]
  readonly #without: readonly string[]
  readonly #sites: ReadonlySet<string>
  readonly #listeners: ReadonlySet<string>
  readonly #isWatched: boolean
  readonly #entries: readonly ExceptionEntry[]
  /** By what the policy tells apart, so that they are few; the sets of promoted rules change rarely. */
  readonly #places = new WeakMap<ReadonlySet<string>, Map<string, Place>>()

  /** @param without ids of rules that are never asked */
  constructor(rules: readonly SecRule[], uses: ReadonlyMap<string, RuleUse>, without: readonly string[]) {
    this.#rules = rules.flatMap(({ id, action, isLogged }) => {
      const use = uses.get(id)
      return use === undefined || !isLogged ? [] : [{ ...use, refuses: action === 'block' }]
    })
    this.#without = without
    const overrides = this.#rules.flatMap(rule => rule.overrides)
    this.#sites = new Set(overrides.flatMap(({ sites }) => sites ?? []))
    this.#listeners = new Set(overrides.flatMap(({ listeners }) => listeners ?? []))
    this.#isWatched = this.#rules.some(rule => rule.enforceAfterDays !== null)
    this.#entries = entriesOf(this.#rules)
  }

  /** What holds where a request stands. */
  at(scope: RuleScope): Place {
    const promoted = this.#isWatched ? (scope.promoted ?? NONE) : NONE
    let places = this.#places.get(promoted)
    if (places === undefined) {
      places = new Map()
      this.#places.set(promoted, places)
    }
    const site = scope.site !== null && this.#sites.has(scope.site) ? scope.site : ''
    const listener = this.#listeners.has(scope.listener) ? scope.listener : ''
    const key = `${scope.class} ${site} ${listener}`
    let place = places.get(key)
    if (place === undefined) {
      place = this.#placeOf(scope)
      places.set(key, place)
    }
    return place
  }

  /** Puts into a run what holds for the request; returns the lines of exceptions by the ids of rules excepted as a whole. */
  prepare(run: Run, place: Place, facts: RequestFacts, scope: RuleScope): ReadonlyMap<string, SourceLine> {
    for (const id of place.off) run.removedRules.add(id)
    run.silentRules = place.silent
    if (this.#entries.length === 0) return NO_EXCEPTIONS
    const excepted = new Map<string, SourceLine>()
    for (const { exception, ids, removes } of this.#entries) {
      if (!holdsFor(exception, facts, scope)) continue
      for (const id of ids) {
        if (removes === null) excepted.set(id, exception.document.at)
        else run.removedTargets.set(id, [...(run.removedTargets.get(id) ?? []), ...removes])
      }
    }
    if (excepted.size > 0) run.silentRules = new Set([...place.silent, ...excepted.keys()])
    return excepted
  }

  #placeOf(scope: RuleScope): Place {
    const modes = this.#rules.map(rule => ({ rule, mode: modeIn(rule, scope) }))
    const off = modes.filter(({ mode }) => mode === 'off').map(({ rule }) => rule.id)
    const refusing = modes.filter(({ rule, mode }) => rule.refuses && mode === 'enforce')
    const detecting = modes.filter(({ rule, mode }) => !rule.refuses && mode === 'detect')
    return {
      off: [...this.#without, ...off],
      silent: refusing.length === 0 ? NONE : new Set(detecting.map(({ rule }) => rule.id)),
      refusing: new Set(refusing.map(({ rule }) => rule.id)),
      mode: refusing.length > 0 ? 'enforce' : off.length === modes.length ? 'off' : 'detect',
    }
  }
}

/** Exceptions with the rules that each is for: the policy states one for many rules. */
function entriesOf(rules: readonly RuleUse[]): readonly ExceptionEntry[] {
  const ids = new Map<RuleException, string[]>()
  for (const { id, except } of rules) {
    for (const document of except) {
      const known = ids.get(document)
      if (known === undefined) ids.set(document, [id])
      else known.push(id)
    }
  }
  return [...ids].map(([document, own]) => ({
    // What is wrong with it has been said when the policy was read.
    exception: compileException(own[0] ?? '', document, [], []),
    ids: own,
    removes: document.fields === undefined ? null : document.fields.flatMap(variablesOf),
  }))
}
