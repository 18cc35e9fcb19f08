// Picks the rules in use and lays the policy's modes and exceptions over them.
import { BUILT_IN_PACK, BUILT_IN_RULES } from '../ips/built-in.ts'
import type { RuleDocument } from '../ips/rule-document.ts'
import type { RuleMode } from '../ips/rule-set.ts'
import type { RuleUse } from '../ips/seclang/rule-use.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { Reporter } from './context.ts'
import { digestOf } from './files.ts'
import { policyExceptions } from './rule-exceptions.ts'
import { policyModes, type NamedRule } from './rule-modes.ts'
import type { WrittenPolicy } from './schema.ts'
import { suggestion } from './spelling.ts'

/** What the policy chooses of the rules. */
export type RuleChoice = {
  /** Packs of the profiles in use: what holds when the policy names none. */
  readonly usualPacks: readonly { readonly pack: string; readonly at: SourceLine }[]
  /** Profiles in use: rules for other products, and those that look for these, are left out. */
  readonly products: readonly string[]
  readonly siteIds: readonly string[]
  readonly listenerIds: readonly string[]
  readonly nowMs: number
  /** True: no traffic depends on what is loaded, so the tests of rules are not run. */
  readonly forReading: boolean
}

/** A rule of an imported set, as modes and exceptions can name it. */
export type ImportedRule = NamedRule & {
  /** Of the whole set as it is used: what one of its rules says depends on the others. */
  readonly digest: string
}

/** Rules in use. */
export type ChosenRules = {
  readonly documents: readonly RuleDocument[]
  /** What the policy makes of imported rules, by id. */
  readonly imported: ReadonlyMap<string, RuleUse>
  /** The rules of the gate itself. */
  readonly builtIn: readonly RuleDocument[]
}

/** The documents in use, with the policy's modes and exceptions in them. */
export function chooseRules(
  written: WrittenPolicy['rules'],
  documents: readonly RuleDocument[],
  imported: readonly ImportedRule[],
  choice: RuleChoice,
  report: Reporter,
): ChosenRules {
  const packs = [...new Set(documents.map(document => document.pack))]
  for (const [index, pack] of (written.packs ?? []).entries()) {
    if (!packs.includes(pack)) {
      const hint = suggestion(pack, packs) ?? 'there are no rule files in rules/'
      report.error(['rules', 'packs', index], `there is no rule pack ${JSON.stringify(pack)}`, hint)
    }
  }
  const chosen = new Set(written.packs ?? ['generic', ...choice.usualPacks.map(entry => entry.pack)])
  chosen.add(BUILT_IN_PACK)
  for (const { pack } of imported) chosen.add(pack)
  const all: readonly NamedRule[] = [...documents, ...BUILT_IN_RULES, ...imported]
  const modes = policyModes(written.modes, all, choice, report)
  const added = policyExceptions(written.exceptions, all, chosen, choice, report)
  const after = promotionDays(written.enforceAfter, [...documents, ...imported], report)
  const laidOver = (document: RuleDocument): RuleDocument => ({
    ...document,
    ...modes(document),
    ...watched(document, after(document), modes(document).mode),
    except: [...document.except, ...(added.get(document.id) ?? [])],
  })
  return {
    documents: documents
      .filter(document => chosen.has(document.pack) && isFor(document, choice.products))
      .map(laidOver),
    builtIn: BUILT_IN_RULES.map(laidOver),
    imported: new Map(
      imported.map(rule => {
        const { id, digest } = rule
        const days = after(rule)
        const { mode, overrides } = modes(rule)
        const isWatched = days !== null && mode !== 'off'
        const use: RuleUse = {
          id,
          mode: isWatched ? 'detect' : mode,
          overrides,
          enforceAfterDays: isWatched ? days : null,
          digest: isWatched ? digest : '',
          except: added.get(id) ?? [],
        }
        return [id, use]
      }),
    ),
  }
}

/** Days of `enforceAfter` for a rule: its own before those of its pack. */
function promotionDays(
  written: WrittenPolicy['rules']['enforceAfter'],
  documents: readonly NamedRule[],
  report: Reporter,
): (document: NamedRule) => number | null {
  const known = new Set(documents.flatMap(({ id, pack }) => [id, pack]))
  for (const key of Object.keys(written)) {
    if (known.has(key)) continue
    const message = `there is no rule or rule pack ${JSON.stringify(key)}`
    report.error(['rules', 'enforceAfter', key], message, suggestion(key, [...known]) ?? undefined)
  }
  return ({ id, pack }) => written[id] ?? written[pack] ?? null
}

/** A rule that is to enforce by itself detects until then; one that is off stays off. */
function watched(
  document: RuleDocument,
  days: number | null,
  mode: RuleMode,
): Pick<RuleDocument, 'mode' | 'enforceAfterDays' | 'digest'> | null {
  if (days === null || mode === 'off') return null
  const { id, when, methods, classes, products, action } = document
  const content = JSON.stringify([when, methods, classes, products, action], (key, value: unknown) =>
    // Where a rule stands in its file is not what it says.
    key === 'at' ? undefined : value,
  )
  const digest = digestOf([{ name: id, bytes: new TextEncoder().encode(content) }])
  return { mode: 'detect', enforceAfterDays: days, digest }
}

function isFor({ products, notFor }: RuleDocument, inUse: readonly string[]): boolean {
  if (notFor.some(product => inUse.includes(product))) return false
  return products === null || products.some(product => inUse.includes(product))
}
