// Paths of the gate's own, on every name that it serves: connectors attach and operators ask below them.
import type { RequestFacts } from './facts.ts'
import { matchesPath } from './path-pattern.ts'
import type { ClassRule } from './snapshot.ts'
import { BUILT_IN } from './source-line.ts'

/** Everything below is answered by the gate and never goes to an upstream. */
export const OWN_PREFIX = '/.well-known/portcullis/'

/**
 * ALPN name that connectors and operators offer beside `http/1.1`: the gate then goes on even when nothing serves the name,
 * because the connector that is just arriving may be the one that serves it. It opens nothing else.
 */
export const OWN_ALPN = 'portcullis'

/** The class line that comes before those of every profile. */
export const OWN_RULE: ClassRule = {
  class: 'relay',
  pattern: OWN_PREFIX.slice(0, -1),
  methods: null,
  webSocket: null,
  at: BUILT_IN,
}

/** Whether a request is for the gate itself. Read without regard to case, so that no spelling of it reaches an upstream. */
export function isOwnPath({ pathFolded }: Pick<RequestFacts, 'pathFolded'>): boolean {
  return pathFolded.startsWith(OWN_RULE.pattern) && matchesPath(OWN_RULE.pattern, pathFolded)
}
