// Compiles the UDP listeners for heartbeats, and finds what would keep datagrams from passing.
import type { TrafficClass } from '../policy/classes.ts'
import type { GatewayPolicy } from '../policy/gateway-policy.ts'
import type { ClassPolicy, Endpoint, HeartbeatListener } from '../policy/snapshot.ts'
import { resolveConnector } from './compile-gateway.ts'
import { isThisMachine } from './compile-upstreams.ts'
import type { Reporter } from './context.ts'
import { endpointText } from './describe.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'

/**
 * Compiles the heartbeat listeners. UDP ports are apart from TCP ports, so they collide only with each other.
 * @param usualEveryMs how often agents send, as the profile of the policy states it; null: it does not
 */
export function compileHeartbeats(
  written: WrittenPolicy,
  gateway: GatewayPolicy,
  classes: ReadonlyMap<TrafficClass, ClassPolicy>,
  usualEveryMs: number | null,
  report: Reporter,
): readonly HeartbeatListener[] {
  const placed: { readonly endpoint: Endpoint; readonly id: string }[] = []
  const out = Object.entries(written.heartbeats).flatMap(([id, entry]): readonly HeartbeatListener[] => {
    const path: Path = ['heartbeats', id]
    if (Object.hasOwn(written.listeners, id)) {
      report.error(path, `there is a listener ${id} already`, 'events tell listeners apart by their id')
    }
    for (const [index, endpoint] of entry.address.entries()) {
      const other = placed.find(before => collide(before.endpoint, endpoint))
      if (other !== undefined) {
        report.error(
          [...path, 'address', ...(entry.address.length > 1 ? [index] : [])],
          `UDP ${endpointText(endpoint)} is taken by heartbeats ${other.id} (${endpointText(other.endpoint)})`,
          'choose another port',
        )
      }
      placed.push({ endpoint, id })
    }
    const upstream =
      'connector' in entry.upstream
        ? resolveConnector(entry.upstream, gateway, [...path, 'upstream'], report)
        : entry.upstream
    // Reported already: the policy is not valid.
    if (upstream === null) return []
    if (!('connector' in upstream) && (upstream.port === 0 || isAny(upstream.host))) {
      report.error(
        [...path, 'upstream'],
        `${endpointText(upstream)} is no address of a server`,
        'for example 10.0.0.5:75',
      )
    }
    const at = report.at(path)
    return [
      {
        id,
        endpoints: entry.address,
        upstream,
        idleMs: entry.idle,
        datagramBytes: entry.datagramSize,
        flows: entry.flows,
        flowsPerSource: entry.flowsPerSource,
        newFlows: entry.newFlows,
        newFlowsPerSource: entry.newFlowsPerSource,
        expectedEveryMs: entry.expectedEvery ?? usualEveryMs,
        replyRatio: entry.replyRatio,
        expectsReplies: entry.replies === 'expected',
        at,
      },
    ]
  })
  for (const { id, upstream } of out) {
    if ('connector' in upstream) continue
    const self = placed.find(({ endpoint }) => isSelf(endpoint, upstream))
    if (self !== undefined) {
      report.error(
        ['heartbeats', id, 'upstream'],
        `${endpointText(upstream)} is heartbeats ${self.id} of this gate: datagrams would go in a circle`,
      )
    }
  }
  adviseHeartbeats(out, classes.get('heartbeat'), report)
  return out
}

function adviseHeartbeats(
  listeners: readonly HeartbeatListener[],
  policy: ClassPolicy | undefined,
  report: Reporter,
): void {
  if (policy === undefined) return
  for (const entry of listeners) {
    const { id, idleMs, flows, flowsPerSource, newFlows, newFlowsPerSource, expectedEveryMs } = entry
    const path: Path = ['heartbeats', id]
    if (policy.keys.length > 0) {
      report.warn(path, 'class heartbeat asks for a key, and datagrams carry none: untrusted agents are lost')
    }
    if (policy.access.value === 'closed') {
      report.warn(path, 'class heartbeat is closed: every datagram is refused')
    }
    if (policy.minimumTls !== null) {
      report.warn(path, 'class heartbeat asks for a TLS version, and datagrams are not encrypted: they pass')
    }
    if (idleMs < 120_000) {
      report.warn(
        [...path, 'idle'],
        'servers answer a client up to two minutes after it was heard last',
        'at least 120s (RFC 4787)',
      )
    }
    if (expectedEveryMs !== null && idleMs < 3 * expectedEveryMs) {
      report.warn(
        [...path, 'idle'],
        'a client is forgotten before it counts as gone',
        'at least three times expectedEvery',
      )
    }
    if (flowsPerSource > flows) {
      report.warn([...path, 'flowsPerSource'], `one address could take all ${flows} flows`)
    }
    if (newFlowsPerSource > newFlows) {
      report.warn(
        [...path, 'newFlowsPerSource'],
        `one address could take all ${newFlows} new flows per second`,
      )
    }
  }
}

function collide(a: Endpoint, b: Endpoint): boolean {
  if (a.port !== b.port || a.port === 0) return false
  return a.host === b.host || takesAll(a.host, b.host) || takesAll(b.host, a.host)
}

// The gate opens [::] for both families unless 0.0.0.0 has the port as well.
function takesAll(any: string, host: string): boolean {
  return (any === '::' && host !== '0.0.0.0') || (any === '0.0.0.0' && !host.includes(':'))
}

function isSelf(endpoint: Endpoint, upstream: Endpoint): boolean {
  if (endpoint.port !== upstream.port || endpoint.port === 0) return false
  return endpoint.host === upstream.host || (isAny(endpoint.host) && isThisMachine(upstream.host))
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}
