// Questions that pages ask of the store: answered by a thread of its own over a second, read-only connection.
import type { StoreReader } from './store-core.ts'

/** What can be asked; each question takes and gives plain data. */
export type StoreQuestions = {
  readonly eventsByReference: StoreReader['events']['byReference']
  readonly findEvents: StoreReader['events']['find']
  readonly searchEvents: StoreReader['events']['search']
  readonly countsByReason: StoreReader['events']['countsByReason']
  readonly ledgerOfSource: StoreReader['ledger']['ofSource']
  readonly trafficByCountry: StoreReader['traffic']['byCountry']
  readonly trafficBySite: StoreReader['traffic']['bySite']
  readonly sitesSeen: StoreReader['traffic']['seen']
  readonly timeline: StoreReader['traffic']['timeline']
  readonly ruleHits: StoreReader['traffic']['ruleHits']
  readonly ruleHours: StoreReader['traffic']['ruleHours']
  readonly countedSinceMs: StoreReader['traffic']['countedSinceMs']
  readonly ruleDetail: StoreReader['ruleHits']['detail']
  readonly ruleAgents: StoreReader['ruleHits']['agents']
  readonly siteDevices: StoreReader['devices']['ofRanges']
  readonly unknownSources: StoreReader['devices']['outside']
  readonly tried: StoreReader['detections']['tried']
  readonly size: StoreReader['size']
}

/** To the thread. */
export type Question = {
  readonly id: number
  readonly method: keyof StoreQuestions
  readonly args: readonly unknown[]
}

/** From the thread. */
export type Answer =
  | { readonly id: number; readonly value: unknown; readonly tookMs: number }
  | { readonly id: number; readonly problem: string }

/** The questions, asked of an open store. */
export function questionsOf({
  events,
  ledger,
  traffic,
  ruleHits,
  devices,
  detections,
  size,
}: StoreReader): StoreQuestions {
  return {
    eventsByReference: events.byReference,
    findEvents: events.find,
    searchEvents: events.search,
    countsByReason: events.countsByReason,
    ledgerOfSource: ledger.ofSource,
    trafficByCountry: traffic.byCountry,
    trafficBySite: traffic.bySite,
    sitesSeen: traffic.seen,
    timeline: traffic.timeline,
    ruleHits: traffic.ruleHits,
    ruleHours: traffic.ruleHours,
    countedSinceMs: traffic.countedSinceMs,
    ruleDetail: ruleHits.detail,
    ruleAgents: ruleHits.agents,
    siteDevices: devices.ofRanges,
    unknownSources: devices.outside,
    tried: detections.tried,
    size,
  }
}
