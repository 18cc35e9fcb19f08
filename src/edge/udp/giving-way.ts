// Which flow of a full table gives way to a new one: never one that has proved to be more than a forged datagram. Pure.

/** What is asked of a flow. */
export type Yielding = {
  /** It came again a second later. */
  readonly confirmed: boolean
  readonly lastReplyMs: number | null
  /** Its source is a site of the policy, or had a flow that was confirmed and answered. */
  readonly known: boolean
}

/** Flows in the order of their opening, by how little speaks for them. */
export class GivingWay<Flow extends Yielding> {
  /** Sent once and were never answered: forged ones, and agents of which nothing is known yet. */
  readonly #mute = new Set<Flow>()
  /** Sent once, and the server had an answer. */
  readonly #answered = new Set<Flow>()
  /** Came again without ever being answered, from a source that nobody knows. */
  readonly #doubtful = new Set<Flow>()
  /** Sent once, from a known source. */
  readonly #newKnown = new Set<Flow>()

  /** To be called whenever a flow opens, or something of it changes. */
  place(flow: Flow): void {
    const set = this.#setOf(flow)
    if (set?.has(flow) === true) return
    this.remove(flow)
    set?.add(flow)
  }

  remove(flow: Flow): void {
    for (const set of [this.#mute, this.#answered, this.#doubtful, this.#newKnown]) set.delete(flow)
  }

  /**
   * The flow that gives way next to a newcomer; undefined: none may.
   * @param known whether the source of the newcomer is known: nobody else displaces known sources, or those that came again
   * @param isDoubtTold whether never being answered says anything: the server answers others
   */
  next(known: boolean, isDoubtTold: boolean): Flow | undefined {
    const [oldest] = this.#mute.size > 0 ? this.#mute : this.#answered
    if (oldest !== undefined || !known) return oldest
    const [last] = isDoubtTold && this.#doubtful.size > 0 ? this.#doubtful : this.#newKnown
    return last
  }

  #setOf({ confirmed, lastReplyMs, known }: Flow): Set<Flow> | null {
    if (known) return confirmed ? null : this.#newKnown
    if (confirmed) return lastReplyMs === null ? this.#doubtful : null
    return lastReplyMs === null ? this.#mute : this.#answered
  }
}

/** Sources that have had a flow that was confirmed and answered; the longest unseen is forgotten first. */
export class KnownSources {
  readonly #sources = new Set<string>()
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  has(source: string): boolean {
    return this.#sources.has(source)
  }

  add(source: string): void {
    this.#sources.delete(source)
    if (this.#sources.size >= this.#most) {
      const [oldest] = this.#sources
      if (oldest !== undefined) this.#sources.delete(oldest)
    }
    this.#sources.add(source)
  }
}
