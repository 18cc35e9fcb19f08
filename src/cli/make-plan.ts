// Makes a plan: what changes between two policies, who would be lost or gained by recorded traffic, which rules begin to enforce.
import { diffSnapshots } from '../config/diff.ts'
import { bundledDatabases } from '../geo/bundled.ts'
import { createCountryLookup } from '../geo/lookup.ts'
import type { LedgerSum } from '../journal/ledger-facts.ts'
import type { StoreReader } from '../journal/store-core.ts'
import { buildOverlay } from '../journal/store-overlay.ts'
import type { RuleEffect } from '../journal/store-rules.ts'
import { needsHours, replay, type Replay } from '../plan/replay.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { parseDuration } from './format.ts'
import { askGate, openStore } from './gate-access.ts'

/** What a candidate would do. */
export type Plan = {
  readonly sinceMs: number
  /** In sentences. */
  readonly changes: readonly string[]
  /** Null: nothing has been recorded yet. */
  readonly replay: Replay | null
  /** Rules that begin to enforce and have detections on record. */
  readonly rules: readonly RuleEffect[]
}

/** Makes a plan from `--since` of recorded traffic. The running gate is asked to write down first what it still holds. */
export async function makePlan(
  current: Snapshot,
  candidate: Snapshot,
  args: CommandArguments,
  context: CommandContext,
): Promise<Plan> {
  const spanMs = spanOf(args)
  await askGate(current, 'POST', '/v1/flush')
  const sinceMs = context.nowMs() - spanMs
  const changes = diffSnapshots(current, candidate)
  const store = openStore(current)
  if (store === undefined) return { sinceMs, changes, replay: null, rules: [] }
  try {
    return {
      sinceMs,
      changes,
      replay: await replayStore(store, current, candidate, spanMs, context),
      rules: newlyEnforced(store, current, candidate, sinceMs),
    }
  } finally {
    store.close()
  }
}

/** The span of `--since`. @throws PortcullisError `usage` */
export function spanOf(args: CommandArguments): number {
  const text = args.text('since') ?? '7d'
  const sinceMs = parseDuration(text)
  if (sinceMs === undefined) throw usageError(`"${text}" is not a time`, 'Write 24h, 7d or 30d.')
  return sinceMs
}

async function replayStore(
  store: StoreReader,
  current: Snapshot,
  candidate: Snapshot,
  sinceMs: number,
  context: CommandContext,
): Promise<Replay> {
  const countries = await createCountryLookup({
    directory: current.directories.geoip,
    bundled: bundledDatabases(),
    reporter: { report: () => undefined },
    clock: context.nowMs,
  })
  try {
    const nowMs = context.nowMs()
    return replay({
      current,
      candidate,
      overlay: buildOverlay(store.overlay.list(), store.rules.promoted()),
      lookup: countries.lookup,
      rows: needsHours(current, candidate)
        ? hourly(store, nowMs - sinceMs)
        : store.ledger.sums(nowMs - sinceMs),
      nowMs,
      ...(context.isTerminal
        ? {
            onProgress: (rows: number) =>
              context.terminal.complain(`replayed ${rows.toLocaleString('en')} records ...`),
          }
        : {}),
    })
  } finally {
    countries.close()
  }
}

function* hourly(store: StoreReader, sinceMs: number): Generator<LedgerSum> {
  for (const row of store.ledger.all(sinceMs)) yield { ...row, hours: 1 }
}

/** What rules would have refused that the candidate enforces and the policy in force only lets detect. */
function newlyEnforced(
  store: StoreReader,
  current: Snapshot,
  candidate: Snapshot,
  sinceMs: number,
): readonly RuleEffect[] {
  const before = new Map(current.rules.rules.map(rule => [rule.id, rule.mode]))
  const ids = candidate.rules.rules
    .filter(rule => rule.mode === 'enforce' && before.get(rule.id) === 'detect')
    .map(rule => rule.id)
  return ids.length === 0 ? [] : store.rules.effects(ids, sinceMs).filter(effect => effect.hits > 0)
}
