// What becomes of a live connection when the policy in force has changed since its last request.
import { tlsRank } from '../../net/tls-version.ts'
import { decideStanding } from '../../policy/decide-accept.ts'
import { decideHello } from '../../policy/decide-hello.ts'
import type { SourceFacts } from '../../policy/facts.ts'
import type { ConnectionFacts } from '../../policy/standing.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { standingOf } from '../../policy/who.ts'
import type { PolicyInForce, OpenConnection } from '../connection.ts'

/** A connection under another policy: its new facts, and why it may not go on (null: it may). */
export type Renewal = { readonly facts: ConnectionFacts; readonly refusal: Refusal | null }

const NO_LOAD = { openFromSource: 0, openTotal: 0 }

/**
 * Decides accept and hello again for an open connection. Connection limits are not asked: the connection is open already.
 * @param source the source with its country as known now
 */
export function renewStanding(
  connection: OpenConnection,
  old: ConnectionFacts,
  policy: PolicyInForce,
  source: SourceFacts,
  nowMs: number,
): Renewal {
  const { snapshot, overlay } = policy
  const standing = standingOf(snapshot, overlay, source, nowMs)
  const listener = snapshot.listeners.find(entry => entry.id === old.listener.id) ?? old.listener
  const kept: ConnectionFacts = { ...old, standing, listener }
  const accept = decideStanding(standing, { source, listener: listener.id, ...NO_LOAD, nowMs })
  if (!accept.allow) return { facts: kept, refusal: accept.refusal }

  // Whether anything is up is asked when the request is forwarded.
  const hello = decideHello(standing, listener, connection.hello, () => true, nowMs)
  if (!hello.allow) return { facts: kept, refusal: hello.refusal }
  const facts: ConnectionFacts = { ...kept, name: hello.name }
  const minimum = snapshot.tlsProfiles.get(hello.tlsProfile)?.minimum
  if (minimum !== undefined && tlsRank(connection.tls.version) < tlsRank(minimum)) {
    const saw = `negotiated ${connection.tls.version}, now at least ${minimum}`
    return { facts, refusal: { reason: 'tls-version-too-low', stage: 'tls', saw, line: hello.name.at } }
  }
  return { facts, refusal: null }
}
