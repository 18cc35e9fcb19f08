// What a source met on listeners for raw TCP, explained, and what to do about it.
import { REASONS, type Reason } from '../policy/reasons.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { StreamListener } from '../policy/streams.ts'
import type { OutcomeCount } from './activity.ts'
import { fixContext, problem, subjectOf, witnessed, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix, onGate, type Fix } from './fix.ts'
import { remedyOf, trust } from './fixes.ts'
import { settled } from './settled.ts'

/** Reasons that only raw TCP has. */
const STREAM_REASONS = [
  'tls-on-plain',
  'service-unknown',
  'netsupport-elsewhere',
  'port-internal',
  'source-not-invited',
  'pc-away',
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
    case 'port-internal': {
      if (evidence.explanation.standing.trusted !== null)
        return settled(`${address} was refused because ${REASONS[kind].because} (${times})`)
      const [saw = '', why] = (evidence.newest.get(kind)?.saw ?? '').split(': ')
      return problem(
        'port',
        `${address} was refused on ${saw === '' ? on : `${saw} of ${on}`} ${times}, which is open to trusted addresses only${why === undefined ? '' : `: ${why}`}.`,
        internalPort(evidence),
        seen,
      )
    }
    case 'service-unknown': {
      const saw = evidence.newest.get(kind)?.saw ?? ''
      return problem(
        'protocol',
        `${address} reaches stream ${on}, but what it sends${saw === '' ? '' : ` (${saw})`} belongs to no service there (${times}): probably a program on the wrong port.`,
        wrongPort(evidence),
        seen,
      )
    }
    case 'pc-away': {
      const saw = evidence.newest.get(kind)?.saw ?? ''
      return problem(
        'upstream',
        `${address} was reset on ${on} ${times}, because ${REASONS[kind].because}${saw === '' ? '' : ` (${saw})`}.`,
        remedyOf(kind),
        seen,
      )
    }
    case 'source-not-invited':
      return problem(
        'port',
        `${address} was refused on ${on} ${times} because ${REASONS[kind].because}.`,
        remedyOf(kind),
        seen,
      )
    case 'netsupport-elsewhere':
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

/** Ports that databases and the like have: safe for people inside, not for the internet. */
function internalPort(evidence: Evidence): Fix {
  return makeFix(
    [
      'Best: let this program reach the server over a VPN, not through the gate.',
      'If the address is your own (an office with technicians), trust it. Trusted addresses reach every class that is not closed:',
    ],
    trust(fixContext(evidence)),
  )
}

/** Which port is for what: most wrong ones are a neighbour. */
function wrongPort({ explanation }: Evidence): Fix {
  const { listeners, streams } = explanation.standing.snapshot
  const ports = [
    ...listeners.map(({ id, endpoints }) => ({ id, what: 'HTTPS: agents and consoles', endpoints })),
    ...streams.map(({ id, product, endpoints }) => ({ id, what: product ?? 'raw TCP', endpoints })),
  ].filter(entry => entry.endpoints.length > 0)
  return makeFix([
    'Which program is it? Set it to the port of its own product. This gate has:',
    ...ports
      .slice(0, MAX_PORTS)
      .map(({ id, what, endpoints }) => `  ${id}: port ${portsOf(endpoints)} (${what})`),
    'If the program is right here, add its service to the stream in portcullis.yaml.',
  ])
}

const MAX_PORTS = 12

function portsOf(endpoints: readonly { readonly port: number }[]): string {
  const ports = [...new Set(endpoints.map(({ port }) => port))]
  return `${ports.slice(0, 8).join(', ')}${ports.length > 8 ? ', ...' : ''}`
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
