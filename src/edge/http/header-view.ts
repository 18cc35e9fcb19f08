// A case-insensitive view over a flat header list; it pays for an index only when asked often.
import type { HeaderView } from '../../policy/facts.ts'

const LOOKUPS_BEFORE_INDEX = 4

/** View over headers as they were parsed. */
export class FlatHeaders implements HeaderView {
  readonly raw: readonly string[]
  #lookups = 0
  #index: Map<string, string> | null = null

  constructor(raw: readonly string[]) {
    this.raw = raw
  }

  /** First value of the header with this lower-case name. */
  get(name: string): string | undefined {
    if (this.#index !== null) return this.#index.get(name)
    if (++this.#lookups > LOOKUPS_BEFORE_INDEX) return this.#buildIndex().get(name)
    const { raw } = this
    for (let at = 0; at < raw.length; at += 2) {
      const candidate = raw[at] as string
      if (candidate.length === name.length && (candidate === name || candidate.toLowerCase() === name))
        return raw[at + 1]
    }
    return undefined
  }

  /** Number of headers with this lower-case name. */
  count(name: string): number {
    let found = 0
    for (let at = 0; at < this.raw.length; at += 2) if (this.raw[at]?.toLowerCase() === name) found++
    return found
  }

  #buildIndex(): Map<string, string> {
    const index = new Map<string, string>()
    for (let at = 0; at < this.raw.length; at += 2) {
      const name = (this.raw[at] as string).toLowerCase()
      if (!index.has(name)) index.set(name, this.raw[at + 1] as string)
    }
    this.#index = index
    return index
  }
}
