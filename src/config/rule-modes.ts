// The policy's modes of rules: which entries concern a rule, and which of them comes first.
import type { ModeOverride, RuleDocument } from '../ips/rule-document.ts'
import type { RuleMode } from '../ips/rule-set.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { RuleChoice } from './choose-rules.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'
import { suggestion } from './spelling.ts'

type Modes = Pick<RuleDocument, 'mode' | 'overrides'>

/** What modes and exceptions know of a rule. */
export type NamedRule = Pick<RuleDocument, 'id' | 'pack' | 'tags' | 'mode' | 'overrides'> & {
  /** Entries that name neither rule nor tag nor pack do not make it stricter than `mode`. */
  readonly isImported?: true
}

type Entry = {
  readonly rule: string | null
  readonly tag: string | null
  readonly pack: string | null
  readonly override: ModeOverride
  /** Higher comes first. */
  readonly rank: number
}

/** Reads the modes of a policy; the result gives a rule its mode in general and, most specific first, in some places. */
export function policyModes(
  written: WrittenPolicy['rules']['modes'],
  documents: readonly NamedRule[],
  choice: Pick<RuleChoice, 'siteIds' | 'listenerIds'>,
  report: Reporter,
): (document: NamedRule) => Modes {
  const entries = Array.isArray(written)
    ? listedEntries(written, documents, choice, report)
    : mappedEntries(written, documents, report)
  // Later lines first among equals: sorting keeps the order of what ranks the same.
  const ordered = entries.toReversed().sort((a, b) => b.rank - a.rank)
  return document => {
    const overrides: ModeOverride[] = []
    for (const { rule, tag, pack, override: stated } of ordered) {
      if (rule !== null && rule !== document.id) continue
      if (tag !== null && !document.tags.includes(tag)) continue
      if (pack !== null && pack !== document.pack) continue
      const isForAll = rule === null && tag === null && pack === null
      const override =
        isForAll && document.isImported === true
          ? { ...stated, mode: weaker(stated.mode, document.mode) }
          : stated
      const { mode, classes, sites, listeners } = override
      // Nothing behind an entry for every place can count any more.
      if (classes === null && sites === null && listeners === null) return { mode, overrides }
      overrides.push(override)
    }
    return { mode: document.mode, overrides: [...overrides, ...document.overrides] }
  }
}

const STRENGTH = { off: 0, detect: 1, enforce: 2 } as const

function weaker(one: RuleMode, other: RuleMode): RuleMode {
  return STRENGTH[one] < STRENGTH[other] ? one : other
}

const EVERYWHERE = { classes: null, sites: null, listeners: null } as const
const NAMES = { rule: null, tag: null, pack: null } as const

function mappedEntries(
  written: Readonly<Record<string, RuleMode>>,
  documents: readonly NamedRule[],
  report: Reporter,
): readonly Entry[] {
  const ids = new Set(documents.map(({ id }) => id))
  const packs = new Set(documents.map(({ pack }) => pack))
  return Object.entries(written).map(([key, mode]): Entry => {
    const override = { mode, ...EVERYWHERE }
    if (ids.has(key)) return { ...NAMES, rule: key, override, rank: RANKS.rule }
    unlessKnown(key, [...packs], 'rule or rule pack', [...packs, ...ids], ['rules', 'modes', key], report)
    return { ...NAMES, pack: key, override, rank: RANKS.pack }
  })
}

const RANKS = { rule: 400, tag: 200, pack: 100, site: 4, listener: 2, class: 1 } as const

type WrittenEntry = Extract<WrittenPolicy['rules']['modes'], readonly unknown[]>[number]

function listedEntries(
  written: readonly WrittenEntry[],
  documents: readonly NamedRule[],
  choice: Pick<RuleChoice, 'siteIds' | 'listenerIds'>,
  report: Reporter,
): readonly Entry[] {
  const ids = documents.map(({ id }) => id)
  const tags = [...new Set(documents.flatMap(document => document.tags))]
  const packs = [...new Set(documents.map(({ pack }) => pack))]
  return written.map((entry, index): Entry => {
    const path: Path = ['rules', 'modes', index]
    const { rule, tag, pack, site, listener, mode } = entry
    const classes: readonly TrafficClass[] | undefined = entry.class
    if (rule !== undefined) unlessKnown(rule, ids, 'rule', ids, [...path, 'rule'], report)
    if (tag !== undefined) unlessKnown(tag, tags, 'rule with the tag', tags, [...path, 'tag'], report)
    if (pack !== undefined) unlessKnown(pack, packs, 'rule pack', packs, [...path, 'pack'], report)
    for (const id of site ?? []) {
      unlessKnown(id, choice.siteIds, 'site', choice.siteIds, [...path, 'site'], report)
    }
    for (const id of listener ?? []) {
      unlessKnown(id, choice.listenerIds, 'listener', choice.listenerIds, [...path, 'listener'], report)
    }
    let rank = 0
    for (const key of ['rule', 'tag', 'pack', 'site', 'listener', 'class'] as const) {
      if (entry[key] !== undefined) rank += RANKS[key]
    }
    return {
      rule: rule ?? null,
      tag: tag ?? null,
      pack: pack ?? null,
      override: { mode, classes: classes ?? null, sites: site ?? null, listeners: listener ?? null },
      rank,
    }
  })
}

function unlessKnown(
  id: string,
  known: readonly string[],
  what: string,
  near: readonly string[],
  path: Path,
  report: Reporter,
): void {
  if (known.includes(id)) return
  report.error(path, `there is no ${what} ${JSON.stringify(id)}`, suggestion(id, near) ?? undefined)
}
