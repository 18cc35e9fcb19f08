// Findings about clients of the gateway (connectors): a key that is none, or no place left. Pure.
import { fixContext, problem, subjectOf, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix, onGate } from './fix.ts'

/** The newest event of a client is that it was turned away. */
export type ClientTrouble = {
  readonly client: string
  readonly kind: 'key' | 'capacity'
  readonly atMs: number
  /** Address that the client says it has inside its network. */
  readonly realAddress: string
  /** Clients that its key may have; null: it was not about that. */
  readonly max: number | null
}

/** A client behind the address that was turned away last. */
export function clientTrouble(evidence: Evidence): Diagnosis | null {
  const [trouble] = evidence.clientTroubles ?? []
  if (trouble === undefined) return null
  const { client, kind, atMs, realAddress, max } = trouble
  const { commandOptions } = fixContext(evidence)
  const who = `The client ${client} at ${subjectOf(evidence)}`
  const seen = [{ atMs, text: `client ${client} (${realAddress} inside its network) was turned away` }]
  if (kind === 'capacity') {
    return problem(
      'capacity',
      `${who} is turned away, because its gateway key has ${max ?? 'all'} clients already, as many as it may.`,
      makeFix([
        onGate(`bin/portcullis clients${commandOptions}`, 'Who is attached: '),
        'Stop one that is not needed, or give the client a key of its own with more room:',
        onGate(`bin/portcullis keys add another-name --generate --max-clients 250${commandOptions}`),
      ]),
      seen,
    )
  }
  return problem(
    'key',
    `${who} is turned away, because the gateway key that it presents is none of this gate.`,
    makeFix([
      onGate(`bin/portcullis keys list${commandOptions}`, 'Which keys there are: '),
      'A key is shown only once. If it is lost, make another one and put it into the key file of the client, without blanks:',
      onGate(`bin/portcullis keys add another-name --generate${commandOptions}`),
      'Restart the client. After many wrong keys its address is held for a while: wait as long as its log says.',
    ]),
    seen,
  )
}
