// Whether the gate is healthy, and if not, what is wrong, worst first, each with the next step.
import { counted, durationText } from './dashboard/components.ts'
import type { GateStatus } from './status.ts'

/** What is known of a gate beside its status. */
export type GateFacts = {
  readonly status: GateStatus
  /** What the policy wants to listen on. */
  readonly listeners: readonly { readonly listener: string; readonly host: string; readonly port: number }[]
  /** Host names that the policy serves. */
  readonly names: readonly string[]
  readonly journal: { readonly usable: boolean; readonly droppedRows: number; readonly usedBytes: number }
  /** What the guard watches; null: nothing. */
  readonly guard: { readonly version: number; readonly previous: number; readonly untilMs: number } | null
}

/** Something that is not as it should be. */
export type Finding = {
  /** `bad`: somebody is, or soon will be, cut off. `warn`: somebody should look. */
  readonly tone: 'bad' | 'warn'
  readonly sentence: string
  readonly next: string
  /** A page that shows more. */
  readonly page: string | null
}

/** Health in one sentence, the same for the command line, the dashboard and whoever watches the gate from outside. */
export type Health = {
  /** `broken`: somebody is, or soon will be, cut off. `attention`: it works, and somebody should look. */
  readonly state: 'healthy' | 'attention' | 'broken'
  readonly headline: string
  /** The worst that is wrong, or that nothing is. */
  readonly sentence: string
  /** Empty: nothing is to be done, or nothing is known that helps. */
  readonly next: string
  /** Everything that is wrong, worst first. */
  readonly findings: readonly Finding[]
}

/** The health of a gate. */
export function healthOf(facts: GateFacts): Health {
  const findings = findingsOf(facts)
  const [first] = findings
  if (first === undefined) {
    return {
      state: 'healthy',
      headline: 'Healthy',
      sentence: 'Everything listens, the RMM server answers, certificates and databases are current.',
      next: '',
      findings,
    }
  }
  const { tone, sentence, next } = first
  return tone === 'bad'
    ? { state: 'broken', headline: 'Needs you now', sentence, next, findings }
    : { state: 'attention', headline: 'Works, with something to look at', sentence, next, findings }
}

const DAY_MS = 86_400_000
/** Age from which a country database is out of date: makers publish monthly, plus two weeks of grace. */
const DATABASE_DAYS = 45
/** How long before its end a trial is a matter of health. */
const TRIAL_WARNING_DAYS = 14

/** What is wrong, worst first; empty: the gate is healthy. */
export function findingsOf(facts: GateFacts): readonly Finding[] {
  const found = [
    ...listenerFindings(facts),
    ...upstreamFindings(facts.status),
    ...streamFindings(facts.status),
    ...certificateFindings(facts),
    ...heartbeatFindings(facts.status),
    ...capacityFindings(facts.status),
    ...databaseFindings(facts.status),
    ...journalFindings(facts),
    ...policyFindings(facts),
  ]
  return [...found.filter(({ tone }) => tone === 'bad'), ...found.filter(({ tone }) => tone === 'warn')]
}

function listenerFindings({ status, listeners }: GateFacts): Finding[] {
  const isOpen = (wanted: GateFacts['listeners'][number]): boolean =>
    status.listeners.some(
      open =>
        open.listener === wanted.listener &&
        open.host === wanted.host &&
        (wanted.port === 0 || open.port === wanted.port),
    )
  return listeners
    .filter(wanted => !isOpen(wanted))
    .map(({ listener, host, port }) => ({
      tone: 'bad',
      sentence: `Listener ${listener} is not open on ${host}:${port}: nobody gets in there.`,
      next: 'Its last event says who holds the port. Free it and reload the policy.',
      page: '/events?name=listener.failed',
    }))
}

function upstreamFindings({ upstreams, nowMs }: GateStatus): Finding[] {
  return [...new Set(upstreams.map(({ group }) => group))].flatMap((group): Finding[] => {
    const members = upstreams.filter(member => member.group === group)
    const down = members.filter(({ state }) => state === 'down')
    const first = down[0]
    if (first === undefined) return []
    const why = first.lastProblem === null ? '' : ` (${first.lastProblem})`
    const since = `for ${durationText(nowMs - first.sinceMs)}`
    if (down.length === members.length) {
      return [
        {
          tone: 'bad',
          sentence: `No server of upstream ${group} is alive: ${first.member} is down ${since}${why}.`,
          next: 'Start the RMM server, or look whether this machine still reaches it. Agents keep trying by themselves.',
          page: '/upstreams',
        },
      ]
    }
    const serving = members.find(member => member.serving)?.member ?? 'another server'
    return [
      {
        tone: 'warn',
        sentence: `${first.member} is down ${since}${why}; ${serving} serves in its place.`,
        next: 'Traffic returns by itself when it has been healthy for a while.',
        page: '/upstreams',
      },
    ]
  })
}

function streamFindings({ streams }: GateStatus): Finding[] {
  return streams.flatMap(({ listener, members }): Finding[] => {
    const first = members.find(({ state }) => state === 'down')
    if (first === undefined || members.some(({ state }) => state !== 'down')) return []
    const why = first.lastProblem === null ? '' : ` (${first.lastProblem})`
    return [
      {
        tone: 'bad',
        sentence: `No server behind stream listener ${listener} is alive: ${first.member} is down${why}.`,
        next: 'Start the service there, or look whether this machine still reaches it.',
        page: '/upstreams',
      },
    ]
  })
}

function certificateFindings({ status, names }: GateFacts): Finding[] {
  const { certificates, nowMs } = status
  const page = '/certificates'
  const missing = names
    .filter(name => !certificates.some(certificate => certificate.name === name))
    .map((name): Finding => ({
      tone: 'bad',
      sentence: `There is no usable certificate for ${name}: TLS fails for everybody who asks for it.`,
      next: 'Put its certificate and key into the certs directory; they are taken up by themselves.',
      page,
    }))
  const ending = certificates.flatMap(({ name, validToMs }): Finding[] => {
    const leftMs = validToMs - nowMs
    if (leftMs >= 14 * DAY_MS) return []
    const next = 'Renew it; the new files are taken up by themselves.'
    if (leftMs <= 0)
      return [
        {
          tone: 'bad',
          sentence: `The certificate of ${name} ended ${durationText(-leftMs)} ago.`,
          next,
          page,
        },
      ]
    return [
      { tone: 'warn', sentence: `The certificate of ${name} ends in ${durationText(leftMs)}.`, next, page },
    ]
  })
  const development = [...new Set(certificates.filter(entry => entry.development).map(({ name }) => name))]
  const made: Finding[] =
    development.length === 0
      ? []
      : [
          {
            tone: 'warn',
            sentence: `${development.length === 1 ? `${development[0] ?? ''} has a certificate` : `${development.length} names have certificates`} of the development authority, which no agent trusts.`,
            next: 'Put real certificates into the certs directory before agents come.',
            page,
          },
        ]
  return [...missing, ...ending, ...made]
}

function heartbeatFindings({ heartbeats }: GateStatus): Finding[] {
  const lost = heartbeats.flatMap(({ listener, connector }): Finding[] => {
    const trouble = connector?.trouble ?? null
    if (trouble === null) return []
    const why =
      trouble === 'away' ? 'its connector is not attached' : 'its connector does not offer the service'
    return [
      {
        tone: 'bad',
        sentence: `Heartbeats of listener ${listener} reach no server: ${why}.`,
        next:
          trouble === 'away'
            ? 'Start the connector beside the RMM server, and look at its log.'
            : 'Add the service to the file of the connector.',
        page: '/connectors',
      },
    ]
  })
  const silent = heartbeats
    .filter(entry => entry.silent)
    .map(({ listener, upstream }): Finding => ({
      tone: 'bad',
      sentence: `Heartbeats come in at ${listener}, and ${upstream === '' ? 'the server' : upstream} answers none of them: agents look offline.`,
      next: 'Look at the heartbeat service of the RMM server, and at its firewall.',
      page: '/upstreams',
    }))
  return [...lost, ...silent]
}

function capacityFindings({ open }: GateStatus): Finding[] {
  if (open.connections < 0.9 * open.max) return []
  return [
    {
      tone: open.connections >= open.max ? 'bad' : 'warn',
      sentence: `${counted(open.connections, 'connection')} of at most ${open.max} are open.`,
      next: 'Raise limits.connections in the policy, or look who holds so many.',
      page: '/connections',
    },
  ]
}

function databaseFindings({ databases, nowMs }: GateStatus): Finding[] {
  const next = 'bin/portcullis geo says how to bring a newer one in.'
  const first = databases.find(({ role }) => role === 'first')
  if (first === undefined) {
    return [
      {
        tone: 'bad',
        sentence: 'No country database is loaded: countries cannot be told.',
        next,
        page: '/events?name=geo.rejected',
      },
    ]
  }
  const ageMs = nowMs - first.builtMs
  if (ageMs < DATABASE_DAYS * DAY_MS) return []
  return [{ tone: 'warn', sentence: `The country database is ${durationText(ageMs)} old.`, next, page: null }]
}

function journalFindings({ journal }: GateFacts): Finding[] {
  if (!journal.usable) {
    return [
      {
        tone: 'warn',
        sentence: 'Events cannot be stored. Traffic is not touched, but it leaves no record.',
        next: 'Look at the disk of the state directory. Storing is tried again by itself.',
        page: '/events?name=journal.store-failed',
      },
    ]
  }
  if (journal.droppedRows === 0) return []
  return [
    {
      tone: 'warn',
      sentence: `${counted(journal.droppedRows, 'event')} could not be stored since the start.`,
      next: 'The disk did not keep up, or somebody caused a flood of events.',
      page: '/events?name=journal.dropped',
    },
  ]
}

function policyFindings({ status, guard }: GateFacts): Finding[] {
  const { policy, nowMs } = status
  const found: Finding[] = []
  if (policy.rejected !== null) {
    const problem = policy.rejected.problems[0]?.split('\n')[0]
    found.push({
      tone: 'warn',
      sentence: `A newer policy is not valid and was not taken${problem === undefined ? '' : `: ${problem}`}.`,
      next: 'The policy before it stays in force. Correct the file; bin/portcullis check says when it is right.',
      page: '/events?name=policy.rejected',
    })
  }
  if (guard !== null) {
    found.push({
      tone: 'warn',
      sentence: `The guard watches version ${guard.version} for another ${durationText(guard.untilMs - nowMs)}.`,
      next: `When agents stop coming, version ${guard.previous} comes back by itself.`,
      page: null,
    })
  }
  for (const { stages, expiresMs } of policy.trials ?? []) {
    if (expiresMs - nowMs > TRIAL_WARNING_DAYS * DAY_MS) continue
    found.push({
      tone: 'warn',
      sentence: `The trial of ${stages.join(', ')} ends in ${durationText(expiresMs - nowMs)}: what it lets pass is refused from then on.`,
      next: 'bin/portcullis trial report says whom that loses, and what helps.',
      page: '/events?name=trial.admitted',
    })
  }
  for (const warning of policy.warnings) {
    const [sentence = '', ...rest] = warning.split('\n')
    found.push({ tone: 'warn', sentence, next: rest.join(' ').trim(), page: null })
  }
  return found
}
