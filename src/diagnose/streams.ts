// What a source met on listeners for raw TCP, explained, and what to do about it.
import { REASONS, type Reason } from '../policy/reasons.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { StreamListener } from '../policy/streams.ts'
import type { OutcomeCount } from './activity.ts'
import { fixContext, problem, subjectOf, witnessed, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix, onGate, type Fix } from './fix.ts'
import { remedyOf } from './fixes.ts'

/** Reasons that only raw TCP has. */
const STREAM_REASONS = [
  'tls-on-plain',
  'service-unknown',
  'netsupport-elsewhere',
  'port-internal',
  'source-not-invited',
  'stream-limit-source',
  'stream-limit-site',
  'stream-limit-total',
  'stream-limit-class',
] as const
/** A reason that only raw TCP has. */
export type StreamReason = (typeof STREAM_REASONS)[number]

/** Whether only raw TCP has the reason. */
export function isStreamReason(reason: Reason): reason is StreamReason {
  return (STREAM_REASONS as readonly Reason[]).includes(reason)
}

/** Says what a refusal on a stream listener means. */
export function streamOutcome(
  kind: StreamReason,
  outcome: OutcomeCount,
  evidence: Evidence,
  times: string,
): Diagnosis {
  const address = subjectOf(evidence)
  const { snapshot } = evidence.explanation.standing
  const on = outcome.listeners.join(', ')
  const seen = [witnessed(evidence, kind)]
  switch (kind) {
    case 'tls-on-plain':
      return problem(
        'plaintext',
        `${address} speaks TLS on ${on}, behind which nothing does (${times}): the setting differs between it and the server.`,
        tlsOnPlain(snapshot, outcome.listeners),
        seen,
      )
    case 'stream-limit-source':
    case 'stream-limit-site':
    case 'stream-limit-total':
    case 'stream-limit-class':
      return problem(
        'capacity',
        `${address} was refused on ${on} ${times} because ${REASONS[kind].because}.`,
        roomFor(kind, outcome, evidence),
        seen,
      )
    case 'service-unknown':
    case 'netsupport-elsewhere':
    case 'port-internal':
    case 'source-not-invited':
      return problem(
        'protocol',
        `${address} was refused on ${on} ${times} because ${REASONS[kind].because}.`,
        remedyOf(kind),
        seen,
      )
  }
}

/** A server of raw TCP that did not answer; null: it was not raw TCP. */
export function streamServerDown(outcome: OutcomeCount, evidence: Evidence, times: string): Diagnosis | null {
  const { streams } = evidence.explanation.standing.snapshot
  const known = streams.filter(({ id }) => outcome.listeners.includes(id))
  if (known.length === 0) return null
  const saw = evidence.newest.get('upstream-down')?.saw ?? ''
  return problem(
    'upstream',
    `${subjectOf(evidence)} was reset on ${known.map(({ id }) => id).join(', ')} ${times}, because no server behind it could be reached${saw === '' ? '' : ` (${saw})`}.`,
    serverFix(known, evidence),
    [witnessed(evidence, 'upstream-down')],
  )
}

function serverFix(known: readonly StreamListener[], evidence: Evidence): Fix {
  const { commandOptions } = fixContext(evidence)
  return makeFix([
    onGate(`bin/portcullis status${commandOptions}`, 'See which server is down, and since when: '),
    ...known.map(
      ({ id, at }) =>
        `Is the service of ${id} running, does it listen on that port, and does its firewall let the gate in? Its address is set at ${formatSourceLine(at)}.`,
    ),
    'Clients come back by themselves.',
  ])
}

function tlsOnPlain(snapshot: Snapshot, listeners: readonly string[]): Fix {
  const known = snapshot.streams.find(entry => listeners.includes(entry.id))
  const off = 'Switch TLS (SSL) off at this client: every other side of this service speaks plain text.'
  if (known === undefined || known.product !== null) return makeFix([off])
  return makeFix(
    [off, 'If the server speaks TLS after all, let it pass:'],
    `streams:\n  ${known.id}: { speaks: any }\n`,
  )
}

function roomFor(kind: StreamReason, { listeners, classes }: OutcomeCount, evidence: Evidence): Fix {
  const { commandOptions, site } = fixContext(evidence)
  const { standing } = evidence.explanation
  const find = onGate(`bin/portcullis status --connections${commandOptions}`, 'See who holds them first: ')
  const known = standing.snapshot.streams.find(({ id }) => listeners.includes(id))
  if (kind === 'stream-limit-class') {
    const lines = classes.map(name => {
      const policy = site?.classes.get(name) ?? standing.snapshot.classes.get(name)
      return `  ${name}: { limits: { concurrentPerSource: ${2 * (policy?.limits.concurrentPerSource ?? 1)} } }\n`
    })
    return makeFix([find, 'If so many belong there, allow more:'], `classes:\n${lines.join('')}`)
  }
  if (known === undefined) return makeFix([find, REASONS[kind].remedy])
  const [key, now] =
    kind === 'stream-limit-source'
      ? (['connectionsPerSource', known.connectionsPerSource] as const)
      : kind === 'stream-limit-site'
        ? (['connectionsPerSite', known.connectionsPerSite ?? known.connections] as const)
        : (['connections', known.connections] as const)
  return makeFix(
    [find, 'If so many belong there, allow more:'],
    `streams:\n  ${known.id}: { ${key}: ${2 * now} }\n`,
  )
}
