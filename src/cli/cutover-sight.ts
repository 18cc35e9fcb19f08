// What the cut-over is judged by: the fleet of the RMM's list, of the sites or of the ledger, refusals, marks and checks.
import { fleetShare, judgeCutover, type CutoverState, type FleetPart } from '../deploy/cutover.ts'
import type { StoreReader } from '../journal/store-core.ts'
import { parseAddress } from '../net/address.ts'
import { reportTrial } from '../plan/trial.ts'
import { AGENT_CLASSES } from '../policy/classes.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { readAgentList } from './agent-list.ts'
import { readCutover } from './cutover-record.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { parseDuration } from './format.ts'
import { askGate, openStore } from './gate-access.ts'

const DAY_MS = 86_400_000

/** The fleet and how much of it was seen. */
export type Fleet = {
  readonly basis: string
  readonly parts: readonly (FleetPart & { readonly lastMs: number | null })[]
  readonly note: string | null
}

/** Everything that is known of the cut-over. */
export type CutoverSight = {
  readonly fleet: Fleet
  readonly state: CutoverState
  readonly record: ReturnType<typeof readCutover>
}

/** Looks at the ledger, the list of the RMM and the record. */
export async function seeCutover(
  snapshot: Snapshot,
  args: CommandArguments,
  context: CommandContext,
): Promise<CutoverSight> {
  const sinceText = args.text('since') ?? '24h'
  const spanMs = parseDuration(sinceText)
  if (spanMs === undefined || spanMs === 0)
    throw usageError(`"${sinceText}" is not a time`, 'Write 24h or 3d.')
  await askGate(snapshot, 'POST', '/v1/flush')
  const nowMs = context.nowMs()
  const record = readCutover(snapshot.directories.state)
  const store = openStore(snapshot)
  try {
    const seen = store === undefined ? new Map<string, number>() : lastCheckIns(store, nowMs - 30 * DAY_MS)
    const fleet = fleetOf(snapshot, args, seen, nowMs - spanMs)
    const trial =
      store === undefined
        ? null
        : reportTrial(snapshot, store.ledger.all(nowMs - 7 * DAY_MS), { counts: [], complete: true }, [])
    const refused = new Set(
      trial?.refusals.flatMap(entry =>
        entry.knownAgents > 0 && isAgentTraffic(entry.class)
          ? entry.examples.slice(0, entry.knownAgents)
          : [],
      ),
    )
    const { verified, rehearsed } = record
    const state = judgeCutover({
      nowMs,
      knownAgents: trial?.knownAgents ?? 0,
      refusedKnown: refused.size,
      share: fleetShare(fleet.parts).share,
      marks: Object.fromEntries(Object.entries(record.marks).map(([step, { atMs }]) => [step, atMs])),
      closedMs: verified?.ok === true ? verified.atMs : null,
      rehearsedMs: rehearsed?.ok === true ? rehearsed.atMs : null,
    })
    return { fleet, state, record }
  } finally {
    store?.close()
  }
}

// A console that is refused on purpose is no lost agent.
function isAgentTraffic(trafficClass: string | null): boolean {
  return trafficClass === null || AGENT_CLASSES.some(name => name === trafficClass)
}

/** When agents of an address last got through. */
function lastCheckIns(store: StoreReader, sinceMs: number): Map<string, number> {
  const last = new Map<string, number>()
  for (const { source, shape, lastMs } of store.ledger.sums(sinceMs)) {
    const { class: trafficClass, outcome, phase } = shape
    if (source === null || outcome !== 'passed' || phase === 'datagram' || trafficClass === null) continue
    if (AGENT_CLASSES.includes(trafficClass)) last.set(source, Math.max(last.get(source) ?? 0, lastMs))
  }
  return last
}

function fleetOf(
  snapshot: Snapshot,
  args: CommandArguments,
  last: ReadonlyMap<string, number>,
  sinceMs: number,
): Fleet {
  const file = args.text('list')
  if (file !== undefined) {
    const list = readAgentList(file, args.text('column'))
    const parts = [...list.agents].map(([address, agents]) =>
      part(address, agents, last.get(address) ?? null, sinceMs),
    )
    const note =
      list.unusable === 0 ? null : `${list.unusable} rows of the list have no public address and are left out`
    return { basis: `${file} (${list.column})`, parts, note }
  }
  const sites = snapshot.sites.filter(site => site.agents !== null)
  if (sites.length > 0) {
    const bySite = new Map<string, number>()
    for (const [source, lastMs] of last) {
      const address = parseAddress(source)
      const site = address === undefined ? undefined : snapshot.siteByAddress.match(address)
      if (site !== undefined) bySite.set(site.id, Math.max(bySite.get(site.id) ?? 0, lastMs))
    }
    const parts = sites.map(site =>
      part(`site ${site.id}`, site.agents ?? 0, bySite.get(site.id) ?? null, sinceMs),
    )
    return {
      basis: 'agents stated for the sites of the policy',
      parts,
      note: 'a site counts as moved when any of its agents came',
    }
  }
  const parts = [...last].map(([address, lastMs]) => part(address, 1, lastMs, sinceMs))
  return {
    basis: 'addresses whose agents came within 30 days',
    parts,
    note: 'this says who has left the gate again, not who has never come: give --list an export of the RMM',
  }
}

function part(what: string, agents: number, lastMs: number | null, sinceMs: number): Fleet['parts'][number] {
  return { what, agents, lastMs, seen: lastMs !== null && lastMs >= sinceMs }
}
