// Asks the accept decision for a stream, with what is open now; and again for open streams, when the policy has changed.
import { decideStreamAccept, decideStreamService, NOTHING_OPEN } from '../../policy/decide-stream.ts'
import { BUILT_IN } from '../../policy/source-line.ts'
import type { StreamListener, StreamService } from '../../policy/streams.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { refusal } from '../connection-report.ts'
import type { FirstBytes } from '../first-bytes.ts'
import { readProxyHeader } from '../proxy-protocol.ts'
import type { StreamContext } from './stream-context.ts'
import type { StreamReport } from './stream-report.ts'

/** Reads the PROXY header of a load balancer, which must be there: null when it is, and the report then names the client. */
export function readSource(
  first: FirstBytes,
  report: StreamReport,
  { at }: StreamListener,
): Refusal | 'incomplete' | null {
  const read = readProxyHeader(first.bytes)
  switch (read.kind) {
    case 'incomplete':
      return read.kind
    case 'missing':
      return refusal('proxy-header-missing', 'no PROXY protocol header', at)
    case 'invalid':
      return refusal('proxy-header-invalid', read.problem, at)
    case 'header':
      first.drop(read.bytes)
      report.speaksFor(read.source)
      return null
  }
}

/** Who was let in is counted until `leave` is called. */
export type Admitted = { readonly refused: Refusal | null; readonly leave: () => void }

/** Decides whether the client of the report may open a stream, and counts it when it may. */
export function admitStream(
  listener: StreamListener,
  port: number,
  report: StreamReport,
  { current, lookup, nowMs, counters, isDraining }: StreamContext,
): Admitted {
  const { address } = report
  const { snapshot, overlay } = current()
  const verdict = decideStreamAccept(snapshot, overlay, {
    source: { address, geo: lookup(address) },
    listener,
    port,
    open: counters.of(listener.id, address),
    nowMs: nowMs(),
  })
  report.standing = verdict.standing
  if (verdict.allow) report.tried(verdict.wouldBe)
  const refused = !verdict.allow
    ? verdict.refusal
    : isDraining()
      ? refusal('draining', 'the gate is shutting down', BUILT_IN)
      : null
  return refused === null
    ? { refused, leave: counters.enter(listener.id, address, verdict.standing.site?.id ?? null) }
    : { refused, leave: () => undefined }
}

/** Decides whether the class of a service is open to the client of the report. */
export function judgeService(
  service: StreamService,
  report: StreamReport,
  { counters, nowMs }: StreamContext,
): Refusal | null {
  const openOfClass = counters.ofClass(service.class, report.address)
  const { tls: tlsVersion, listener } = report
  const question = { service, listener, openOfClass, tlsVersion, nowMs: nowMs() }
  const { refusal: refused, wouldBe } = decideStreamService(report.whoever(), question)
  report.tried(wouldBe)
  return refused
}

/** No server of a service could be reached. A PC that is helped is none of the fleet: nobody must look for the cause at the RMM server. */
export function unreachable(listener: StreamListener, { at }: StreamService, problem: string): Refusal {
  return refusal(listener.probes === false ? 'pc-away' : 'upstream-down', problem, at)
}

/** Whether the policy in force would let an open stream in, limits aside. */
export function isStillAdmitted(
  listenerId: string,
  port: number,
  report: StreamReport,
  { current, lookup, nowMs: clock }: StreamContext,
): boolean {
  const { snapshot, overlay } = current()
  const { service, address } = report
  const listener = snapshot.streams.find(entry => entry.id === listenerId)
  if (listener === undefined || service === null) return true
  const nowMs = clock()
  const source = { address, geo: lookup(address) }
  const verdict = decideStreamAccept(snapshot, overlay, { source, listener, port, open: NOTHING_OPEN, nowMs })
  if (!verdict.allow) return false
  const now = listener.services.find(entry => entry.start === service.start) ?? service
  const question = { service: now, listener: listenerId, openOfClass: 0, tlsVersion: report.tls, nowMs }
  return decideStreamService(verdict.standing, question).refusal === null
}
