// Gathers what a diagnosis needs: policy, countries, store, and the running gate if there is one.
import { inspectCertificates } from './certificate-report.ts'
import type { CertificateState, GateStatus } from '../admin/status.ts'
import { summariseActivity, type Activity } from '../diagnose/activity.ts'
import type { Evidence } from '../diagnose/finding.ts'
import type { HeartbeatListenerFacts } from '../diagnose/heartbeats.ts'
import type { DatabaseState } from '../geo/country-lookup.ts'
import type { StoreReader } from '../journal/store-core.ts'
import type { StoredEvent } from '../journal/store-events.ts'
import type { RuleHit } from '../ips/rule-set.ts'
import { parseCidr } from '../net/cidr.ts'
import type { Address } from '../net/address.ts'
import { explain } from '../policy/explain.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { CommandArguments, type CommandContext } from './command.ts'
import { askGate, commandOptions, openStore } from './gate-access.ts'
import { lookUp, questionOf, storedOverlay, upstreamUp } from './question.ts'

/** How far back a diagnosis looks. */
export const LOOK_BACK_MS = 86_400_000

/** Everything about one address. */
export type Gathered = {
  readonly evidence: Evidence
  readonly databases: readonly DatabaseState[]
  readonly activity: Activity | null
  readonly refusals: readonly StoredEvent[]
  readonly certificates: readonly CertificateState[]
  readonly status: GateStatus | undefined
}

/** Gathers. The running gate is asked to write down first what it still holds in memory. */
export async function gather(
  snapshot: Snapshot,
  address: Address,
  args: CommandArguments,
  context: CommandContext,
): Promise<Gathered> {
  const nowMs = context.nowMs()
  const status = (await askGate(snapshot, 'GET', '/v1/status')) as GateStatus | undefined
  if (status !== undefined) await askGate(snapshot, 'POST', '/v1/flush')
  const { source, databases } = await lookUp(snapshot, address, context.nowMs)
  const question = questionOf(new CommandArguments({}, []), snapshot, source, status, nowMs)
  const explanation = explain(snapshot, storedOverlay(snapshot), question)
  const files = await inspectCertificates(snapshot, nowMs)
  const certificates = status?.certificates ?? files.certificates
  const store = openStore(snapshot)
  try {
    const sinceMs = nowMs - LOOK_BACK_MS
    const activity =
      store === undefined ? null : summariseActivity(store.ledger.ofSource(address.text, sinceMs), sinceMs)
    const events = store === undefined ? [] : newestEvents(store, address, sinceMs)
    const refusals = events.filter(event => event.reference !== null && event.reason !== null)
    const down = snapshot.names.filter(name => !upstreamUp(status)(name.upstream)).map(name => name.host)
    return {
      databases,
      activity,
      refusals,
      certificates,
      status,
      evidence: {
        address: address.text,
        explanation,
        activity,
        ruleHit: ruleHitOf(refusals),
        handshakeProblem: handshakeProblemOf(events),
        upstreamsDown: status === undefined ? null : down,
        certificateProblem: certificateProblem(certificates, snapshot, nowMs),
        ...(status === undefined
          ? {}
          : { heartbeatListeners: heartbeatFacts(status, explanation.standing.site?.id ?? null) }),
        publicHost: snapshot.names[0]?.host ?? null,
        commandOptions: commandOptions(args),
        nowMs,
      },
    }
  } finally {
    store?.close()
  }
}

function heartbeatFacts({ heartbeats }: GateStatus, site: string | null): readonly HeartbeatListenerFacts[] {
  return heartbeats.map(({ listener, upstream, connector, sites }) => ({
    listener,
    upstream,
    connectorTrouble: connector?.trouble ?? null,
    awaySinceMs: connector === null || connector.trouble === null ? null : connector.sinceMs,
    portClosed: connector?.portClosed ?? false,
    site: sites.find(entry => entry.site === site) ?? null,
  }))
}

function newestEvents(store: StoreReader, address: Address, sinceMs: number): readonly StoredEvent[] {
  const range = parseCidr(address.text)
  return typeof range === 'string' ? [] : store.events.find({ range, sinceMs, limit: 200 })
}

function handshakeProblemOf(events: readonly StoredEvent[]): string | null {
  const newest = events.find(event => event.name === 'handshake.failed')
  const words = newest?.fields['problem']
  return typeof words === 'string' && words !== '' ? words : null
}

/** The enforcing hit of the newest refusal by a rule; null: none of them is one. */
export function ruleHitOf(refusals: readonly StoredEvent[]): Evidence['ruleHit'] {
  for (const { fields } of refusals) {
    if (fields['reason'] !== 'rule') continue
    const hits = fields['hits']
    const list = Array.isArray(hits) ? (hits as readonly RuleHit[]) : []
    const refusing = list.find(isEnforced)
    if (refusing === undefined) continue
    // A score is reached by several rules together: the one that gave most is the one to look at first.
    const [most, ...others] = list
      .filter(hit => hit !== refusing && hit.score > 0 && gaveTo(refusing, hit))
      .toSorted((a, b) => b.score - a.score)
    const hit = most ?? refusing
    return {
      ruleId: hit.ruleId,
      field: hit.field,
      alsoIn: hit.alsoIn ?? [],
      path: String(fields['path']),
      class: String(fields['class']),
      seen: seenOf(hit),
      others: others.map(({ ruleId, field, alsoIn = [] }) => ({ ruleId, field, alsoIn })),
    }
  }
  return null
}

/** The rule of the gate itself that refuses when others have given enough points. */
const SCORE = 'score-threshold'

/** Whether a hit gave points to a rule that refuses by points: the gate's own, or the one of an imported rule set. */
function gaveTo(refusing: RuleHit, { ruleId }: RuleHit): boolean {
  if (refusing.ruleId === SCORE) return true
  const set = /^.+-(?=\d+$)/.exec(refusing.ruleId)?.[0]
  return refusing.score > 0 && set !== undefined && ruleId.startsWith(set)
}

function isEnforced(hit: unknown): hit is RuleHit {
  return (
    typeof hit === 'object' &&
    hit !== null &&
    'mode' in hit &&
    hit.mode === 'enforce' &&
    'exception' in hit &&
    hit.exception === null
  )
}

/** Value and decoding of a stored hit; events of older versions have no steps. */
function seenOf({ value, steps }: Partial<RuleHit>): string | null {
  if (typeof value !== 'string' || value === '') return null
  const decoded = Array.isArray(steps) && steps.length > 0 ? ` (decoded: ${steps.join(', ')})` : ''
  return `${JSON.stringify(value)}${decoded}`
}

/** A certificate that every client refuses. Development certificates are a choice, not a fault. */
function certificateProblem(
  certificates: readonly CertificateState[],
  snapshot: Snapshot,
  nowMs: number,
): string | null {
  for (const name of snapshot.names) {
    const own = certificates.filter(entry => entry.name === name.host)
    if (own.length > 0 && own.every(entry => entry.validToMs < nowMs)) {
      return `the certificate of ${name.host} ended on ${new Date(own[0]?.validToMs ?? 0).toISOString().slice(0, 10)}`
    }
  }
  return null
}
