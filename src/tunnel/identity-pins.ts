// Which identity belongs to which client name: trusted on first use, in force once it has proven to last, forgotten on request.
import type { IdentityMode, IdentityRefusal } from '../policy/gateway-policy.ts'
import type { IdentityClaim } from './client-identity.ts'

/** The identity that a name of a key has. */
export type IdentityPin = {
  /** Name of the gateway key. */
  readonly key: string
  /** Name of the client as it was written when it was pinned; other case is the same name. */
  readonly name: string
  readonly identity: string
  /**
   * Whether the identity was there before the process that showed it. One that was made just now may be gone with the next
   * start (a container without a volume): its name must not be lost with it.
   */
  readonly confirmed: boolean
  readonly sinceMs: number
}

/** Who asks to be let in under a name. */
export type IdentityQuestion = {
  readonly key: string
  readonly name: string
  readonly claim: IdentityClaim
  readonly mode: IdentityMode
  /** The identity that the policy itself names for this client; null: it names none. */
  readonly named: string | null
  readonly nowMs: number
  /** Whether a client of this key and name, in any case, is attached now with this identity. */
  readonly isAttached: (identity: string) => boolean
}

/** What to say about a name that was let in. `full`: it is not pinned, because there are too many. */
export type IdentityNote = 'pinned' | 'changed' | 'unproven' | 'full' | null

/** The answer. `pinned`: the identity that the name has, as far as there is one. */
export type IdentityAnswer =
  | {
      readonly ok: true
      readonly identity: string | null
      readonly note: IdentityNote
      readonly pinned: string | null
    }
  | { readonly ok: false; readonly why: IdentityRefusal; readonly pinned: string | null }

/** Where pins are kept. */
export type PinStore = {
  readonly load: () => readonly IdentityPin[]
  readonly keep: (pin: IdentityPin) => void
  readonly drop: (pin: IdentityPin) => void
}

/** The pins. */
export type IdentityPins = {
  readonly list: () => readonly IdentityPin[]
  readonly admit: (question: IdentityQuestion) => IdentityAnswer
  /** Forgets a name; of one key, or of all when that is null. Returns what was forgotten. */
  readonly forget: (name: string, key: string | null) => readonly IdentityPin[]
  /** Forgets every name of a key. */
  readonly forgetKey: (key: string) => void
}

/** Names that may be pinned, of one key and in all. Who holds one key cannot use up the room of another. */
const MAX_PINS_OF_KEY = 20_000
const MAX_PINS = 100_000

/** Opens the pins. */
export function createIdentityPins(
  store: PinStore,
  limits = { ofKey: MAX_PINS_OF_KEY, inAll: MAX_PINS },
): IdentityPins {
  const pins = new Map<string, IdentityPin>()
  const ofKey = new Map<string, number>()
  const put = (pin: IdentityPin): void => {
    const slot = slotOf(pin.key, pin.name)
    if (!pins.has(slot)) ofKey.set(pin.key, (ofKey.get(pin.key) ?? 0) + 1)
    pins.set(slot, pin)
  }
  for (const pin of store.load()) put(pin)

  const keep = (pin: IdentityPin): void => {
    put(pin)
    store.keep(pin)
  }
  const drop = (pin: IdentityPin): void => {
    if (!pins.delete(slotOf(pin.key, pin.name))) return
    const left = (ofKey.get(pin.key) ?? 1) - 1
    if (left === 0) ofKey.delete(pin.key)
    else ofKey.set(pin.key, left)
    store.drop(pin)
  }

  const first = ({ key, name, claim, nowMs }: IdentityQuestion): IdentityAnswer => {
    if (claim === null) return { ok: true, identity: null, note: null, pinned: null }
    if (claim === 'invalid') return { ok: true, identity: null, note: 'unproven', pinned: null }
    const { text: identity, kept: confirmed } = claim
    if (pins.size >= limits.inAll || (ofKey.get(key) ?? 0) >= limits.ofKey)
      return { ok: true, identity, note: 'full', pinned: null }
    keep({ key, name, identity, confirmed, sinceMs: nowMs })
    return { ok: true, identity, note: confirmed ? 'pinned' : null, pinned: identity }
  }

  return {
    list: () => [...pins.values()],
    admit: question => {
      const { key, name, claim, mode, named, nowMs } = question
      const shown = claim === null || claim === 'invalid' ? null : claim
      const refuse = (why: IdentityRefusal, pinned: string | null): IdentityAnswer => ({
        ok: false,
        why,
        pinned,
      })
      if (named !== null)
        return shown?.text === named
          ? { ok: true, identity: named, note: null, pinned: named }
          : refuse(claim === 'invalid' ? 'invalid' : 'policy', named)
      if (mode === 'off') return { ok: true, identity: shown?.text ?? null, note: null, pinned: null }
      const pin = pins.get(slotOf(key, name))
      const pinned = pin?.identity ?? null
      if (shown === null && (mode === 'require' || pin?.confirmed === true))
        return refuse(claim === 'invalid' ? 'invalid' : 'missing', pinned)
      if (pin === undefined) return first(question)
      if (shown?.text === pin.identity) {
        if (pin.confirmed || !shown.kept) return { ok: true, identity: shown.text, note: null, pinned }
        keep({ ...pin, confirmed: true })
        return { ok: true, identity: shown.text, note: 'pinned', pinned }
      }
      if (pin.confirmed) return refuse('other', pinned)
      // Not proven to last, but there: whoever else comes must wait until it is gone, which a dead connection is in seconds.
      if (question.isAttached(pin.identity)) return refuse('attached', pinned)
      if (shown === null)
        return { ok: true, identity: null, note: claim === 'invalid' ? 'unproven' : null, pinned }
      keep({ key, name, identity: shown.text, confirmed: shown.kept, sinceMs: nowMs })
      return { ok: true, identity: shown.text, note: 'changed', pinned }
    },
    forget: (name, key) => {
      const found = [...pins.values()].filter(
        pin => pin.name.toLowerCase() === name.toLowerCase() && (key === null || pin.key === key),
      )
      for (const pin of found) drop(pin)
      return found
    },
    forgetKey: key => {
      if (!ofKey.has(key)) return
      for (const pin of pins.values()) if (pin.key === key) drop(pin)
    },
  }
}

/** Names of computers know no case: `pc-17` must not stand beside `PC-17` with another identity. */
function slotOf(key: string, name: string): string {
  return `${key}\0${name.toLowerCase()}`
}
