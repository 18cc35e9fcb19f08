// Makes policies for tests of decisions: entries, tries, class tables, and the accept question.
import { CidrTrie } from '../../src/net/cidr.ts'
import { CLASSES, type TrafficClass } from '../../src/policy/classes.ts'
import { decideAccept } from '../../src/policy/decide-accept.ts'
import type { AllowEntry, BanEntry, ClassPolicy, Overlay, Snapshot } from '../../src/policy/snapshot.ts'
import type { AcceptVerdict } from '../../src/policy/standing.ts'
import type { Trace } from '../../src/policy/verdict.ts'
import { at, cidr, classPolicy, emptyOverlay, type source } from '../support/snapshot.ts'

/** An allow or ban in short. */
export type Scoped = { range: string; classes?: TrafficClass[]; expiresMs?: number; line?: number }

function entry({ range, classes, expiresMs, line }: Scoped): AllowEntry & BanEntry {
  return {
    range: cidr(range),
    classes: classes === undefined ? null : new Set(classes),
    reason: 'a test',
    owner: 'somebody',
    expiresMs: expiresMs ?? null,
    at: at(line ?? 70),
  }
}

/** A trie of allows or bans. */
export function trie(...entries: Scoped[]): CidrTrie<AllowEntry & BanEntry> {
  const made = new CidrTrie<AllowEntry & BanEntry>()
  for (const scoped of entries) made.insert(cidr(scoped.range), entry(scoped))
  return made
}

/** Asks the accept question. */
export function accept(
  policy: Snapshot,
  from: ReturnType<typeof source>,
  parts: { overlay?: Overlay; nowMs?: number; open?: number; total?: number; trace?: Trace } = {},
): AcceptVerdict {
  const facts = {
    source: from,
    listener: 'https',
    openFromSource: parts.open ?? 0,
    openTotal: parts.total ?? 0,
    nowMs: parts.nowMs ?? 0,
  }
  return decideAccept(policy, parts.overlay ?? emptyOverlay(), facts, parts.trace)
}

/** `allowed`, or the reason of a refusal. */
export const reasonOf = (verdict: AcceptVerdict): string =>
  verdict.allow ? 'allowed' : verdict.refusal.reason

/** Every class open, but for these. */
export function classes(overrides: Partial<Record<TrafficClass, Partial<ClassPolicy>>>): Snapshot['classes'] {
  return new Map(CLASSES.map(word => [word, classPolicy(overrides[word])]))
}
