// Remembers what rules have said of heads: agents of a product send the same few heads all day.
import type { RequestFacts } from '../policy/facts.ts'
import type { CompiledRule } from './compiled-rule.ts'
import { isSecretName } from './redact.ts'

/** What is known of a head. Only what follows from the head alone, whoever sent it, may stand here. */
export type KnownHead = {
  /** Rules that can fire, in their order; null: not picked yet. */
  inPlay: readonly CompiledRule[] | null
  /** Numbers of rules that were asked and do not hold. */
  readonly quiet: Set<number>
}

const MAX_HEADS = 1_024
const MAX_CHARACTERS = 512

/** Heads that came before. Memory is bounded, and dropped as a whole when it is full. */
export class KnownHeads {
  readonly #heads = new Map<string, KnownHead>()

  /** What is known of the head of a request; null: it is none that is remembered, for its length, its query or its secrets. */
  of(facts: RequestFacts): KnownHead | null {
    // Requests with a query are hardly ever the same twice.
    if (facts.query !== '') return null
    const key = keyOf(facts)
    if (key.length > MAX_CHARACTERS) return null
    const known = this.#heads.get(key)
    if (known !== undefined) return known
    const { raw } = facts.headers
    for (let at = 0; at < raw.length; at += 2) if (isSecretName((raw[at] ?? '').toLowerCase())) return null
    if (this.#heads.size >= MAX_HEADS) this.#heads.clear()
    const head: KnownHead = { inPlay: null, quiet: new Set() }
    this.#heads.set(key, head)
    return head
  }
}

/** Everything that rules can read of a head. Lengths come first, so that no two heads have one key. */
function keyOf({ method, host, target, path, webSocket, headers: { raw } }: RequestFacts): string {
  let key = `${webSocket ? 'w' : ''}${method.length} ${host.length} ${target.length} ${path.length} ${method}${host}${target}${path}`
  for (let at = 0; at < raw.length && key.length <= MAX_CHARACTERS; at++) {
    const text = raw[at] as string
    key += `${text.length} ${text}`
  }
  return key
}
