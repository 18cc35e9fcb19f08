// Which parts of a request a condition cannot hold without, as a set of bits: most requests lack most of them.
import type { HeaderView } from '../policy/facts.ts'
import type { FieldSource } from './fields/spec.ts'

/** A set of parts of a request. */
export type Sources = number

/** No request at all can make it hold. */
const NEVER: Sources = 0
/** Every request has this, so that it says nothing. */
export const ALWAYS: Sources = 1
const QUERY: Sources = 2
const BODY: Sources = 4

const FIRST_HEADER_BIT = 3
const MAX_BITS = 30

/** Gives header names their bits; one for all rules of a set. Names that find no bit left are taken for always there. */
export class SourceBits {
  readonly #headers: { readonly name: string; readonly bit: Sources }[] = []
  /** The same by length of the name, since most headers are in no rule. */
  #byLength: (readonly { readonly name: string; readonly bit: Sources }[])[] = []

  /** What must be there for a field to have a value. */
  of(source: FieldSource): Sources {
    if (typeof source === 'object') return this.#header(source.header)
    switch (source) {
      case 'query':
        return QUERY
      case 'body':
        return BODY
      case 'query-or-body':
        return QUERY | BODY
      case 'always':
        return ALWAYS
    }
  }

  /** What a request has. */
  present(query: string, headers: HeaderView, hasBody: boolean): Sources {
    let present = ALWAYS | (query === '' ? 0 : QUERY) | (hasBody ? BODY : 0)
    const { raw } = headers
    for (let at = 0; at < raw.length; at += 2) {
      const received = raw[at] as string
      const sameLength = this.#byLength[received.length]
      if (sameLength === undefined) continue
      const folded = received.toLowerCase()
      for (const { name, bit } of sameLength) if (name === folded) present |= bit
    }
    return present
  }

  #header(name: string): Sources {
    const known = this.#headers.find(entry => entry.name === name)
    if (known !== undefined) return known.bit
    const place = FIRST_HEADER_BIT + this.#headers.length
    if (place >= MAX_BITS) return ALWAYS
    const bit = 1 << place
    this.#headers.push({ name, bit })
    this.#byLength = []
    for (const entry of this.#headers) {
      this.#byLength[entry.name.length] = [...(this.#byLength[entry.name.length] ?? []), entry]
    }
    return bit
  }
}

/** What all of several conditions together need: the one that is most rarely there. */
export function neededByAll(parts: readonly Sources[]): Sources {
  let best = ALWAYS
  for (const part of parts) {
    if (part === NEVER) return NEVER
    if (rank(part) < rank(best)) best = part
  }
  return best
}

/** What one of several conditions needs at least. */
export function neededByAny(parts: readonly Sources[]): Sources {
  return parts.reduce((all, part) => all | part, NEVER)
}

function rank(sources: Sources): number {
  if ((sources & ALWAYS) !== 0) return MAX_BITS + 1
  let bits = 0
  for (let rest = sources; rest !== 0; rest &= rest - 1) bits++
  return bits
}
