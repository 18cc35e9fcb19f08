// Asks the pins about an attaching client, says what came of it as events, and puts a refusal into words that end it.
import type { ClientFields, Reporter } from '../journal/events.ts'
import type { IdentityMode, IdentityRefusal } from '../policy/gateway-policy.ts'
import type { IdentityClaim } from './client-identity.ts'
import type { IdentityPins } from './identity-pins.ts'

/** What the question needs of the gate. */
export type AdmitOptions = {
  readonly pins: IdentityPins
  readonly reporter: Reporter
  readonly mode: () => IdentityMode
  /** The identity that the policy itself names for a client of a key; null: it names none. */
  readonly named: (client: string, key: string) => string | null
  /** Whether a client of this key and name, in any case, is attached with this identity. */
  readonly isAttached: (client: string, key: string, identity: string) => boolean
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** Who wants to be let in. The gateway key has been checked. */
export type AdmitRequest = {
  readonly key: string
  readonly name: string
  readonly claim: IdentityClaim
  readonly realAddress: string
  readonly from: ClientFields
}

/** Let in with this identity, or words for the client. */
export type Admitted =
  | { readonly ok: true; readonly identity: string | null }
  | {
      readonly ok: false
      readonly code: string
      readonly message: string
      readonly remedy: string
      readonly retryAfterSeconds?: number
    }

/** Makes the function that decides. */
export function createAdmit(options: AdmitOptions): (request: AdmitRequest) => Admitted {
  const { pins, reporter } = options
  return ({ key, name, claim, realAddress, from }) => {
    const answer = pins.admit({
      key,
      name,
      claim,
      mode: options.mode(),
      named: options.named(name, key),
      nowMs: options.clock(),
      isAttached: identity => options.isAttached(name, key, identity),
    })
    const client = { client: name, key, publicAddress: from.address }
    const identity = claim === null || claim === 'invalid' ? null : claim.text
    if (!answer.ok) {
      const { why, pinned } = answer
      reporter.report('client.identity-refused', { ...client, realAddress, identity, pinned, why })
      const retry = why === 'attached' ? { retryAfterSeconds: 5 } : {}
      return { ok: false, code: `identity-${why}`, ...WORDS[why](name, key), ...retry }
    }
    if (answer.note === 'pinned')
      reporter.report('client.identity-pinned', { ...client, identity: identity ?? '' })
    else if (answer.note === 'changed')
      reporter.report('client.identity-changed', { ...client, identity: identity ?? '' })
    else if (answer.note !== null)
      reporter.report('client.identity-unpinned', { ...client, why: answer.note })
    return { ok: true, identity: answer.identity }
  }
}

type Words = { readonly message: string; readonly remedy: string }

/** How a client is let in again that has lost its identity. */
function again(name: string, key: string): string {
  return `If it was installed anew, say so at the gate: portcullis clients forget ${name} --key ${key} (it is let in within 30 s). If it was not, somebody else uses its gateway key.`
}

const WORDS: Readonly<Record<IdentityRefusal, (name: string, key: string) => Words>> = {
  other: (name, key) => ({
    message: `Client ${name} is known here with another identity.`,
    remedy: again(name, key),
  }),
  missing: (name, key) => ({
    message: `Client ${name} must show its identity, and shows none.`,
    remedy: `Its connector is older than the one before, or cannot use its identity file: its own log says so at the start. ${again(name, key)}`,
  }),
  invalid: name => ({
    message: `The identity of client ${name} does not fit this connection.`,
    remedy:
      'Something between connector and gate breaks TLS open: let the connector reach the gate directly, and pin its key.',
  }),
  attached: (name, key) => ({
    message: `Client ${name} is attached with another identity at this moment.`,
    remedy: `It is tried again by itself. Two connectors with one name need one identity file. ${again(name, key)}`,
  }),
  policy: name => ({
    message: `The policy names another identity for client ${name}.`,
    remedy:
      'bin/connector identity shows the one that it has: correct identity under gateway.connectors in the policy of the gate.',
  }),
}
